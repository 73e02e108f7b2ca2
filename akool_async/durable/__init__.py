"""Fan-outs that outlive the process, on one machine or many. Needs the extra `durable`, which brings DBOS."""

try:
    from akool_async.durable._durable_fan_out import DurableFanOut
    from akool_async.durable._job import Job, JobCounts, JobState
    from akool_async.durable._store_url import StoreError
    from akool_async.durable._worker_timing import WorkerTiming
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"dbos", "portalocker", "psycopg", "sqlalchemy"}:
        raise
    message = f'{error.name} is missing; install it with: pip install "akool-async[durable]"'
    raise ModuleNotFoundError(message, name=error.name) from error

__all__ = ["DurableFanOut", "Job", "JobCounts", "JobState", "StoreError", "WorkerTiming"]
