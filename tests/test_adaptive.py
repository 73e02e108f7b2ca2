"""Tests of AdaptivePolling: its estimates, its plans, and its JSON. benchmarks/polling.py measures what it costs."""

import asyncio
import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akool_async import AdaptivePolling, AkoolSession, ExponentialPolling
from akool_async.emulator import Emulator
from akool_async.polling import Finished, Progress
from akool_async.polling.estimate import Interval, Prior, estimate
from akool_async.polling.kinds import LATE_JOBS, MAX_JOBS
from akool_async.polling.plan import MAX_TAIL_DELAY, Distribution, PhasedPlan, plan_polls
from tests.support.schedules import FAST, progress

AGES = st.floats(0, 1e6)
MAYBE = st.none() | AGES
JOBS = st.lists(
    st.builds(
        Finished,
        kind=st.sampled_from(["upscale", "variation", "prompt"]),
        running_at=AGES,
        ended_at=st.none() | st.floats(0.001, 1e6),
        queued_at=AGES,
        processing_at=MAYBE,
        duration=st.none() | st.floats(0.001, 1e6),
    ),
    min_size=1,
    max_size=40,
)
INTERVALS = st.lists(
    st.tuples(AGES, AGES | st.just(math.inf)).map(lambda ends: Interval(min(ends), max(ends))), max_size=40
)
PRIOR = Prior(math.log(30.0))


def poll(polling, duration, *, queue=0.0, exact=True, kind="upscale"):
    """Poll one job as a session does; return the number of polls and the detection delay in seconds."""
    age, polls, running_at, queued_at, processing_at = 0.0, 0, 0.0, 0.0, None
    while True:
        status = None if not polls else 1 if processing_at is None else 2
        age += polling.next_delay(Progress(kind, age, polls, status, processing_at))
        polls += 1
        if age >= duration:
            exact_duration = duration if exact else None
            polling.learn(Finished(kind, running_at, age, queued_at, processing_at, exact_duration))
            return polls, age - duration
        running_at = age
        if age < queue:
            queued_at = age
        elif processing_at is None:
            processing_at = age


def cost(polling, durations, **options):
    """Return the mean cost of these jobs: polls plus eight times the detection delay."""
    costs = [polls + 8 * delay for polls, delay in (poll(polling, duration, **options) for duration in durations)]
    return sum(costs) / len(costs)


def learned(durations, **options):
    polling = AdaptivePolling(**options)
    for duration in durations:
        poll(polling, duration)
    return polling


def lognormal(seed, jobs, median=20.0, sigma=0.35):
    rng = random.Random(seed)
    return [rng.lognormvariate(math.log(median), sigma) for _ in range(jobs)]


def test_it_starts_as_plain_back_off():
    """Before any job has ended, and always for operations of unknown kind, it polls exactly as its fallback does."""
    fallback = ExponentialPolling(jitter=0)
    polling = AdaptivePolling(fallback=fallback)
    assert [polling.next_delay(progress("upscale", polls=polls)) for polls in range(5)] == [1.0, 1.5, 2.25, 3.0, 3.0]
    polling = learned(lognormal(1, 50), fallback=fallback)
    assert [polling.next_delay(progress(None, polls=polls)) for polls in range(3)] == [1.0, 1.5, 2.25]


def test_one_job_is_enough_to_poll_less_than_back_off():
    """After a single job of a usual duration, the next jobs cost less than with plain back-off."""
    plain = cost(ExponentialPolling(), lognormal(20, 200))
    costs = []
    for first in lognormal(21, 12):
        polling = learned([first])
        saved = polling.to_json()
        costs += [cost(AdaptivePolling.from_json(saved), [duration]) for duration in lognormal(22, 10)]
    assert sum(costs) / len(costs) < plain


