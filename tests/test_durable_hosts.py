"""Hosts that vanish. Their locks and jobs are free for others within 30 seconds, and they may come back at any time."""

import asyncio
import sys
from contextlib import suppress
from urllib.parse import urlsplit

import psycopg
import pytest

from akool_async import Button
from akool_async.emulator import Emulator
from tests.support.durable_faults import count_workers
from tests.support.hosts import HERE, forwarded, other_host
from tests.support.looks import look_until
from tests.support.postgresql import network_postgresql
from tests.support.workers import open_jobs

HOLD_A_LOCK = """
import sys
from akool_async.durable._store_url import StoreUrl

connection = StoreUrl.read(sys.argv[1]).engine().connect().connection.dbapi_connection
connection.pgconn.exec_(b"BEGIN")
# Without the end of the message the statement counts as active, so the timeout for idle transactions does not apply.
connection.pgconn.enter_pipeline_mode()
connection.pgconn.send_query_params(b"UPDATE things SET number = 2", None)
connection.pgconn.send_flush_request()
connection.pgconn.flush()
sys.stdin.read()
"""
MAX_SECONDS = 30


async def test_a_host_that_vanishes_in_the_middle_of_a_statement_does_not_keep_its_locks():
    """PostgreSQL checks whether the host still responds, and frees the row within 30 seconds."""
    with other_host() as host, network_postgresql(HERE) as store:
        with psycopg.connect(store, autocommit=True) as connection:
            connection.execute("CREATE TABLE things (number int)")
            connection.execute("INSERT INTO things VALUES (1)")
            command = host.command(sys.executable, "-c", HOLD_A_LOCK, store)
            holder = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
            free_rows = "SELECT number FROM things FOR UPDATE SKIP LOCKED"
            await look_until(lambda: not connection.execute(free_rows).fetchall())
            host.cut()
            connection.execute(f"SET lock_timeout = '{MAX_SECONDS}s'")
            connection.execute("UPDATE things SET number = 3")
            holder.kill()
            await holder.wait()


WORKER = """
import asyncio, sys
from akool_async import ExponentialPolling, Timing
from akool_async.durable import DurableFanOut, WorkerTiming

async def main(key, base_url, store):
    async with DurableFanOut(
        key,
        store,
        base_url=base_url,
        allow_http=True,
        polling=ExponentialPolling(initial=0.2, max_interval=0.2),
        timing=Timing().scaled(1 / 32),
        worker_timing=WorkerTiming().scaled(1 / 32),
        lost_reply_timeout=1,
    ) as jobs:
        await jobs.run(until_empty=False)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", [5, 40])
async def test_a_worker_whose_host_vanishes_is_replaced_within_30_seconds(seconds):
    """A worker on another host finishes its jobs. When the first worker comes back, it presses nothing twice."""
    with (
        other_host() as host,
        network_postgresql(HERE) as store,
        Emulator(speed=32, sigma=0, queue_sigma=0) as emulator,
    ):
        presses = [(emulator.add_image(), button) for _ in range(4) for button in Button]
        async with open_jobs(emulator, store) as jobs, forwarded(urlsplit(emulator.base_url).port) as port:
            arguments = (sys.executable, "-c", WORKER, emulator.api_key, f"http://{HERE}:{port}", store)
            remote = await asyncio.create_subprocess_exec(*host.command(*arguments))
            try:
                await look_until(lambda: count_workers(store) == 1)
                await jobs.submit(presses)
                await emulator.ledger.until(lambda ledger: ledger.accepted >= 4)
                local = await asyncio.create_subprocess_exec(*arguments)
                try:
                    await look_until(lambda: count_workers(store) == 2)
                    host.cut()
                    healing = asyncio.create_task(_heal_after(host, seconds))

                    async def are_ended():
                        return (await jobs.status()).open == 0

                    async with asyncio.timeout(30):
                        await look_until(are_ended)
                    await healing
                    await jobs.submit([(emulator.add_image(), "V1")])
                    await look_until(are_ended)
                    await look_until(lambda: count_workers(store) == 2)
                finally:
                    local.kill()
                    await local.wait()
            finally:
                with suppress(ProcessLookupError):
                    remote.kill()
                await remote.wait()
            counts = await jobs.status()
        assert counts.failed == 0
        assert emulator.ledger.pressed_twice() == []
        assert emulator.ledger.peak_upscales <= 4


async def _heal_after(host, seconds):
    await asyncio.sleep(seconds)
    host.heal()
