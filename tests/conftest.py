"""Fixtures: an emulator that works fast, and a session on it."""

import pytest

from akool_async import AkoolSession, ApiKey, ExponentialPolling
from akool_async.emulator import Emulator

FAST = ExponentialPolling(initial=0.01, max_interval=0.05)


@pytest.fixture(autouse=True)
def _no_credentials_from_outside(monkeypatch):
    for name in ("AKOOL_API_KEY", "AKOOL_CLIENT_ID", "AKOOL_CLIENT_SECRET", "AKOOL_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def emulator():
    async with Emulator(speed=200) as emulator:
        yield emulator


@pytest.fixture
async def akool(emulator):
    async with AkoolSession(ApiKey(emulator.api_key), base_url=emulator.base_url, polling=FAST) as akool:
        yield akool