def test_the_first_plan_of_a_kind_follows_the_other_kinds():
    """If upscales take a tenth of the usual time, the first variation is polled much earlier than usual."""
    quick = learned([2.0, 2.2, 1.9, 2.1, 2.0], jitter=0)
    usual = learned([36.0, 38.0, 34.0, 35.0, 37.0], jitter=0)
    assert quick.next_delay(progress("variation")) < 0.5 * usual.next_delay(progress("variation"))


def test_after_many_jobs_it_does_not_poll_early():
    """After forty jobs of about 20 s the first poll comes near the earliest end, and the next polls close together."""
    polling = learned(lognormal(2, 40), jitter=0)
    first = polling.next_delay(progress("upscale", age=0.0, polls=0))
    assert 5 < first < 15
    assert polling.next_delay(progress("upscale", age=20.0, polls=5)) < 3


def test_it_costs_less_than_plain_back_off():
    """After fifty jobs it needs fewer polls and less detection delay than back-off for the same hundred jobs."""
    polling, plain = learned(lognormal(3, 50)), ExponentialPolling()
    ours = [poll(polling, duration) for duration in lognormal(4, 100)]
    theirs = [poll(plain, duration) for duration in lognormal(4, 100)]
    for mine, other in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        assert sum(mine) < sum(other)


def test_abandoned_waits_do_not_shorten_the_estimate():
    """If half of the waits stop after 20 s, the estimate still includes the longer jobs."""
    rng = random.Random(5)
    everything, censored, naive = [], [], []
    for duration in lognormal(6, MAX_JOBS):
        everything.append(Interval(duration, duration))
        if rng.random() < 0.5 and duration > 20:
            censored.append(Interval(20.0, math.inf))
        else:
            censored.append(everything[-1])
            naive.append(everything[-1])

    def running_at_25(seen):
        return 1 - estimate(seen, PRIOR).below(25.0)

    truth = running_at_25(everything)
    assert abs(running_at_25(censored) - truth) < 0.6 * abs(running_at_25(naive) - truth)


def test_two_humps_are_found():
    """If jobs take either about 12 s or about 40 s, the estimate expects few in between."""
    seen = [Interval(each, each) for each in (*lognormal(30, 18, 12.0, 0.1), *lognormal(31, 12, 40.0, 0.1))]
    mixture = estimate(seen, PRIOR)
    assert mixture.below(28.0) - mixture.below(17.0) < 0.05
    assert 0.5 < mixture.below(20.0) < 0.7


def test_bounds_of_durations_lead_to_nearly_the_same_estimate():
    """The median from bounds three seconds apart is within 5 % of the median from exact durations."""
    exact = [Interval(each, each) for each in lognormal(32, 30)]
    rough = [
        Interval(each.low - 3 * share, each.low + 3 * (1 - share))
        for each, share in zip(exact, [0.2, 0.8] * 15, strict=True)
    ]
    assert estimate(rough, PRIOR).quantile(0.5) == pytest.approx(estimate(exact, PRIOR).quantile(0.5), rel=0.05)


def test_queue_and_work_are_learned_apart():
    """Once polls have seen jobs queue, the plan also depends on when a job was first seen processing."""
    rng = random.Random(33)
    polling = AdaptivePolling(jitter=0)
    for _ in range(40):
        queue, work = rng.lognormvariate(math.log(15), 0.7), rng.lognormvariate(math.log(18), 0.1)
        poll(polling, queue + work, queue=queue)
    assert isinstance(polling._kinds["upscale"].plan, PhasedPlan)
    for seen_at in (15.0, 40.0):
        wait = polling.next_delay(Progress("upscale", seen_at, 3, 2, seen_at))
        assert 3 < wait < 18  # the work may have begun at any time since the poll before


