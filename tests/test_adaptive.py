"""AdaptivePolling: what it learns, when it polls, and that it is never lost. Its figures: benchmarks/polling.py."""

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akool_async import AdaptivePolling, AkoolSession, ExponentialPolling
from akool_async.emulator import Emulator
from akool_async.polling import Finished
from akool_async.polling.durations import MAX_JOBS, Distribution, Durations
from akool_async.polling.plan import MAX_TAIL_DELAY, plan_polls
from tests.support.schedules import FAST, progress

AGES = st.floats(0, 1e6)
JOBS = st.lists(
    st.tuples(st.floats(0, 1e4), st.none() | st.floats(0, 1e4)).map(
        lambda job: (job[0], None if job[1] is None else job[0] + job[1])
    ),
    min_size=1,
    max_size=40,
)


def poll(polling, duration):
    """Poll one job as a session does; returns its polls and how many seconds after its end it was seen."""
    age, polls, running_at = 0.0, 0, 0.0
    while True:
        age += polling.next_delay(progress("upscale", age=age, polls=polls))
        polls += 1
        if age >= duration:
            polling.learn(Finished(kind="upscale", running_at=running_at, ended_at=age))
            return polls, age - duration
        running_at = age


def learned(durations, **options):
    polling = AdaptivePolling(**options)
    for duration in durations:
        poll(polling, duration)
    return polling


def lognormal(seed, jobs, median=20.0, sigma=0.35):
    rng = random.Random(seed)
    return [rng.lognormvariate(math.log(median), sigma) for _ in range(jobs)]


def test_it_starts_as_plain_back_off():
    """Knowing nothing, or for an operation of unknown kind, it polls exactly as its fallback does."""
    fallback = ExponentialPolling(jitter=0)
    polling = AdaptivePolling(fallback=fallback)
    assert [polling.next_delay(progress("upscale", polls=polls)) for polls in range(5)] == [1.0, 1.5, 2.25, 3.0, 3.0]
    polling = learned(lognormal(1, 50), fallback=fallback)
    assert [polling.next_delay(progress(None, polls=polls)) for polls in range(3)] == [1.0, 1.5, 2.25]
    assert [polling.next_delay(progress("variation", polls=polls)) for polls in range(3)] == [1.0, 1.5, 2.25]


def test_once_it_knows_it_does_not_poll_early():
    """After forty jobs of some 20 s the first poll comes near the earliest end, the next ones close together."""
    polling = learned(lognormal(2, 40), jitter=0)
    first = polling.next_delay(progress("upscale", age=0.0, polls=0))
    assert 5 < first < 15
    assert polling.next_delay(progress("upscale", age=20.0, polls=5)) < 3


def test_it_costs_less_than_plain_back_off():
    """On the same hundred jobs, after fifty others, it polls less and sees ends sooner."""
    polling, plain = learned(lognormal(3, 50)), ExponentialPolling()
    ours = [poll(polling, duration) for duration in lognormal(4, 100)]
    theirs = [poll(plain, duration) for duration in lognormal(4, 100)]
    for mine, other in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        assert sum(mine) < sum(other)


def test_abandoned_waits_do_not_teach_that_jobs_are_short():
    """Where half of the waits end after 20 s, the learned distribution still knows of the longer jobs."""
    rng = random.Random(5)
    everything, censored, naive = Durations(), Durations(), Durations()
    for duration in lognormal(6, MAX_JOBS):
        everything.add(duration - 0.1, duration)
        if rng.random() < 0.5 and duration > 20:
            censored.add(20.0, None)
        else:
            censored.add(duration - 0.1, duration)
            naive.add(duration - 0.1, duration)

    def running_at_25(durations):
        distribution = durations.estimate()
        return next(1 - ended for age, ended in zip(distribution.ages, distribution.ended, strict=True) if age >= 25)

    truth = running_at_25(everything)
    assert abs(running_at_25(censored) - truth) < 0.6 * abs(running_at_25(naive) - truth)


def test_it_follows_when_jobs_become_faster_or_slower():
    """After a change of the service the cost of a job comes back to what it was, in proportion."""
    polling = learned(lognormal(7, 100))
    for median in (60.0, 10.0):
        for duration in lognormal(8, 150, median):
            poll(polling, duration)
        delays = [poll(polling, duration)[1] for duration in lognormal(9, 50, median)]
        assert sum(delays) / len(delays) < 0.1 * median


@given(jobs=JOBS, ages=st.lists(AGES, max_size=20))
@settings(max_examples=50)
def test_whatever_it_learns_each_interval_makes_sense(jobs, ages):
    """Any jobs, abandoned ones and absurd ones included, lead to intervals above zero and without end in sight."""
    polling = AdaptivePolling()
    for running_at, ended_at in jobs:
        polling.learn(Finished(kind="upscale", running_at=running_at, ended_at=ended_at))
    for age in ages:
        interval = polling.next_delay(progress("upscale", age=age, polls=3))
        assert 0 < interval < math.inf


@given(jobs=JOBS)
@settings(max_examples=50)
def test_an_estimate_is_a_distribution(jobs):
    """What is estimated from any jobs grows from 0 towards 1 over growing ages."""
    durations = Durations()
    durations.add(1.0, 2.0)
    for running_at, ended_at in jobs:
        durations.add(running_at, ended_at)
    if not durations.ended:
        return
    distribution = durations.estimate()
    assert list(distribution.ages) == sorted(distribution.ages)
    assert all(0 <= ended <= 1 + 1e-9 for ended in distribution.ended)
    assert all(
        later >= earlier - 1e-9 for earlier, later in zip(distribution.ended, distribution.ended[1:], strict=False)
    )


