"""Trees in a store: prompts, and the presses on their images, which are recorded together with the results."""

import asyncio
import signal
from collections import Counter
from contextlib import suppress

import pytest

from akool_async import (
    BudgetError,
    ButtonPress,
    NotPressedError,
    OperationFailedError,
    OutcomeUnknownError,
    Prompt,
    SourcePrompt,
    WebhookEvent,
)
from akool_async.durable import JobState
from akool_async.emulator import Emulator, Fault
from tests.support.durable_faults import hold_up_the_end_of, lock_15
from tests.support.looks import look_until
from tests.support.workers import open_jobs, outcomes_of, worker

TREE = "U* V1>U*"
NODES = 10


def prompts(number, then=TREE):
    return [Prompt(f"fox {index}", then=then, key=f"fox-{index}") for index in range(number)]


def names(outcomes):
    """Count the outcomes by the key of their prompt and their path."""
    return Counter("-".join([outcome.item.key, *outcome.path]) for outcome in outcomes)


async def test_a_tree_is_carried_out_from_the_store(emulator, store):
    """Prompts, their upscales and the upscales of a variation: each node is a job, and its outcome has its parent."""
    async with open_jobs(emulator, store) as jobs:
        given = prompts(3)
        assert await jobs.submit(given) == 3
        assert await jobs.submit(given) == 0
        await jobs.run()
        outcomes = await outcomes_of(jobs)
        assert names(outcomes) == names(await outcomes_of(jobs, given))
        status = await jobs.status()
    assert len(names(outcomes)) == 3 * NODES
    assert all(outcome.ok for outcome in outcomes)
    by_path = {outcome.path: outcome for outcome in outcomes if outcome.item.key == "fox-1"}
    assert by_path[()].prompt == given[1]
    assert by_path["V1", "U2"].parent.operation == by_path["V1",].operation
    assert by_path["V1",].parent.operation == by_path[()].operation
    assert by_path["V1", "U2"].item == given[1]
    assert status.done == 3 * NODES
    assert emulator.ledger.accepted == 3 * NODES
    assert emulator.ledger.charged == status.credits_charged


async def test_a_press_may_have_a_tree_in_a_store(emulator, store):
    """The presses on the result of a variation are recorded too."""
    async with open_jobs(emulator, store) as jobs:
        press = ButtonPress(emulator.add_image(), "V2", then="U1 V4>U2")
        await jobs.submit([press])
        await jobs.run()
        outcomes = await outcomes_of(jobs, [press])
    assert Counter("-".join(outcome.path) for outcome in outcomes) == Counter(["V2", "V2-U1", "V2-V4", "V2-V4-U2"])