def test_without_a_queue_it_plans_by_age_alone():
    """If no poll sees a job queue, the plan ignores the status."""
    polling = learned(lognormal(34, 40), jitter=0)
    assert polling.next_delay(Progress("upscale", 20.0, 3, 1, None)) == polling.next_delay(
        Progress("upscale", 20.0, 3, 2, 10.0)
    )


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_it_notices_a_change_within_fifteen_jobs(factor):
    """Fifteen jobs after durations double or halve it costs about as much as a schedule that saw only these jobs."""
    changed, fresh = learned(lognormal(7, 60)), AdaptivePolling()
    for duration in lognormal(8, 15, 20.0 * factor):
        poll(changed, duration)
        poll(fresh, duration)
    later = lognormal(9, 60, 20.0 * factor)
    assert len(changed._kinds["upscale"].jobs) <= 20
    assert cost(changed, later) < 1.15 * cost(fresh, later)


def test_four_late_jobs_shift_the_plan_of_the_others():
    """If four running jobs take longer than nearly all before, the first poll of the next job comes later."""
    polling = learned(lognormal(40, 40), jitter=0)
    before = polling.next_delay(progress("upscale"))
    for polls in range(8, 12):
        for _ in range(LATE_JOBS):
            polling.next_delay(progress("upscale", age=60.0, polls=polls))
    assert polling.next_delay(progress("upscale")) > 1.3 * before


def test_one_late_job_does_not_shift_the_plan():
    """One slow job, polled a dozen times, leaves the plan of the others unchanged."""
    polling = learned(lognormal(40, 40), jitter=0)
    before = polling.next_delay(progress("upscale"))
    for polls in range(8, 20):
        polling.next_delay(progress("upscale", age=60.0 + polls, polls=polls))
    assert polling.next_delay(progress("upscale")) == before


@given(jobs=JOBS, ages=st.lists(st.tuples(AGES, MAYBE), max_size=10))
@settings(max_examples=60, deadline=None)
def test_intervals_are_finite_and_positive_after_any_jobs(jobs, ages):
    """After any jobs, even absurd ones, all intervals are finite and above zero, also for a copy read from its JSON."""
    polling = AdaptivePolling()
    for job in jobs:
        polling.learn(job)
        assert 0 < polling.next_delay(progress(job.kind)) < math.inf
    for age, since in ages:
        interval = polling.next_delay(Progress("upscale", age, 3, 2 if since else 1, since))
        assert 0 < interval < math.inf
    copy = AdaptivePolling.from_json(polling.to_json())
    assert 0 < copy.next_delay(progress("upscale")) < math.inf


@given(seen=INTERVALS)
@settings(max_examples=60, deadline=None)
def test_an_estimate_is_a_distribution(seen):
    """The estimate from any jobs is a share of ended jobs that grows with age from 0 towards 1."""
    mixture = estimate(seen, PRIOR)
    distribution = Distribution.of(mixture)
    assert sum(bell.share for bell in mixture.bells) == pytest.approx(1.0)
    assert list(distribution.ages) == sorted(set(distribution.ages))
    assert all(0 <= ended <= 1 + 1e-9 for ended in distribution.ended)
    assert list(distribution.ended) == sorted(distribution.ended)


@given(
    ended=st.lists(st.floats(0, 1), min_size=3, max_size=9).map(sorted),
    weight=st.floats(0.1, 20),
)
@settings(max_examples=100)
def test_no_other_plan_is_cheaper(ended, weight):
    """No subset of the grid's ages costs less than the plan; all are tried."""
    ages = [float(age) for age in range(len(ended))]
    distribution = Distribution(ages, [0.0, *ended[1:]])
    plan = plan_polls(distribution, weight)
    polls, place = [], 0.0
    while place < ages[-1]:
        place += plan.next_delay(place)
        polls.append(place)
    inner = ages[1:-1]
    subsets = [
        [age for bit, age in enumerate(inner) if chosen >> bit & 1] + [ages[-1]] for chosen in range(2 ** len(inner))
    ]
    least = min(cost_of(other, distribution, weight) for other in subsets)
    assert cost_of(polls, distribution, weight) <= least + 1e-9