@given(
    ended=st.lists(st.floats(0, 1), min_size=3, max_size=9).map(sorted),
    weight=st.floats(0.1, 20),
)
@settings(max_examples=100)
def test_no_other_plan_is_cheaper(ended, weight):
    """The plan's cost is the least of all subsets of the grid, tried one by one."""
    ages = [float(age) for age in range(len(ended))]
    distribution = Distribution(ages, [0.0, *ended[1:]])
    plan = plan_polls(distribution, weight)
    polls, place = [], 0.0
    while place < ages[-1]:
        place += plan.next_delay(place)
        polls.append(place)
    inner = ages[1:-1]
    every = [
        [age for bit, age in enumerate(inner) if chosen >> bit & 1] + [ages[-1]] for chosen in range(2 ** len(inner))
    ]
    least = min(cost_of(other, distribution, weight) for other in every)
    assert cost_of(polls, distribution, weight) <= least + 1e-9


def cost_of(polls, distribution, weight):
    """Polls and lateness of jobs that end evenly between two ages of the grid."""
    cost, before = 0.0, 0.0
    ended = dict(zip(distribution.ages, distribution.ended, strict=True))
    for poll_age in polls:
        cost += 1 - ended[before]
        age = before
        while age < poll_age:
            step = ended[age + 1] - ended[age]
            cost += weight * step * (poll_age - age - 0.5)
            age += 1
        before = poll_age
    return cost


def test_past_the_plan_it_backs_off_exponentially_up_to_a_bound():
    """An operation that takes longer than all others is polled less and less often, at least once a minute."""
    polling = learned(lognormal(10, 40), jitter=0)
    age, intervals = 100.0, []
    for polls in range(60):
        intervals.append(polling.next_delay(progress("upscale", age=age, polls=polls)))
        age += intervals[-1]
    assert intervals == sorted(intervals)
    assert intervals[-1] == MAX_TAIL_DELAY


def test_what_was_learned_can_be_kept_for_another_process():
    """to_json and from_json carry the schedule over; it polls as the first one would."""
    polling = learned(lognormal(11, 40), jitter=0)
    other = AdaptivePolling.from_json(polling.to_json(), jitter=0)
    fresh = progress("upscale")
    assert other.next_delay(fresh) == pytest.approx(polling.next_delay(fresh), rel=0.3)
    assert other.to_json() == polling.to_json()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "kinds": {}}',
        '{"version": 1, "kinds": []}',
        '{"version": 1, "kinds": {"upscale": [[1]]}}',
        '{"version": 1, "kinds": {"upscale": [["a", 2]]}}',
        '{"version": 1, "kinds": {"upscale": [[-1, 2]]}}',
        '{"version": true, "kinds": {}}',
        '{"version": 1, "kinds": {"upscale": [[1, 2, 3]]}}',
        '{"version": 1, "kinds": {"upscale": [[0, 0]]}}',
        '{"version": 1, "kinds": {"upscale": [[10, 5]]}}',
        '{"version": 1, "kinds": {"upscale": [[1e300, 1e300]]}}',
        '{"version": 1, "kinds": {"upscale": [[-1, null]]}}',
        '{"version": 1, "kinds": {"upscale": [5]}}',
        None,
    ],
)
def test_a_state_of_other_making_is_refused(text):
    """A text that to_json did not write is a ValueError."""
    with pytest.raises(ValueError):
        AdaptivePolling.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("delay_cost", 0), ("delay_cost", math.nan), ("jitter", 2), ("fallback", 3.0)],
)
def test_a_parameter_that_makes_no_sense_is_refused(name, value):
    """Each parameter is checked and named."""
    with pytest.raises(ValueError, match=name):
        AdaptivePolling(**{name: value})


async def test_a_session_teaches_its_schedule():
    """Every job of a session, the abandoned ones included, is learned from under its kind."""
    polling = AdaptivePolling(fallback=FAST)
    async with (
        Emulator(speed=200) as emulator,
        emulator.session(polling=polling) as akool,
    ):
        source = emulator.add_image()
        operations = [
            *[await akool.upscale(source, index) for index in (1, 2)],
            await akool.vary(source, 1),
            await akool.create_by_prompt("a fox"),
        ]
        await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
        await akool.wait_until_complete(source)  # not pressed here: its age is not known, and nothing is learned
    seen = {kind: list(known.durations.seen) for kind, known in polling._kinds.items()}
    assert {kind: len(jobs) for kind, jobs in seen.items()} == {"upscale": 2, "variation": 1, "prompt": 1}
    assert all(running_at < ended_at for jobs in seen.values() for running_at, ended_at in jobs)


async def test_adaptive_polling_is_the_default_of_a_session():
    """A session that is given no schedule learns its own."""
    async with AkoolSession("sk-test-key") as akool:
        assert isinstance(akool._poller._schedule._polling, AdaptivePolling)


def test_an_operation_that_was_never_seen_to_end_can_be_kept_too():
    """What is known of it, that it ran for so long, survives the way through a text."""
    polling = AdaptivePolling()
    polling.learn(Finished(kind="upscale", running_at=30.0, ended_at=None))
    again = AdaptivePolling.from_json(polling.to_json())
    assert again.to_json() == polling.to_json()
    assert "30.0,null" in again.to_json()
