"""Check the version of SQLite, and add a function that older versions do not have."""

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

MIN_VERSION: Final = (3, 35)
"""The first version with RETURNING. https://www.sqlite.org/lang_returning.html"""
CLOCK_PLUGIN: Final = "akool_clock"
"""The name of a plugin in a database URL. SQLAlchemy uses it in every engine of that URL, including DBOS's."""
SUBSECONDS: Final = ("subsec", "subsecond")


def check_sqlite() -> None:
    """Check the version of this Python's SQLite.

    Raises:
        ConfigurationError: It is too old for a store.
    """
    if sqlite3.sqlite_version_info < MIN_VERSION:
        raise ConfigurationError(
            f"store: SQLite 3.35 or newer is needed, and this Python has {sqlite3.sqlite_version}: use a newer Python, "
            "or PostgreSQL"
        )


class ClockPlugin(CreateEnginePlugin):
    """Provides ``unixepoch('subsec')`` if SQLite does not.

    DBOS's tables call it if Python 3.12 or newer created them, whichever Python uses them. SQLite before 3.42 returns
    NULL for it, and before 3.38 does not have the function. https://www.sqlite.org/lang_datefunc.html
    """

    def update_url(self, url: URL) -> URL:
        """Return the URL unchanged: the plugin has no options in it."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Add the function to every connection."""
        event.listen(engine, "connect", _add_unixepoch)


plugins.register(CLOCK_PLUGIN, ClockPlugin.__module__, ClockPlugin.__qualname__)


def _add_unixepoch(connection: Any, _: object) -> None:  # noqa: ANN401 - DB-API's, which has no type
    if not _knows_subseconds(connection):  # pragma: no branch - depends on this machine's SQLite
        connection.create_function("unixepoch", 1, _unixepoch)
        connection.execute("PRAGMA trusted_schema=ON")  # otherwise, some builds let tables call only built-in functions


def _knows_subseconds(connection: sqlite3.Connection) -> bool:
    try:
        (answer,) = connection.execute("SELECT unixepoch('subsec')").fetchone()
    except sqlite3.OperationalError:  # no such function
        return False
    return answer is not None


def _unixepoch(modifier: str) -> float:
    """Return the seconds since the epoch to the millisecond, like SQLite's own function."""
    if modifier not in SUBSECONDS:
        raise ValueError(f"unixepoch({modifier!r}) is not needed by any table")
    return round(time.time(), 3)
