"""The fixture ``akool_emulator`` for tests of programs that use AKOOL.

Name it in your top ``conftest.py``::

    pytest_plugins = ["akool_async.emulator.pytest_plugin"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from akool_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["akool_emulator"]


@pytest.fixture
def akool_emulator() -> Iterator[Emulator]:
    """An emulator that runs in a thread, 200 times faster than AKOOL, for asynchronous and synchronous tests."""
    with Emulator(speed=200) as emulator:
        yield emulator