def cost_of(polls, distribution, weight):
    """Return the cost of polls at these ages, if ends are evenly distributed between two ages of the grid."""
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
    """Polls of an operation that takes longer than all others become rarer, down to one a minute."""
    polling = learned(lognormal(10, 40), jitter=0)
    age, intervals = 100.0, []
    for polls in range(60):
        intervals.append(polling.next_delay(progress("upscale", age=age, polls=polls)))
        age += intervals[-1]
    assert intervals == sorted(intervals)
    assert intervals[-1] == MAX_TAIL_DELAY


def test_json_carries_what_was_learned_to_another_process():
    """A schedule read from the JSON of another polls as that one would."""
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
        '{"version": 3, "kinds": {}}',
        '{"version": 2, "kinds": {"upscale": [[1, 2]]}}',
        '{"version": 2, "kinds": {"upscale": [[null, 2, 0, null, null]]}}',
        '{"version": 2, "kinds": {"upscale": [[1, 2, 0, null, 0]]}}',
        '{"version": 2, "kinds": {"upscale": [[1, 2, 0, null, "1"]]}}',
        '{"version": [1], "kinds": {}}',
        "{}",
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
def test_json_of_another_form_is_rejected(text):
    """from_json raises ValueError for a text that to_json cannot have written."""
    with pytest.raises(ValueError):
        AdaptivePolling.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("delay_cost", 0), ("delay_cost", math.nan), ("jitter", 2), ("fallback", 3.0)],
)
def test_a_bad_argument_is_rejected(name, value):
    """The error names the argument."""
    with pytest.raises(ValueError, match=name):
        AdaptivePolling(**{name: value})


async def test_a_session_teaches_its_schedule():
    """The schedule learns each operation that the session started under its kind, and no others."""
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
        await akool.wait_until_complete(
            source
        )  # not started by this session: its age is unknown, so nothing is learned
    seen = {name: list(kind.jobs) for name, kind in polling._kinds.items()}
    assert {name: len(jobs) for name, jobs in seen.items()} == {"upscale": 2, "variation": 1, "prompt": 1}
    assert all(job.running_at < job.ended_at for jobs in seen.values() for job in jobs)


async def test_adaptive_polling_is_the_default_of_a_session():
    """A session without ``polling=`` uses AdaptivePolling."""
    async with AkoolSession("sk-test-key") as akool:
        assert isinstance(akool._poller._schedule._polling, AdaptivePolling)


def test_json_holds_abandoned_operations_too():
    """The last age at which an abandoned operation was seen running is in the JSON."""
    polling = AdaptivePolling()
    polling.learn(Finished(kind="upscale", running_at=30.0, ended_at=None))
    copy = AdaptivePolling.from_json(polling.to_json())
    assert copy.to_json() == polling.to_json()
    assert "30.0,null" in copy.to_json()


def test_json_of_version_1_can_still_be_read():
    """Version 1 has two ages per job: when it was last seen running, and when it was first seen ended."""
    jobs = ",".join(f"[{20 + each}, {21 + each}]" for each in range(12))
    polling = AdaptivePolling.from_json('{"version": 1, "kinds": {"upscale": [' + jobs + "]}}", jitter=0)
    assert 5 < polling.next_delay(progress("upscale")) < 21


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_garbage_raises_only_value_error(text):
    """For any text that to_json did not write from_json raises ValueError, and no other error."""
    with pytest.raises(ValueError, match="text"):
        AdaptivePolling.from_json(text)


def test_for_a_faster_emulator_all_intervals_shrink():
    """Scaled to 0.1 it expects a tenth of the durations, and one second of delay costs ten times as much."""
    polling = AdaptivePolling(jitter=0).scaled(0.1)
    usual = AdaptivePolling(jitter=0)
    for each, seconds in ((polling, 3.0), (usual, 30.0)):
        each.learn(Finished("upscale", 0.0, seconds, duration=seconds))
    for kind in ("upscale", "variation"):
        assert polling.next_delay(progress(kind)) == pytest.approx(usual.next_delay(progress(kind)) / 10, rel=0.01)
    assert polling.delay_cost == 10 * usual.delay_cost
    assert polling.scaled(10).to_json() == polling.to_json()