async def test_each_image_of_a_batch_is_a_job(emulator, store):
    """A batch of three (v4) is three jobs, each with a tree."""
    async with open_jobs(emulator, store) as jobs:
        prompt = SourcePrompt("a fox", batch_quantity=3, then="U1")
        assert await jobs.submit([prompt]) == 3
        await jobs.run()
        outcomes = await outcomes_of(jobs, [prompt])
    assert sorted(outcome.number for outcome in outcomes if outcome.parent is None) == [1, 2, 3]
    assert {outcome.prompt.batch_quantity for outcome in outcomes if outcome.parent is None} == {3}
    assert len(outcomes) == 6
    assert emulator.ledger.requests["create_by_source_prompt"] == 3


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt("a cat", key="k#2"), r"items\[1\]: key 'k#2' belongs to items\[0\], which is another prompt"),
        (SourcePrompt("a fox", key="k" * 199, batch_quantity=2), r"items\[1\]: key of a batch must have at most 198"),
    ],
)
async def test_keys_are_never_those_of_other_images(emulator, tmp_path, prompt, message):
    """A key that another prompt in the input has, or that is too long for an image number, is refused."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/akool.db") as jobs:
        with pytest.raises(ValueError, match=message):
            await jobs.submit([SourcePrompt("a fox", key="k", batch_quantity=4), prompt])
        assert [job.key async for job in jobs.jobs()] == ["k", "k#2", "k#3", "k#4"]


async def test_prompts_without_a_key_are_identified_by_their_content(emulator, store):
    """The same input is the same jobs, even if it has a text twice. Another scale makes another prompt."""
    given = [Prompt("a fox"), Prompt("a cat"), Prompt("a fox"), Prompt("a fox", scale="16:9")]
    async with open_jobs(emulator, store) as jobs:
        assert await jobs.submit(given) == 4
        assert await jobs.submit(reversed(given)) == 0
        assert await jobs.submit([*given, Prompt("a fox")]) == 1
        assert len(await jobs.find(given)) == 4
        assert (await jobs.job(Prompt("a cat"))).item.text == "a cat"
        assert await jobs.job(Prompt("a dog")) is None


async def test_more_can_be_pressed_on_results_later(emulator, store):
    """Prompts submitted again with a longer ``then`` are not sent again, and only missing buttons are pressed."""
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(2, "U1 V1"))
        await jobs.run()
        assert await jobs.submit(prompts(2, "U1 U2 V1>U3")) == 4
        assert await jobs.submit(prompts(2, "U2")) == 0
        await jobs.run()
        outcomes = await outcomes_of(jobs, prompts(2))
    assert Counter("-".join(outcome.path) for outcome in outcomes) == dict.fromkeys(["", "U1", "U2", "V1", "V1-U3"], 2)
    assert emulator.ledger.requests["create_by_prompt"] == 2
    assert emulator.ledger.pressed_twice() == []


async def test_more_can_be_pressed_on_a_prompt_that_waits(emulator, store):
    """More buttons can be added to a prompt that has not been sent."""
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(1, "U1"))
        await jobs.submit(prompts(1, "U2"))
        await jobs.run()
        assert len(await outcomes_of(jobs)) == 3


async def test_more_can_be_pressed_on_a_job_that_is_just_ending(emulator, postgresql):
    """A worker records the end of a job while another program adds a press on its result. The press is made."""
    press = ButtonPress(emulator.add_image(), "V1")
    store = postgresql()
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([press])
        with lock_15(store) as lock:
            hold_up_the_end_of(lock.connection, "V1")
            running = asyncio.create_task(jobs.run())
            await look_until(lambda: lock.count_waiting() == 1)
            submitting = asyncio.create_task(jobs.submit([ButtonPress(press.image_id, "V1", then="U1")]))
            await look_until(lambda: lock.count_waiting("transactionid") == 1)
            lock.unlock()
            assert await submitting == 1
            await running
        await jobs.run()
        assert Counter("-".join(outcome.path) for outcome in await outcomes_of(jobs)) == {"V1": 1, "V1-U1": 1}


async def test_an_item_that_an_input_has_twice_gets_the_buttons_of_both(emulator, store):
    """If two items are the same job, the buttons of both are pressed on its result, as in two submissions."""
    source = emulator.add_image()
    async with open_jobs(emulator, store) as jobs:
        given = [ButtonPress(source, "V1", then="U1"), (source, "V1"), *prompts(1, "U1"), *prompts(1, "U2")]
        assert await jobs.submit(given) == 2
        await jobs.run()
        outcomes = await outcomes_of(jobs)
    assert Counter("-".join(outcome.path) for outcome in outcomes) == Counter(["V1", "V1-U1", "", "U1", "U2"])


async def test_more_can_be_pressed_on_a_prompt_that_was_over_budget(emulator, store):
    """More buttons can be added to a prompt that is reopened with another budget."""
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(1, "U1"), max_credits=1)
        await jobs.run()
        assert await jobs.submit(prompts(1, "U2"), max_credits=100) == 1
        await jobs.run()
        assert Counter("-".join(outcome.path) for outcome in await outcomes_of(jobs)) == Counter(["", "U1", "U2"])


async def test_nothing_is_pressed_below_an_image_that_was_not_made(emulator, store):
    """A failed prompt and all presses below it have outcomes with the reason. The presses are not recorded as jobs."""
    emulator.faults.script("create_by_prompt", Fault.fails("too dark"))
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(1, "U1 V1>U2"))
        await jobs.run()
        for given in (None, prompts(1)):
            first, *below = await outcomes_of(jobs, given)
            assert isinstance(first.error, OperationFailedError)
            assert [type(outcome.error) for outcome in below] == [NotPressedError] * 3
            assert "too dark" in str(below[2].error)
            assert below[2].path == ("V1", "U2")
        assert (await jobs.status()).failed == 1


async def test_a_lost_reply_to_a_prompt_is_settled_by_its_id(emulator, store):
    """The prompt is unknown and is not sent again. Once somebody reports its id, its tree is carried out."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    async with open_jobs(emulator, store) as jobs:
        (prompt,) = prompts(1, "U1")
        await jobs.submit([prompt])
        await jobs.run()
        first, below = await outcomes_of(jobs)
        assert isinstance(first.error, OutcomeUnknownError)
        assert first.error.prompt == prompt
        assert isinstance(below.error, NotPressedError)
        assert emulator.ledger.requests["create_by_prompt"] == 1
        await jobs.resolve(prompt, operation_id=emulator.ledger.posts[0].new_ids[0])
        await jobs.run()
        assert [outcome.ok for outcome in await outcomes_of(jobs)] == [True, True]
    assert emulator.ledger.requests["create_by_prompt"] == 1


