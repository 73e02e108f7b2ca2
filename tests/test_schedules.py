"""When to poll and when to try again: pure schedules and judgements."""

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
def test_polling_grows_to_its_cap_and_never_past_it(initial, factor, longest, jitter):
    """Every interval lies within the jitter of initial x factor^n, and never passes max_interval."""
    assume(initial <= longest)
    polling = ExponentialPolling(initial=initial, factor=factor, max_interval=longest, jitter=jitter)
    for n in range(60):
        interval = polling.next_delay(progress(polls=n))
        plain = min(initial * factor**n, longest)
        assert interval <= longest
        assert plain * (1 - jitter) * 0.999 <= interval <= plain * (1 + jitter) * 1.001


def test_polling_as_documented():
    """Without jitter the default polls after 1, 1.5, 2.25, 3, 3, ... seconds."""
    polling = ExponentialPolling(jitter=0)
    assert [polling.next_delay(progress("upscale", polls=polls)) for polls in range(5)] == [1.0, 1.5, 2.25, 3.0, 3.0]


def test_operations_started_together_do_not_ask_together():
    """Jitter makes two schedules differ."""
    polling = ExponentialPolling()
    one, other = ([polling.next_delay(progress(polls=polls)) for polls in range(10)] for _ in range(2))
    assert one != other


@pytest.mark.parametrize("name", ["initial", "factor", "max_interval", "jitter"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, True, "1", None])
def test_a_schedule_that_makes_no_sense_is_refused(name, value):
    """Each parameter is checked and named."""
    with pytest.raises(ValueError, match=name):
        ExponentialPolling(**{name: value})


@given(first=SECONDS, longest=SECONDS)
def test_waits_between_tries_double_up_to_a_cap(first, longest):
    """Each wait lies between half and all of the doubled one, and never passes the cap."""
    for n, wait in enumerate(islice(growing_waits(first, longest), 60)):
        plain = min(first * 2**n, longest)
        assert plain / 2 * 0.999 <= wait <= plain * 1.001


@given(st.text() | st.integers().map(str) | st.floats().map(str))
def test_any_retry_after_is_bounded_or_nothing(header):
    """Whatever the header says, the pause is None or between 0 and ten minutes."""
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
    """Both documented forms are read, nonsense is nothing."""
    assert retry_after_seconds(header, NOW) == pause


@given(paces=st.lists(st.none() | st.floats(0, 100), min_size=1, max_size=20))
def test_paced_tries_end_by_time_and_keep_retry_after(paces):
    """Whatever pace AKOOL asks for is kept, and after 15 minutes of nothing else the tries end."""
    retry, now = ThrottledRetry(Timing()), 0.0
    for pace in islice(cycle(paces), 2000):
        pause = retry.pause_after(e.RateLimitedError(1005, "often", retry_after=pace), now)
        if pause is None:
            break
        assert pause >= (pace or 0.0)
        now += pause
    else:
        pytest.fail("it never ended")
    assert now <= Timing().throttle_timeout


def test_refusals_long_ago_do_not_count():
    """A single refusal after minutes without one is not the end of a streak."""
    retry, often = ThrottledRetry(Timing()), e.RateLimitedError(1005, "often")
    assert retry.pause_after(often, 0.0) is not None
    assert retry.pause_after(often, 2 * Timing().throttle_timeout) is not None


def test_undelivered_tries_end_by_count():
    """A POST that never arrives is sent six times in all."""
    retry = DeliveryRetry(Timing(), 0.0)
    assert [retry.next_wait(1.0) is None for _ in range(MAX_UNDELIVERED)] == [False] * (MAX_UNDELIVERED - 1) + [True]


def test_undelivered_tries_end_by_time():
    """A POST that each time takes the whole request timeout without being sent is not tried for minutes."""
    retry = DeliveryRetry(Timing(), 0.0)
    assert [retry.next_wait(now) is None for now in (30.0, 60.0)] == [False, True]


def test_failures_in_a_row_end_by_count_or_by_time():
    """Either bound is the end; waits stretch tenfold at most."""
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
    """While webhooks arrive, an operation is polled every 60 seconds, also after polls that failed."""
    timing, webhooks = Timing(), WebhookStatistics(Timing().webhook_grace)
    schedule = Schedule(ExponentialPolling(initial=5.0, max_interval=5.0, jitter=0), timing, webhooks)
    tracked = TrackedOperation("image-1", None)
    tracked.expects_webhook = True
    assert schedule.next_delay(tracked, 1.0, stretch=10.0) == 50.0
    webhooks.on_hit()
    assert schedule.next_delay(tracked, 1.0, stretch=10.0) == timing.fallback_poll_interval
