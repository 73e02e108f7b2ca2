"""One run over a plan of `akool fan-out`: every press ends in a line, whatever ends the run."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from attrs import define, field

from akool_async import AkoolError, DownloadError
from akool_async.cli import signals
from akool_async.cli.batch.fetching import Fetcher, PictureSaver
from akool_async.cli.batch.stored import carry_out
from akool_async.cli.batch.summary import Summary
from akool_async.cli.batch.writer import LineWriter
from akool_async.cli.gallery.page import write_gallery
from akool_async.cli.gallery.sections import Contents
from akool_async.cli.outcomes.describe import UNSAVED
from akool_async.cli.output.stderr import print_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from akool_async import AkoolSession, ButtonPress, Counters, Outcome
    from akool_async.cli.batch.fan_out_options import FanOutOptions
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Plan
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.tally import EarlyEnd, Tally
    from akool_async.durable import DurableFanOut


@define(eq=False, kw_only=True)
class BatchRun:
    """One run over a plan."""

    _options: FanOutOptions
    _plan: Plan
    _output: OutputFile
    _progress: BatchProgress
    _tally: Tally
    _early_end: EarlyEnd
    _akool: AkoolSession
    _store: DurableFanOut | None
    _writer: LineWriter = field(init=False)
    _balance: float | None = field(default=None, init=False)
    _counters: Counters | None = field(default=None, init=False)

    @_writer.default
    def _make_writer(self) -> LineWriter:
        return LineWriter(self._plan, self._output, self._progress, self._tally)

    async def carry_out(self, budget: float | None) -> None:
        """Press, fetch and save; ends early, with every id on record, if it is interrupted or cannot write."""
        plan = self._plan
        self._early_end.watch()
        total = len(plan.to_press) + len(plan.to_fetch) + len(plan.recorded)
        self._progress.begin(total, self._tally.charges, running=len(plan.to_fetch))
        try:
            self._writer.write_not_pressed()
            await self._press_and_fetch(budget)
            if self._options.gallery is not None:
                await self._write_gallery(self._options.gallery)
            await self._read_balance()
        except ExceptionGroup as errors:
            self._early_end.note(errors.exceptions[0])
        except (OSError, ValueError) as error:
            self._early_end.note(error)
        except asyncio.CancelledError:
            if self._early_end.interrupt():
                print_message(
                    "stopping: no new presses are made; waiting for replies under way (Ctrl-C again does not wait)"
                )
        finally:
            await self._end()

    def summary(self) -> Summary:
        """What came of the run."""
        return Summary(
            options=self._options,
            plan=self._plan,
            output=self._output,
            tally=self._tally,
            early_end=self._early_end,
            balance=self._balance,
            counters=self._counters,
        )

    async def _press_and_fetch(self, budget: float | None) -> None:
        saver = PictureSaver(self._akool, self._writer, self._options.download)
        fetcher = Fetcher(self._akool, self._plan, self._output, self._writer, saver, self._options.timeout)
        async with asyncio.TaskGroup() as group:
            for press, operation_id in self._plan.to_fetch.items():
                group.create_task(fetcher.fetch(press, operation_id))
            fitting, others = self._plan.within(budget)
            self._writer.write_out_of_budget([entry.press for entry in others], budget or 0.0)
            async with aclosing(self._outcomes([entry.press for entry in fitting], budget)) as outcomes:
                async for outcome in outcomes:
                    self._writer.keep(outcome)
                    group.create_task(saver.save(outcome))

    def _outcomes(self, presses: list[ButtonPress], budget: float | None) -> AsyncGenerator[Outcome, None]:
        """The outcomes of presses that are made in this process, or carried out in the store."""
        if self._store is not None:
            left = None if budget is None else max(budget - self._plan.credits_waiting, 0.0)
            return carry_out(self._store, presses, [entry.press for entry in self._plan.recorded], left)
        return self._akool.fan_out(presses, preflight=False, max_credits=budget, timeout=self._options.timeout)

    async def _write_gallery(self, page: Path) -> None:
        """Write a page that shows every image of the batch."""
        batch, lines = self._plan.batch, self._output.lines
        contents = Contents(
            title=batch.name,
            image_ids=list(dict.fromkeys(entry.press.image_id for entry in batch.entries)),
            sources=self._plan.sources,
            lines={entry.press: lines[entry.press] for entry in batch.entries if entry.press in lines},
            seconds=self._tally.seconds,
        )
        self._progress.show_drawn(0, contents.pictures)
        await write_gallery(page, self._akool, contents, self._progress)

    async def _read_balance(self) -> None:
        with suppress(AkoolError):  # all is done; it is only shown
            self._balance = await self._akool.get_credit()
            # The presses of a store are made in another session, whose account this is not.
            self._counters = self._akool.counters() if self._store is None else None

    async def _end(self) -> None:
        """Close the session, which waits for replies under way, and write what has no line yet."""
        self._early_end.unwatch()
        signals.end_undisturbed()
        try:
            self._progress.pause()
            await self._akool.aclose()
        finally:  # a second Ctrl-C included
            self._writer.write_rest(
                self._akool,
                self._early_end,
                is_recorded=self._options.is_recorded,
                unsaved=None if self._options.download is None else DownloadError(UNSAVED),
            )
