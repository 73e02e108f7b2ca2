"""Fixtures: an emulator that works fast, and a session on it."""

import gc
import signal

import pytest
from hypothesis import HealthCheck, settings

from akool_async.emulator import Emulator
from tests.support.postgresql import shared_postgresql
from tests.support.schedules import FAST

# The duration of an example depends on the machine and not on the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Commands inherit ignored signals, such as SIGINT in the background of a shell, and SIGHUP under nohup.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


LONG = (
    *("test_durable_kills", "test_chaos", "test_typed_surface", "test_durable_commands", "test_command_fan_out"),
    *("test_command_input", "test_durable", "test_command", "test_gallery", "test_pace"),
)
"""Beginnings of the names of modules whose tests take seconds, the longest first."""


gc.disable()  # during collection, which makes hardly any garbage and would take twice as long


def pytest_collection_finish():
    """Exempt collected and imported objects from garbage collection, so that it only searches what tests make."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Begin with the long tests, so that the processes that share them end at about the same time."""

    def rank(item):
        return next((rank for rank, name in enumerate(LONG) if item.path.name.startswith(name)), len(LONG))

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def _no_credentials_or_proxies_from_outside(monkeypatch):
    for name in ("AKOOL_API_KEY", "AKOOL_CLIENT_ID", "AKOOL_CLIENT_SECRET", "AKOOL_BASE_URL", "AKOOL_TIME_SCALE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch, tmp_path_factory):
    """Keep commands and tests of this process out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
async def emulator():
    async with Emulator(speed=200) as emulator:
        yield emulator


@pytest.fixture
def slow():
    """An emulator in a separate thread, for other processes. Every upscale takes 1.3 s."""
    with Emulator(speed=32, sigma=0, queue_sigma=0) as emulator:
        yield emulator


@pytest.fixture
async def akool(emulator):
    async with emulator.session(polling=FAST) as akool:
        yield akool


@pytest.fixture(scope="session")
def _shared_databases(testrun_uid):
    with shared_postgresql(testrun_uid) as databases:
        yield databases


@pytest.fixture
def databases(_shared_databases):
    """Databases of the PostgreSQL server that all processes of this run share. They are dropped after the test."""
    yield _shared_databases
    _shared_databases.drop_all()


@pytest.fixture
def postgresql(databases):
    """A function that makes an empty database in a PostgreSQL server and returns its URL."""
    return databases.new


@pytest.fixture(params=["sqlite", "postgresql"])
def kind_of_store(request):
    """Each kind of store in turn."""
    return request.param


@pytest.fixture
def store(kind_of_store, request, tmp_path):
    """The URL of a new store of each kind. PostgreSQL's already has its tables, which take time to make."""
    if kind_of_store == "sqlite":
        return f"sqlite:///{tmp_path}/akool.db"
    return request.getfixturevalue("databases").new_store()


@pytest.fixture
def empty_store(kind_of_store, request, tmp_path):
    """The URL of an unopened store of each kind."""
    if kind_of_store == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return request.getfixturevalue("databases").new()
