"""The plan of a batch, made before anything is spent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from attrs import evolve

from akool_async import APIError, Button, NotFoundError, NotPermittedError
from akool_async._fan_out.preflight import ALREADY_USED, obstacle_of
from akool_async._http.retry import is_account_error
from akool_async._limits.credits import Prices, as_price
from akool_async.cli.batch.earlier import USED, Step, next_step
from akool_async.cli.batch.plan import Plan, Refused
from akool_async.cli.messages import reason_of
from akool_async.cli.outcomes.line import OutcomeLine, PressState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from akool_async import AkoolSession, ImageResult
    from akool_async.cli.batch.input_file import Batch, Entry
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.stored import StoredPresses

MAX_CONCURRENT_READS: Final = 8


async def make_plan(
    akool: AkoolSession,
    batch: Batch,
    output: OutputFile,
    stored: StoredPresses,
    progress: BatchProgress,
    *,
    with_files: bool,
) -> Plan:
    """Read each source image once, and the balance.

    Raises:
        AkoolError: something could not be read; nothing was spent.
    """
    plan = Plan(batch, await akool.get_credit(), waiting=stored.waiting, unreadable=output.unreadable)
    open_entries = [
        entry
        for entry in batch.entries
        if not _sort_by_earlier_runs(plan, entry, output, stored, with_files=with_files)
    ]
    image_ids = list(dict.fromkeys(entry.press.image_id for entry in open_entries))
    sources = await _read_sources(akool, image_ids, progress)
    plan.sources = {image_id: source for image_id, source in sources.items() if not isinstance(source, APIError)}
    plan.prices = learn_prices(output.lines.values(), plan.sources.values())
    for entry in open_entries:
        _sort_by_source(plan, entry, sources[entry.press.image_id], output.lines.get(entry.press))
    return plan


def learn_prices(lines: Iterable[OutcomeLine], sources: Iterable[ImageResult]) -> Prices:
    """The last price of each kind of press: in this output, or else of an image that the batch starts from."""
    prices = Prices()
    for source in sources:
        button, price = source.op_button, as_price(source.deduction_credit)
        if button is not None and button in Button.__members__ and price is not None:
            prices.learn(Button(button).kind, price)
    for line in lines:
        price = as_price(line.credits)
        if price is not None and line.id is not None:
            prices.learn(line.press.button.kind, price)
    return prices


def _sort_by_earlier_runs(
    plan: Plan, entry: Entry, output: OutputFile, stored: StoredPresses, *, with_files: bool
) -> bool:
    """Put the press where earlier runs decide that it belongs; False if they do not."""
    line, accepted = output.lines.get(entry.press), output.accepted.get(entry.press)
    if accepted is not None:
        plan.to_fetch[entry.press] = accepted
    elif entry.press in stored.presses and not (line is not None and line.is_over):
        plan.recorded.append(entry)
    elif line is not None and line.state is PressState.LOST:
        plan.lost.append(line)
    elif line is None or line.id is None:
        return False
    elif not line.is_over or (line.ok and with_files and not line.has_files):
        plan.to_fetch[entry.press] = line.id
    else:
        (plan.done if line.ok else plan.failed).append(line)
    return True


async def _read_sources(
    akool: AkoolSession, image_ids: list[str], progress: BatchProgress
) -> dict[str, ImageResult | APIError]:
    sources: dict[str, ImageResult | APIError] = {}
    left = iter(image_ids)

    async def read_in_turn() -> None:
        for image_id in left:
            try:
                sources[image_id] = await akool.get_image_result(image_id)
            except (NotFoundError, NotPermittedError) as error:
                if is_account_error(error):
                    raise
                sources[image_id] = error
            progress.show_read(len(sources), len(image_ids))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(MAX_CONCURRENT_READS):
                group.create_task(read_in_turn())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return sources


def _sort_by_source(plan: Plan, entry: Entry, source: ImageResult | APIError, earlier: OutcomeLine | None) -> None:
    button = entry.press.button
    obstacle = None if isinstance(source, APIError) else obstacle_of(source, button)
    is_used = obstacle is not None and obstacle.code == ALREADY_USED
    is_offered = obstacle is None and not isinstance(source, APIError)
    step = next_step(None if earlier is None else earlier.state, is_used=is_used, is_offered=is_offered)
    if step is Step.PRESS:
        plan.to_press.append(entry)
    elif step is Step.KEEP_LOST and earlier is not None:
        price = plan.prices.expected(button.kind)
        plan.lost.append(evolve(earlier, charged=True, credits=price, error=USED, code=None))
    elif step is Step.KEEP_IN_DOUBT and earlier is not None:
        plan.lost.append(earlier)
    elif isinstance(source, APIError):
        plan.refused.append(Refused(entry, reason_of(source), source.code))
    elif obstacle is not None:
        plan.refused.append(Refused(entry, obstacle.reason, obstacle.code, is_used=is_used))
