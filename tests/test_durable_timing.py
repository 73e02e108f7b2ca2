"""The waits of a durable worker are one value, which tests with a fast emulator shorten."""

import math

import attrs
import pytest

from akool_async.durable import DurableFanOut, WorkerTiming

TIMEOUTS = {name for name in attrs.fields_dict(WorkerTiming) if name.endswith("_timeout")}


def test_a_scaled_timing_shortens_only_intervals_and_pauses():
    """Intervals and pauses are a tenth as long. Timeouts do not change, since the database is not faster."""
    whole, scaled = WorkerTiming(heartbeat_interval=30), WorkerTiming(heartbeat_interval=30).scaled(0.1)
    for name, seconds in attrs.asdict(whole).items():
        expected = seconds if name in TIMEOUTS else max(seconds / 10, 0.05)
        assert getattr(scaled, name) == pytest.approx(expected), name


def test_scaling_never_makes_a_worker_poll_too_often():
    """After scaling, intervals are at least 50 ms, and heartbeats are at least half a second apart."""
    fastest = attrs.asdict(WorkerTiming().scaled(1e-9))
    assert fastest.pop("heartbeat_interval") == 0.5
    assert {seconds for name, seconds in fastest.items() if name not in TIMEOUTS} == {0.05}


def test_scaling_does_not_lengthen_short_intervals():
    """The lower limits apply to scaling, and not to intervals that a user has chosen."""
    chosen = WorkerTiming(heartbeat_interval=0.1, poll_interval=0.001)
    assert chosen.scaled(0.5).heartbeat_interval == 0.1
    assert chosen.scaled(0.5).poll_interval == 0.001
    assert WorkerTiming().scaled(1) == WorkerTiming()


@pytest.mark.parametrize("wrong", [0, -1, math.nan, math.inf, "1", None])
def test_an_invalid_time_is_refused(wrong):
    """The error names the field whose value is not a positive, finite number of seconds."""
    with pytest.raises(ValueError, match="drain_timeout must be a number of seconds above 0 and finite, not"):
        WorkerTiming(drain_timeout=wrong)


@pytest.mark.parametrize("wrong", [0, "1", WorkerTiming])
def test_an_invalid_timing_is_refused(wrong):
    """Anything but a WorkerTiming is refused before the store is opened."""
    with pytest.raises(ValueError, match="worker_timing must be a WorkerTiming, not"):
        DurableFanOut("sk-test-key", "sqlite:///a.db", worker_timing=wrong)
