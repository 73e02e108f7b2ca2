"""The plan of a batch, made before anything is spent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async import APIError, Button, NotFoundError, NotPermittedError
from akool_async._http.retry import is_account_error
from akool_async._limits.credits import Prices, as_price
from akool_async.cli.batch.naming import assign_names, names_in_folder
from akool_async.cli.batch.nodes import Node
from akool_async.cli.batch.plan import Plan
from akool_async.cli.batch.sorting import Sorter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from akool_async import AkoolSession, ImageResult
    from akool_async.cli.batch.input_file import Batch
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.sorting import Rules
    from akool_async.cli.batch.stored import StoredItems
    from akool_async.cli.outcomes.line import NodeId, OutcomeLine

MAX_CONCURRENT_READS: Final = 8


async def make_plan(
    akool: AkoolSession,
    batch: Batch,
    output: OutputFile,
    stored: StoredItems,
    progress: BatchProgress,
    rules: Rules,
) -> Plan:
    """Make the plan. Reads the balance, and each source image once.

    Args:
        akool: The session to read with.
        batch: The file.
        output: The lines of earlier runs.
        stored: What the store holds.
        progress: Shows how many images were read.
        rules: The options that concern earlier runs.

    Raises:
        AkoolError: An image or the balance could not be read; nothing was spent.
    """
    names = assign_names(
        batch.entries,
        [*output.lines.values(), *output.accepted.values()],
        in_folder=names_in_folder(output.pictures),
        stored=stored.sizes,
    )
    roots = [Node.root(entry, names[entry.node]) for entry in batch.entries]
    plan = Plan(
        batch=batch,
        roots=roots,
        balance=await akool.get_credit(),
        stored=stored,
        unreadable=output.unreadable,
    )
    sorter = Sorter(plan, output, rules, stored.sizes)
    for root in roots:
        sorter.sort(root, root.entry.item)
    sources = await _read_sources(akool, sorter.image_ids, progress)
    plan.sources = {image_id: source for image_id, source in sources.items() if not isinstance(source, APIError)}
    kinds = {root.id: root.kind for root in roots}
    plan.prices = learn_prices(output.lines.values(), plan.sources.values(), kinds)
    for kind, price in stored.prices:
        plan.prices.learn(kind, price)
    sorter.sort_by_sources(sources, plan.prices)
    return plan


def learn_prices(
    lines: Iterable[OutcomeLine], sources: Iterable[ImageResult], kinds: Mapping[NodeId, str] | None = None
) -> Prices:
    """Return the last price of each kind: from the output, or else from a source image.

    Args:
        lines: The lines of earlier runs.
        sources: The source images of the batch.
        kinds: The kind of price of each prompt, since its line does not show it.
    """
    prices = Prices()
    for source in sources:
        button, price = source.op_button, as_price(source.deduction_credit)
        if button is not None and button in Button.__members__ and price is not None:
            prices.learn(Button(button).kind, price)
    for line in lines:
        kind = (kinds or {}).get(line.node) if line.button is None else Button(line.button).kind
        price = as_price(line.credits)
        if kind is not None and price is not None and line.id is not None:
            prices.learn(kind, price)
    return prices


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
