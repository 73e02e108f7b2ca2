"""One run of `akool fan-out` over a plan. Every node gets a line, however the run ends."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field

from akool_async import AkoolError, DownloadError
from akool_async.cli import signals
from akool_async.cli.batch.feed import Feed
from akool_async.cli.batch.fetching import Fetcher, PictureSaver
from akool_async.cli.batch.plan import Steps
from akool_async.cli.batch.shown import contents_of
from akool_async.cli.batch.sorting import Sorter, lines_below
from akool_async.cli.batch.stored import carry_out
from akool_async.cli.batch.summary import Summary
from akool_async.cli.batch.writer import LineWriter
from akool_async.cli.gallery.live import LiveGallery
from akool_async.cli.outcomes.describe import UNSAVED
from akool_async.cli.output.stderr import amount, print_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from akool_async import AkoolSession, Counters, Outcome
    from akool_async.cli.batch.fan_out_options import FanOutOptions
    from akool_async.cli.batch.nodes import Node, NodeIndex
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Fetch, Plan
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.tally import EarlyEnd, Tally
    from akool_async.durable import DurableFanOut


@define(eq=False, kw_only=True)
class BatchRun:
    """One run over a plan."""

    _options: FanOutOptions
    _plan: Plan
    _budget: float | None
    _output: OutputFile
    _progress: BatchProgress
    _tally: Tally
    _early_end: EarlyEnd
    _index: NodeIndex
    _akool: AkoolSession
    _store: DurableFanOut | None
    _writer: LineWriter = field(init=False)
    _saver: PictureSaver = field(init=False)
    _fetcher: Fetcher = field(init=False)
    _feed: Feed = field(init=False)
    _balance: float | None = field(default=None, init=False)
    _counters: Counters | None = field(default=None, init=False)
    _gallery: LiveGallery | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        over_budget = None
        if self._store is None and self._budget is not None:
            limit = self._options.limit(self._plan.balance)
            over_budget = f"it could exceed the {amount(self._budget)} credits that may be spent ({limit})"
        self._writer = LineWriter(self._output, self._progress, self._tally, self._index, over_budget)
        self._saver = PictureSaver(self._akool, self._writer, self._options.download)
        fetches, timeout = self._plan.to_fetch, self._options.timeout
        self._fetcher = Fetcher(self._akool, fetches, self._output, self._writer, timeout)
        self._feed = Feed(self._index)
        if self._options.gallery is not None:
            make_contents = partial(contents_of, self._plan, self._output, self._tally)
            opens = self._options.open_page and not self._options.quiet
            self._gallery = LiveGallery(self._options.gallery, self._akool, make_contents, self._progress, opens=opens)

    async def carry_out(self) -> None:
        """Press, fetch and save. After an interruption or a failed write, end early with all ids recorded."""
        plan = self._plan
        self._early_end.watch()
        total = len(plan.to_press) + len(plan.to_fetch) + len(plan.recorded)
        self._progress.begin(total, self._tally.charges, running=len(plan.to_fetch))
        try:
            self._writer.begin(plan)
            if self._gallery is not None:
                self._gallery.start()
            await self._press_and_fetch()
            if self._gallery is not None:
                await self._gallery.show()
            await self._read_balance()
        except ExceptionGroup as errors:
            self._early_end.note(errors.exceptions[0])
        except (OSError, ValueError) as error:
            self._early_end.note(error)
        except asyncio.CancelledError:
            if self._early_end.interrupt():
                print_message(
                    "stopping: no new presses are made; waiting for outstanding replies (Ctrl-C again does not wait)"
                )
        finally:
            await self._end()

    def summary(self) -> Summary:
        """Return the summary of the run."""
        return Summary(
            options=self._options,
            plan=self._plan,
            output=self._output,
            tally=self._tally,
            early_end=self._early_end,
            balance=self._balance,
            counters=self._counters,
        )

    async def _press_and_fetch(self) -> None:
        self._feed.add(self._plan.to_press)
        self._feed.begin_fetches(len(self._plan.to_fetch))
        self._feed.close_if_over()
        async with asyncio.TaskGroup() as group:
            for fetch in self._plan.to_fetch:
                group.create_task(self._fetch(group, fetch))
            async with aclosing(self._outcomes()) as outcomes:
                async for outcome in outcomes:
                    self._handle(group, outcome)

    def _handle(self, group: asyncio.TaskGroup, outcome: Outcome) -> None:
        node = self._index.of_outcome(outcome)
        self._progress.grow(len(node.then))
        if self._store is not None and self._is_written(node):
            self._progress.grow(-1)
            return
        self._writer.keep(node, outcome)
        group.create_task(self._saver.save(node, outcome))

    def _is_written(self, node: Node) -> bool:
        """Return whether an earlier run wrote the final line of a node of a recorded tree."""
        line = self._output.lines.get(node.id)
        return line is not None and line.is_over and (line.has_files or not line.ok or self._options.download is None)

    def _outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of all items, made in this process or by workers of the store."""
        if self._store is not None:
            return self._outcomes_of_store(self._store)
        timeout = self._options.timeout
        return self._akool.fan_out(self._feed.items(), preflight=False, max_credits=self._budget, timeout=timeout)

    async def _outcomes_of_store(self, store: DurableFanOut) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of the planned items, then of presses on images that earlier runs made without a store."""
        left = None if self._budget is None else max(self._budget - self._plan.credits_committed, 0.0)
        recorded = [task.item for task in self._plan.recorded]
        for task in self._plan.recorded:
            self._index.add(task.item, task.node)
        new = self._feed.take_available()
        while new or recorded:
            async with aclosing(carry_out(store, new, recorded, left)) as outcomes:
                async for outcome in outcomes:
                    yield outcome
            new, recorded = [item async for item in self._feed.items()], []

    async def _fetch(self, group: asyncio.TaskGroup, fetch: Fetch) -> None:
        """Wait for an operation of an earlier run, then press the missing buttons of its result."""
        outcome = await self._fetcher.fetch(fetch)
        self._index.note_made(fetch.operation_id, fetch.node)
        if outcome.error is not None:
            self._writer.write_left_out(lines_below(fetch.node, outcome, fetch.branches, self._output))
        elif fetch.later and outcome.result is not None:
            self._press_on_result(group, fetch, outcome)
        self._feed.end_fetch()
        if outcome.operation is not None:
            await self._saver.save(fetch.node, outcome)

    def _press_on_result(self, group: asyncio.TaskGroup, fetch: Fetch, outcome: Outcome) -> None:
        """Press the missing buttons of an image that was fetched."""
        source = outcome.unwrap()
        steps = Steps()
        sorter = Sorter(steps, self._output, self._options.rules)
        for child in fetch.later:
            sorter.sort(child, child.press(source.id))
        sorter.sort_by_sources({source.id: source}, self._tally.prices)
        self._plan.sources[source.id] = source
        self._plan.add(steps)
        self._writer.begin(steps)
        self._progress.grow(len(steps.to_press) + len(steps.to_fetch))
        self._feed.begin_fetches(len(steps.to_fetch))
        self._feed.add(steps.to_press)
        for further in steps.to_fetch:
            group.create_task(self._fetch(group, further))

    async def _read_balance(self) -> None:
        with suppress(AkoolError):  # the work is done, and the balance is only shown
            self._balance = await self._akool.get_credit()
            # Another session makes the presses of a store, so these counters do not have them.
            self._counters = self._akool.counters() if self._store is None else None

    async def _end(self) -> None:
        """Close the session, which waits for outstanding replies, and write the missing lines."""
        self._early_end.unwatch()
        signals.end_undisturbed()
        try:
            self._progress.pause()
            await self._akool.aclose()
        finally:  # also after a second Ctrl-C
            self._writer.write_rest(
                self._akool,
                self._early_end,
                is_recorded=self._options.is_recorded,
                unsaved=None if self._options.download is None else DownloadError(UNSAVED),
            )
            if self._gallery is not None:
                await self._gallery.stop()
