"""The schedules of polls and of retries, which only compute."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import cycle, islice

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from akool_async import ExponentialPolling, Timing
from akool_async import errors as e
from akool_async._http.retry import MAX_RETRY_AFTER, retry_after_seconds
from akool_async._limits.backoff import growing_waits
from akool_async._limits.ramp import ThrottledRetry
from akool_async._poll.consecutive_failures import MAX_FAILED_POLLS, ConsecutiveFailures
from akool_async._poll.schedule import Schedule
from akool_async._poll.tracked import TrackedOperation
from akool_async._poll.webhook_statistics import WebhookStatistics
from akool_async._submit.delivery import MAX_UNDELIVERED, DeliveryRetry
from tests.support.schedules import progress

SECONDS = st.floats(0.001, 1000)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(initial=SECONDS, factor=st.floats(1, 10), longest=SECONDS, jitter=st.floats(0, 1))
def test_delays_between_polls_grow_up_to_max_interval(initial, factor, longest, jitter):
    """The n-th delay is within the jitter of initial x factor^n, and never above max_interval."""
    assume(initial <= longest)
    polling = ExponentialPolling(initial=initial, factor=factor, max_interval=longest, jitter=jitter)
    for n in range(60):
        interval = polling.next_delay(progress(polls=n))
        plain = min(initial * factor**n, longest)
        assert interval <= longest
        assert plain * (1 - jitter) * 0.999 <= interval <= plain * (1 + jitter) * 1.001


def test_default_delays_between_polls():
    """Without jitter the default polls after 1, 1.5, 2.25, 3, 3, ... seconds."""
    polling = ExponentialPolling(jitter=0)
    assert [polling.next_delay(progress("upscale", polls=polls)) for polls in range(5)] == [1.0, 1.5, 2.25, 3.0, 3.0]


def test_operations_that_start_together_are_polled_at_different_times():
    """Jitter makes the delays of two operations differ."""
    polling = ExponentialPolling()
    one, other = ([polling.next_delay(progress(polls=polls)) for polls in range(10)] for _ in range(2))
    assert one != other


@pytest.mark.parametrize("name", ["initial", "factor", "max_interval", "jitter"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, True, "1", None])
def test_a_wrong_parameter_of_a_schedule_is_refused(name, value):
    """The error names the parameter."""
    with pytest.raises(ValueError, match=name):
        ExponentialPolling(**{name: value})


@given(first=SECONDS, longest=SECONDS)
def test_waits_between_tries_double_up_to_the_longest(first, longest):
    """The n-th wait is between half of first x 2^n and all of it, and never above the longest."""
    for n, wait in enumerate(islice(growing_waits(first, longest), 60)):
        plain = min(first * 2**n, longest)
        assert plain / 2 * 0.999 <= wait <= plain * 1.001


@given(st.text() | st.integers().map(str) | st.floats().map(str))
def test_the_pause_for_any_retry_after_is_bounded(header):
    """For any header, the pause is None or at most ten minutes."""
    pause = retry_after_seconds(header, NOW)
    assert pause is None or 0 <= pause <= MAX_RETRY_AFTER


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("-1", None),
        ("soon", None),
        ("99999999", MAX_RETRY_AFTER),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, pause):
    """HTTP allows seconds and a date. Any other header is ignored."""
    assert retry_after_seconds(header, NOW) == pause


@given(pauses=st.lists(st.none() | st.floats(0, 100), min_size=1, max_size=20))
def test_throttled_tries_keep_retry_after_and_end_in_time(pauses):
    """No pause is shorter than Retry-After. After 15 minutes of throttled tries, the tries end."""
    retry, now = ThrottledRetry(Timing()), 0.0
    for retry_after in islice(cycle(pauses), 2000):
        pause = retry.pause_after(e.RateLimitedError(1005, "too often", retry_after=retry_after), now)
        if pause is None:
            break
        assert pause >= (retry_after or 0.0)
        now += pause
    else:
        pytest.fail("the tries did not end")
    assert now <= Timing().throttle_timeout


def test_earlier_throttling_does_not_count():
    """A throttled try long after the previous one starts a new limit of time."""
    retry, throttled = ThrottledRetry(Timing()), e.RateLimitedError(1005, "too often")
    assert retry.pause_after(throttled, 0.0) is not None
    assert retry.pause_after(throttled, 2 * Timing().throttle_timeout) is not None


def test_an_undelivered_post_is_sent_six_times():
    """A POST that never reaches AKOOL is sent six times in total."""
    retry = DeliveryRetry(Timing(), 0.0)
    assert [retry.next_wait(1.0) is None for _ in range(MAX_UNDELIVERED)] == [False] * (MAX_UNDELIVERED - 1) + [True]


def test_tries_of_an_undelivered_post_end_in_time():
    """If each try takes 30 s and does not reach AKOOL, there are two tries."""
    retry = DeliveryRetry(Timing(), 0.0)
    assert [retry.next_wait(now) is None for now in (30.0, 60.0)] == [False, True]


def test_failed_polls_in_a_row_are_limited_by_count_and_time():
    """Polls end at either limit. Until then, failures lengthen the waits, at most tenfold."""
    failures = ConsecutiveFailures(timeout=100)
    stretches = []
    for now in range(MAX_FAILED_POLLS - 1):
        assert not failures.add(now)
        stretches.append(failures.stretch)
    assert stretches[:6] == [1, 2, 4, 8, 10, 10]
    assert failures.add(MAX_FAILED_POLLS)
    failures = ConsecutiveFailures(timeout=100)
    assert [failures.add(now) for now in (1000, 1099, 1100)] == [False, False, True]


def test_failed_polls_do_not_stretch_the_fallback_of_webhooks():
    """While webhooks arrive, an operation is polled every 60 seconds, even after failed polls."""
    timing, webhooks = Timing(), WebhookStatistics(Timing().webhook_grace)
    schedule = Schedule(ExponentialPolling(initial=5.0, max_interval=5.0, jitter=0), timing, webhooks)
    tracked = TrackedOperation("image-1", None)
    tracked.expects_webhook = True
    assert schedule.next_delay(tracked, 1.0, stretch=10.0) == 50.0
    webhooks.on_hit()
    assert schedule.next_delay(tracked, 1.0, stretch=10.0) == timing.fallback_poll_interval
