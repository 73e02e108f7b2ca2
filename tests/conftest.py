"""Fixtures: an emulator that works fast, and a session on it."""

import signal
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from akool_async import AkoolSession, ApiKey
from akool_async.emulator import Emulator
from tests.support.postgresql import new_postgresql
from tests.support.schedules import FAST

# How long an example takes tells of the machine, not of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Commands inherit what is ignored here, as SIGINT in the background of a shell, and SIGHUP under nohup.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


@pytest.fixture(autouse=True)
def _no_credentials_or_proxies_from_outside(monkeypatch):
    for name in ("AKOOL_API_KEY", "AKOOL_CLIENT_ID", "AKOOL_CLIENT_SECRET", "AKOOL_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
async def emulator():
    async with Emulator(speed=200) as emulator:
        yield emulator


@pytest.fixture
def slow():
    """An emulator in a thread of its own, for other processes, on which every upscale takes 1.3 s."""
    with Emulator(speed=32, sigma=0, queue_sigma=0) as emulator:
        yield emulator


@pytest.fixture
async def akool(emulator):
    async with AkoolSession(ApiKey(emulator.api_key), base_url=emulator.base_url, polling=FAST) as akool:
        yield akool


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server, as a function that makes a new database in it and returns its URL."""
    numbers = count()
    with new_postgresql() as server:

        def new_database():
            name = f"akool_{next(numbers)}"
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return server.get_uri(name)

        yield new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request, tmp_path):
    """The URL of a new state, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/akool.db"
    return request.getfixturevalue("postgresql")()