async def test_a_lost_prompt_is_sent_again_on_request(emulator, store):
    """``retry=True`` sends an unknown prompt again, and its tree is carried out once."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(1))
        await jobs.run()
        assert (await jobs.job(prompts(1)[0])).state is JobState.UNKNOWN
        await jobs.resolve(prompts(1)[0], retry=True)
        await jobs.run()
        assert len(await outcomes_of(jobs)) == NODES
    assert emulator.ledger.requests["create_by_prompt"] == 2


async def test_a_lost_prompt_that_is_sent_again_counts_twice(emulator, store):
    """The budget and the status count what both POSTs may have cost."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"), Fault.reset("after"))
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(1, ""), max_credits=4)
        for _ in range(3):
            await jobs.run()
            with suppress(ValueError):
                await jobs.resolve("fox-0", retry=True)
        await jobs.run()
        assert isinstance((await jobs.job("fox-0")).outcome.error, BudgetError)
        status = await jobs.status()
    assert emulator.ledger.charged == 4
    assert status.credits_charged + status.credits_lost + status.credits_in_doubt == 4


async def test_a_webhook_reports_the_id_of_a_lost_prompt(emulator, store):
    """A webhook with the correlation id of a lost prompt reopens it."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    async with open_jobs(emulator, store, webhook_url="https://example.invalid/hook") as jobs:
        await jobs.submit(prompts(1, "U1"))
        await jobs.run()
        (post,) = emulator.ledger.posts
        correlation_id = post.webhook_url.partition("akool_press=")[2]
        assert await jobs.notify(WebhookEvent(id=post.new_ids[0], status=3), correlation_id=correlation_id)
        await jobs.run()
        assert [outcome.ok for outcome in await outcomes_of(jobs)] == [True, True]


async def test_the_budget_of_a_submission_covers_its_trees(emulator, store):
    """Prompts and the presses on them share one budget. A node that does not fit is over budget, with all below it."""
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(4, "V1>U*"), max_credits=15)
        await jobs.run()
        outcomes = await outcomes_of(jobs)
        assert {type(outcome.error) for outcome in outcomes} == {type(None), BudgetError}
        assert len(outcomes) == 4 * 6
        assert emulator.ledger.charged == 14
        await jobs.submit(prompts(4, "V1>U*"), max_credits=100)
        await jobs.run()
        assert all(outcome.ok for outcome in await outcomes_of(jobs, prompts(4)))
    assert emulator.ledger.accepted == 4 * 6
    assert emulator.ledger.pressed_twice() == []


async def test_open_trees_have_priority_over_new_prompts(emulator, store):
    """Presses in open trees are made before all prompts of the store have been sent."""
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(16, "U*"))
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 30)
        kinds = Counter(post.endpoint for post in emulator.ledger.posts[:30])
        await running
    assert kinds["create_by_prompt"] <= 12
    assert emulator.ledger.accepted == 16 * 5


@pytest.mark.parametrize(("number", "then"), [(40, "V1>U1"), (600, "U1")])
async def test_waiting_trees_do_not_block_open_ones(emulator, store, number, then):
    """Many variations wait to start a tree. The presses in open trees are made before them."""
    async with open_jobs(emulator, store, max_concurrent_upscales=1) as jobs:
        await jobs.submit([ButtonPress(emulator.add_image(), "V1", then=then) for _ in range(number)])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 30)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert emulator.ledger.peak_upscales == 1


async def test_trees_survive_kills(store, tmp_path):
    """Workers are killed repeatedly. In the end all trees are complete, and each button was pressed once."""
    async with Emulator(speed=150) as emulator, open_jobs(emulator, store) as jobs:
        given = prompts(5)
        await jobs.submit(given)
        for accepted in (10, 18, 26):
            async with worker(emulator, store, tmp_path) as process:
                await emulator.ledger.until(lambda ledger, wanted=accepted: ledger.accepted >= wanted)
                process.send_signal(signal.SIGKILL)
        async with worker(emulator, store, tmp_path, "--until-empty", "--lost-reply-timeout=0") as process:
            await process.wait()
        outcomes = await outcomes_of(jobs, given)
        status = await jobs.status()
        assert len(outcomes) == len(given) * NODES
        assert max(names(outcomes).values()) == 1
        assert emulator.ledger.pressed_twice() == []
        known = sum(outcome.operation is not None for outcome in outcomes)
        unknown = sum(isinstance(outcome.error, OutcomeUnknownError) for outcome in outcomes)
        assert known <= emulator.ledger.accepted <= known + unknown
        assert status.open == 0
        assert emulator.ledger.requests["create_by_prompt"] == len(given)


async def test_any_text_comes_back_as_it_was_submitted(emulator, store):
    """Texts with quotes, brackets, emoji, line breaks and NUL do not change, nor do keys with spaces and colons."""
    texts = ["a\0b", "'; DROP TABLE akool_jobs; --", '{"text": "\\u0000"}', "\U0001f600 \n\t", "ü%s:name"]
    given = [Prompt(text, key=f"key: {index} é") for index, text in enumerate(texts)]
    given += [SourcePrompt(text, similar=0.5, source_images=["https://example.invalid/a?b=1&c"]) for text in texts]
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(given)
        found = [job.item async for job in jobs.jobs()]
        assert {item.text for item in found} == set(texts)
        assert set(given[: len(texts)]) < set(found)
        assert (await jobs.job("key: 3 é")).item == given[3]
        assert await jobs.submit(given) == 0


async def test_a_key_belongs_to_one_prompt(emulator, store):
    """A different prompt with a recorded key is refused and not recorded. The error names the recorded prompt."""
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([Prompt("a cat", key="1")])
        for wrong in (Prompt("a dog", key="1"), Prompt("a cat", scale="16:9", key="1"), SourcePrompt("a cat", key="1")):
            with pytest.raises(ValueError, match="the key '1' belongs to another prompt, prompt 'a cat'"):
                await jobs.submit([wrong])
        assert await jobs.submit([Prompt("a cat", key="1")]) == 0


async def test_a_budget_limits_the_buttons_that_it_adds_to_an_open_job(emulator, store):
    """If an open prompt without a budget gets more buttons with one, that budget applies to its whole tree."""
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(prompts(1, "U1"))
        await jobs.submit(prompts(1, "U* V*>U*"), max_credits=6)
        await jobs.run()
    assert emulator.ledger.charged <= 6


async def test_each_image_of_a_batch_is_settled_by_its_job(emulator, store):
    """``resolve(job)`` settles one image of a batch."""
    emulator.faults.script("create_by_source_prompt", None, Fault.reset("after"))
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([SourcePrompt("a fox", key="k", batch_quantity=2)])
        await jobs.run()
        (unknown,) = [job async for job in jobs.jobs("unknown")]
        await jobs.resolve(unknown, operation_id=emulator.ledger.posts[1].new_ids[0])
        await jobs.run()
        assert (await jobs.status()).done == 2
        assert (await jobs.job(unknown)).key == unknown.key
