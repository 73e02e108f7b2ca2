"""What a durable worker waits for is one value, which tests against a fast emulator shorten."""

import math

import attrs
import pytest

from akool_async.durable import DurableFanOut, WorkerTiming

TIMEOUTS = {name for name in attrs.fields_dict(WorkerTiming) if name.endswith("_timeout")}


def test_a_scaled_timing_shortens_intervals_and_pauses_alone():
    """Every interval and pause is a tenth; every timeout is as long, as the database is no faster."""
    whole, scaled = WorkerTiming(heartbeat_interval=30), WorkerTiming(heartbeat_interval=30).scaled(0.1)
    for name, seconds in attrs.asdict(whole).items():
        expected = seconds if name in TIMEOUTS else max(seconds / 10, 0.05)
        assert getattr(scaled, name) == pytest.approx(expected), name


def test_no_share_makes_a_worker_poll_too_often():
    """No database is polled more often than every 50 ms, and heartbeats are half a second apart."""
    fastest = attrs.asdict(WorkerTiming().scaled(1e-9))
    assert fastest.pop("heartbeat_interval") == 0.5
    assert {seconds for name, seconds in fastest.items() if name not in TIMEOUTS} == {0.05}


def test_what_is_short_already_is_not_made_longer():
    """The limits are for what scaling makes of an interval, not for one that somebody chose."""
    chosen = WorkerTiming(heartbeat_interval=0.1, poll_interval=0.001)
    assert chosen.scaled(0.5).heartbeat_interval == 0.1
    assert chosen.scaled(0.5).poll_interval == 0.001
    assert WorkerTiming().scaled(1) == WorkerTiming()


@pytest.mark.parametrize("wrong", [0, -1, math.nan, math.inf, "1", None])
def test_what_is_no_time_is_refused(wrong):
    """A time that is no positive number of seconds is refused by its name."""
    with pytest.raises(ValueError, match="drain_timeout must be a number of seconds above 0 and finite, not"):
        WorkerTiming(drain_timeout=wrong)


@pytest.mark.parametrize("wrong", [0, "1", WorkerTiming])
def test_what_is_no_timing_is_refused(wrong):
    """Anything but a WorkerTiming is refused before a store is touched."""
    with pytest.raises(ValueError, match="worker_timing must be a WorkerTiming, not"):
        DurableFanOut("sk-test-key", "sqlite:///a.db", worker_timing=wrong)
