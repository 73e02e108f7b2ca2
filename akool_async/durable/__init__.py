"""Fan-outs whose jobs are stored and survive the end of their process, on one machine or many.

Needs the extra `durable`.

.. include:: README.md
"""

from akool_async import _validate

try:
    from akool_async.durable._durable_fan_out import DurableFanOut
    from akool_async.durable._job import Job, JobCounts, JobState
    from akool_async.durable._store_url import StoreError
    from akool_async.durable._worker_timing import WorkerTiming
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"dbos", "portalocker", "psycopg", "sqlalchemy"}:
        raise
    raise ModuleNotFoundError(_validate.install_hint(error.name, "durable"), name=error.name) from error

__all__ = ["DurableFanOut", "Job", "JobCounts", "JobState", "StoreError", "WorkerTiming"]
