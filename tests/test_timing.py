"""Timing: the waits of a session, scaled for an emulator."""

import asyncio

import pytest
from attrs import asdict, evolve, fields
from hypothesis import given
from hypothesis import strategies as st

from akool_async import AkoolSession, ConfigurationError, ImageStatus, NotFoundError, OutcomeUnknownError, Timing
from akool_async.durable import DurableFanOut, WorkerTiming
from akool_async.emulator import Emulator, Fault
from tests.support.schedules import QUICK

SHARES = st.floats(1e-6, 1e3)
LESS_THAN_ONE_RECONCILIATION = Timing().reconcile_gap - 1.0


@given(SHARES)
def test_all_waits_are_scaled(share):
    """Every wait is scaled, except those that a Retry-After or this machine's speed determines."""
    scaled = asdict(Timing().scaled(share))
    kept = {"throttle_timeout", "poll_failure_timeout", "download_pause_timeout", "closing_timeout"}
    assert scaled == {name: seconds if name in kept else seconds * share for name, seconds in asdict(Timing()).items()}


@pytest.mark.parametrize("field", [field.name for field in fields(Timing)])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "3", None, True])
def test_a_wait_is_a_number_of_seconds(field, value):
    """A wrong value is refused, and the error names it."""
    with pytest.raises(ValueError, match=f"{field} must be a number of seconds"):
        Timing(**{field: value})


@pytest.mark.parametrize("share", [0, -1, float("nan"), "x", None, True, 10**400])
@pytest.mark.parametrize("timing", [Timing(), WorkerTiming()], ids=["session", "worker"])
def test_a_share_is_a_number_above_0(timing, share):
    """Waits cannot be scaled to zero or below."""
    with pytest.raises(ValueError, match="share must be a number above 0"):
        timing.scaled(share)


async def settle_a_lost_press(akool, emulator):
    emulator.faults.script("create_by_button", Fault.reset("before"))
    async with asyncio.timeout(LESS_THAN_ONE_RECONCILIATION):
        result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    assert result.status == ImageStatus.COMPLETED
    assert emulator.ledger.requests["create_by_button"] == 2


async def test_a_session_of_an_emulator_settles_a_lost_press_in_no_time(emulator):
    """A test of a lost reply does not take as long as at AKOOL."""
    async with emulator.session() as akool:
        await settle_a_lost_press(akool, emulator)


async def test_options_of_a_session_count_before_the_emulators(emulator):
    """The caller's own timing, key and caps are used unchanged."""
    timing = evolve(QUICK, reconcile_gap=60.0)
    async with emulator.session(timing=timing, request_timeout=0.5, max_concurrent_upscales=1) as akool:
        emulator.faults.script("create_by_button", Fault.reset("before"))
        with pytest.raises(TimeoutError):
            await settle_a_lost_press(akool, emulator)
        assert akool.counters().upscale_slots == 1


async def test_a_program_that_is_pointed_at_an_emulator_waits_less_too(emulator, monkeypatch):
    """The environment of an emulator contains its speed, and a session made without arguments uses it."""
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    async with AkoolSession() as akool:
        await settle_a_lost_press(akool, emulator)


async def test_an_emulator_as_slow_as_akool_shortens_nothing(monkeypatch):
    """At speed 1 the environment changes no wait."""
    with Emulator(speed=1) as emulator:
        assert emulator.environment()["AKOOL_TIME_SCALE"] == "1"


@pytest.mark.parametrize("text", ["0", "-1", "nan", "fast", "inf"])
def test_a_scale_that_makes_no_sense_is_refused(monkeypatch, text):
    """The error names the variable."""
    monkeypatch.setenv("AKOOL_TIME_SCALE", text)
    with pytest.raises(ValueError, match="AKOOL_TIME_SCALE must be a number above 0"):
        AkoolSession("key", base_url="http://127.0.0.1:9")


@pytest.mark.parametrize("base_url", [None, "https://openapi.akool.com", "https://emulator.example"])
def test_a_scale_left_behind_never_reaches_akool(monkeypatch, base_url):
    """Waits that fit an emulator would press too early at AKOOL: only addresses of this machine accept them."""
    monkeypatch.setenv("AKOOL_TIME_SCALE", "0.01")
    with pytest.raises(ConfigurationError, match="unset it, or set AKOOL_BASE_URL"):
        AkoolSession("key", base_url=base_url)


@pytest.mark.parametrize("timing", [3.0, {"reconcile_gap": 3}, Timing])
def test_a_timing_is_a_timing(timing):
    """Anything but a Timing is refused when the session is made."""
    for make in (AkoolSession, DurableFanOut):
        with pytest.raises(ConfigurationError, match="timing must be a Timing"):
            make("sk-test-key", timing=timing)


async def test_an_emulator_that_does_not_serve_gives_no_session():
    """Before it serves, its session would send requests to AKOOL, and so would a program with its environment."""
    emulator = Emulator(speed=200)
    for ask in (emulator.session, emulator.environment):
        with pytest.raises(RuntimeError, match="does not serve yet: enter it first"):
            ask()


async def test_no_base_url_is_the_emulators_own(emulator, monkeypatch):
    """An option that is None counts as not given."""
    monkeypatch.setenv("AKOOL_BASE_URL", "https://openapi.akool.com")
    async with emulator.session(base_url=None) as akool:
        assert await akool.get_credit() == emulator.credits


async def test_a_retry_after_is_kept_on_a_fast_emulator(emulator):
    """A Retry-After is real time: timeouts that include one are not scaled."""
    emulator.faults.script("create_by_button", Fault.throttle(1))
    async with emulator.session() as akool:
        assert (await akool.vary(emulator.add_image(), 1)).id


async def test_each_wait_is_the_sessions_own(emulator):
    """Two sessions of one process have separate waits."""
    hasty, patient = (Timing(not_found_grace=seconds, reconcile_gap=0.01) for seconds in (1e-6, 60.0))
    async with emulator.session(timing=hasty) as first, emulator.session(timing=patient) as second:
        for akool, error in ((first, NotFoundError), (second, None)):
            operation = await akool.vary(emulator.add_image(), 1)
            emulator.faults.script("get_image_result", Fault.code(1008))
            if error is None:
                await operation.wait_until_complete()
            else:
                with pytest.raises(error):
                    await operation.wait_until_complete()


async def test_a_lost_reply_waits_for_its_webhook_no_longer_than_its_timeout(emulator):
    """If no webhook arrives, the outcome is reported as unknown after the session's own timeout."""
    emulator.faults.script("create_by_button", Fault.reset("after"))
    async with emulator.session(webhook_url="http://127.0.0.1:9/akool") as akool:
        async with asyncio.timeout(10):
            with pytest.raises(OutcomeUnknownError):
                await akool.upscale(emulator.add_image(), 1)
