"""When to look and when to try again: pure schedules and judgements."""

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
from akool_async._poll.streak import MAX_FAILED_POLLS, Streak
from akool_async._submit.verdict import UNDELIVERED_TRIES, UndeliveredRetry, Verdict, judge_spending_post

SECONDS = st.floats(0.001, 1000)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(initial=SECONDS, factor=st.floats(1, 10), longest=SECONDS, jitter=st.floats(0, 1))
def test_polling_grows_to_its_cap_and_never_past_it(initial, factor, longest, jitter):
    """Every interval lies within the jitter of initial x factor^n, and never passes max_interval."""
    assume(initial <= longest)
    polling = ExponentialPolling(initial=initial, factor=factor, max_interval=longest, jitter=jitter)
    for n in range(60):
        interval = polling.interval(None, 0.0, n)
        plain = min(initial * factor**n, longest)
        assert interval <= longest
        assert plain * (1 - jitter) * 0.999 <= interval <= plain * (1 + jitter) * 1.001


def test_polling_as_documented():
    """Without jitter the default looks after 1, 1.5, 2.25, 3, 3, ... seconds."""
    polling = ExponentialPolling(jitter=0)
    assert [polling.interval("upscale", 0.0, looks) for looks in range(5)] == [1.0, 1.5, 2.25, 3.0, 3.0]


def test_operations_started_together_do_not_ask_together():
    """Jitter makes two schedules differ."""
    polling = ExponentialPolling()
    one, other = ([polling.interval(None, 0.0, looks) for looks in range(10)] for _ in range(2))
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


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (e.TransportError("refused", delivered=False), Verdict.NOT_DELIVERED),
        (e.TransportError("reset"), Verdict.UNKNOWN),
        (e.ResponseError("html", http_status=200), Verdict.UNKNOWN),
        (e.ResponseError("html", http_status=502), Verdict.UNKNOWN),
        (e.APIError(500, "oops", 500), Verdict.UNKNOWN),
        (e.APIError(500, "oops", 200), Verdict.UNKNOWN),
        (e.APIError(-1, "oops", 200), Verdict.UNKNOWN),
        (e.APIError(4711, "oops", 408), Verdict.UNKNOWN),
        (e.APIError(4711, "news", 200), Verdict.REFUSED),
        (e.NotOperableError(1010, "used", 500), Verdict.REFUSED),
        (e.RateLimitedError(1005, "often"), Verdict.PACED),
        (e.RateLimitedError(429, "often", 429), Verdict.PACED),
        (e.AuthenticationError(1101, "bad"), Verdict.REFUSED),
        (e.GenerationError(1108, "later"), Verdict.REFUSED),
        (e.SessionClosedError(), Verdict.REFUSED),
    ],
)
def test_the_three_outcomes_of_a_spending_post(error, verdict):
    """Only what surely was not accepted may be sent again; what may have been is unknown."""
    assert judge_spending_post(error) is verdict


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
    retry = UndeliveredRetry(Timing(), 0.0)
    assert [retry.pause(1.0) is None for _ in range(UNDELIVERED_TRIES)] == [False] * (UNDELIVERED_TRIES - 1) + [True]


def test_undelivered_tries_end_by_time():
    """A POST that each time takes the whole request timeout without being sent is not tried for minutes."""
    retry = UndeliveredRetry(Timing(), 0.0)
    assert [retry.pause(now) is None for now in (30.0, 60.0)] == [False, True]


def test_a_streak_ends_by_count_or_by_time():
    """Either bound is the end; waits stretch tenfold at most."""
    streak = Streak(timeout=100)
    stretches = []
    for now in range(MAX_FAILED_POLLS - 1):
        assert not streak.add(now)
        stretches.append(streak.stretch)
    assert stretches[:6] == [1, 2, 4, 8, 10, 10]
    assert streak.add(MAX_FAILED_POLLS)
    streak = Streak(timeout=100)
    assert [streak.add(now) for now in (1000, 1099, 1100)] == [False, False, True]
