"""What a state asks of SQLite, and what it is given where this Python's SQLite is too old for it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import event
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import CreateEnginePlugin

from akool_async import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

OLDEST: Final = (3, 35)
"""The first with RETURNING. https://www.sqlite.org/lang_returning.html"""
CLOCK: Final = "akool_clock"
"""The plugin that gives every connection of an engine the clock: named in a URL, it does so for DBOS's own too."""
SUBSECONDS: Final = ("subsec", "subsecond")


def check_sqlite() -> None:
    """Raises:
    ConfigurationError: this Python's SQLite is too old for any state.
    """
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"state: SQLite 3.35 or newer is needed, and this Python has {sqlite3.sqlite_version}: use a newer one, or "
            "PostgreSQL"
        )


class Clock(CreateEnginePlugin):
    """Answers ``unixepoch('subsec')`` where SQLite does not.

    DBOS's tables ask for it where Python 3.12 or newer made them, whichever Python uses them. SQLite before 3.42
    answers with NULL, and before 3.38 knows no such function. https://www.sqlite.org/lang_datefunc.html
    """

    def update_url(self, url: URL) -> URL:
        """There is nothing of it in the URL but its name."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Have every connection of it completed."""
        event.listen(engine, "connect", _complete)


plugins.register(CLOCK, Clock.__module__, Clock.__qualname__)


def _complete(connection: Any, _: object) -> None:  # noqa: ANN401 - DB-API's, which has no type
    if not _knows_subseconds(connection):  # pragma: no branch - which one there is depends on the machine
        connection.create_function("unixepoch", 1, _unixepoch)
        connection.execute("PRAGMA trusted_schema=ON")  # else some builds allow a table no function but SQLite's own


def _knows_subseconds(connection: sqlite3.Connection) -> bool:
    try:
        (answer,) = connection.execute("SELECT unixepoch('subsec')").fetchone()
    except sqlite3.OperationalError:  # no such function
        return False
    return answer is not None


def _unixepoch(modifier: str) -> float:
    """Seconds since the epoch, to the millisecond, as SQLite's own."""
    if modifier not in SUBSECONDS:
        raise ValueError(f"unixepoch({modifier!r}) is not needed by any table")
    return round(time.time(), 3)
