"""What every worker of a durable fan-out works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

    from akool_async.durable._job_store import JobStore
    from akool_async.durable._session import WorkerSession
    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._work_queue import WorkQueue
    from akool_async.durable._worker_timing import WorkerTiming


@frozen(kw_only=True)
class WorkerSetup:
    """The store, its jobs and their queue, and the limits that all workers share."""

    store_url: StoreUrl
    store: JobStore
    queue: WorkQueue
    make_session: Callable[[], WorkerSession]
    max_concurrent_upscales: int
    max_requests_per_second: float | None
    lost_reply_timeout: float
    timing: WorkerTiming
