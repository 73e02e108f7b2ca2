"""The cap on upscales, counted at the server."""

import asyncio

from attrs import evolve

from akool_async import ButtonPress, ImageStatus
from akool_async.emulator import Emulator, Fault
from tests.support.schedules import FAST, QUICK


async def test_never_more_upscales_than_the_cap_run_at_the_server(emulator):
    """40 concurrent upscales under a cap of 3: the server never runs more than 3, and all are finished."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=3) as akool:
        sources = [emulator.add_image() for _ in range(10)]
        operations = await asyncio.gather(*(akool.upscale(source, i) for source in sources for i in (1, 2, 3, 4)))
        results = await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
    assert len({result.id for result in results}) == 40
    assert emulator.ledger.peak_upscales == 3


async def test_nobody_has_to_await_for_a_slot_to_come_back(emulator):
    """More un-awaited upscales than slots do not deadlock: slots are released when the server is done."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        source = emulator.add_image()
        operations = [await akool.upscale(source, i) for i in (1, 2, 3, 4)]
    assert len({operation.id for operation in operations}) == 4
    assert emulator.ledger.peak_upscales == 1


async def test_variations_are_not_held_up_by_upscales(emulator):
    """With the only slot taken for ever and an upscale queued, variations are made."""
    async with emulator.session(
        polling=FAST,
        max_concurrent_upscales=1,
        max_concurrent_operations=3,
    ) as akool:
        source = emulator.add_image()
        emulator.faults.script("create_by_button", Fault.stuck())
        await akool.upscale(source, 1)
        queued = [asyncio.create_task(akool.upscale(source, i)) for i in (2, 3, 4)]
        for index in (1, 2, 3, 4):
            result = await (await akool.vary(source, index)).wait_until_complete()
            assert result.status == ImageStatus.COMPLETED
        assert not any(task.done() for task in queued)
        for task in queued:
            task.cancel()
        await asyncio.gather(*queued, return_exceptions=True)
    assert emulator.ledger.peak_upscales == 1


async def test_all_kinds_together_stay_under_max_concurrent_operations(emulator):
    """Concurrent prompts, batches, upscales and variations never exceed the common cap at the server."""
    async with emulator.session(polling=FAST, max_concurrent_operations=3) as akool:
        source = emulator.add_image()
        await asyncio.gather(
            *(akool.create_by_prompt(f"fox {i}") for i in range(5)),
            *(akool.create_by_source_prompt("foxes", batch_quantity=3) for _ in range(3)),
            *(akool.upscale(source, i) for i in (1, 2, 3, 4)),
            *(akool.vary(source, i) for i in (1, 2, 3, 4)),
        )
    assert emulator.ledger.accepted == 5 + 9 + 8
    assert emulator.ledger.peak_generations <= 3


async def test_a_queued_upscale_that_is_cancelled_sends_nothing(emulator):
    """Cancelling a caller that waits for a slot costs nothing, and the next one gets its place."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        source = emulator.add_image()
        first = await akool.upscale(source, 1)
        queued = asyncio.create_task(akool.upscale(source, 2))
        await asyncio.sleep(0)
        queued.cancel()
        await asyncio.gather(queued, return_exceptions=True)
        await first.wait_until_complete()
        await (await akool.upscale(source, 3)).wait_until_complete()
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1, (source, "U3"): 1}


async def test_a_refused_press_gives_its_slot_back(emulator):
    """Refusals of every kind leave the cap unchanged."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        source = emulator.add_image()
        for code in (1003, 1006, 1008, 1009, 1010, 1108, 1200, 4711):
            emulator.faults.script("create_by_button", Fault.code(code))
            await asyncio.gather(akool.upscale(source, 1), return_exceptions=True)
        assert (await (await akool.upscale(source, 1)).wait_until_complete()).status == ImageStatus.COMPLETED


async def test_the_plan_of_a_busy_account_is_waited_for():
    """1005 means not accepted: the press is sent again after pauses until the account has room."""
    async with (
        Emulator(speed=200, plan_concurrency=1) as emulator,
        emulator.session(polling=FAST) as akool,
    ):
        source = emulator.add_image()
        presses = [ButtonPress(source, button) for button in ("V1", "V2", "V3")]
        operations = await asyncio.gather(*(akool.create_by_button(p.image_id, p.button) for p in presses))
        await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
    assert emulator.ledger.peak_generations == 1
    assert emulator.ledger.pressed_twice() == []


async def test_a_batch_that_is_cancelled_while_it_waits_for_slots_gives_back_those_it_has():
    """Of two slots one is taken, and a batch of two has the other. When its caller is cancelled, a prompt gets it."""
    seen = []
    async with Emulator(speed=0.1) as slow:
        async with slow.session(
            max_concurrent_operations=2,
            observer=seen.append,
        ) as akool:
            await akool.create_by_prompt("a fox")
            before = len(seen)
            batch = asyncio.create_task(akool.create_by_source_prompt("two foxes", batch_quantity=2))
            while len(seen) == before:  # it reports Queued before it takes its slots
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            batch.cancel()
            await akool.create_by_prompt("another fox")
    assert slow.ledger.requests["create_by_source_prompt"] == 0
    assert slow.ledger.accepted == 2


async def test_an_upscale_that_never_ends_gives_its_slot_back(emulator, caplog):
    """After slot_timeout the next upscale is sent, though a caller still waits for the stuck one."""
    emulator.faults.script("create_by_button", Fault.stuck())
    timing = evolve(QUICK, slot_timeout=0.02)
    async with emulator.session(polling=FAST, max_concurrent_upscales=1, timing=timing) as akool:
        stuck = await akool.upscale(emulator.add_image(), 1)
        waiting = asyncio.create_task(stuck.wait_until_complete())
        operation = await akool.upscale(emulator.add_image(), 1)
        assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED
        assert not waiting.done()
        waiting.cancel()
    assert f"operation {stuck.id} has not ended" in caplog.text


async def test_an_upscale_that_can_no_longer_be_polled_releases_its_slot(emulator, caplog):
    """AKOOL no longer knows the operation and nobody waits for it: this is logged, and the next upscale is sent."""
    emulator.faults.script("create_by_button", Fault.stuck())
    emulator.faults.script("get_image_result", Fault.code(1005), Fault.code(1200))
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        lost = await akool.upscale(emulator.add_image(), 1)
        operation = await akool.upscale(emulator.add_image(), 1)
    assert operation.id != lost.id
    assert f"operation {lost.id} is no longer polled" in caplog.text
