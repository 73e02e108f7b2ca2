"""One run over a plan of `akool fan-out`: every press ends in a line, whatever ends the run."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, nullcontext, suppress
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from akool_async import AkoolError, DownloadError, ImageStatus, OperationFailedError, Outcome, events
from akool_async.cli import signals
from akool_async.cli.account import open_state
from akool_async.cli.commands.recorded import carry_out
from akool_async.cli.exit_status import ExitStatus, gravest, status_of
from akool_async.cli.gallery.page import Contents, write_gallery
from akool_async.cli.messages import account_trouble, amount, explain, tell
from akool_async.cli.outcomes.charges import (
    Charges,
    add_what_was_known,
    count_presses,
    explain_account,
    explain_lost,
    reason_against,
)
from akool_async.cli.outcomes.line import UNSAVED, Line, PressState, describe, describe_running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from akool_async import AkoolSession, ButtonPress, Counters, ImageResult
    from akool_async.cli.batch.input_file import Batch
    from akool_async.cli.batch.options import Options
    from akool_async.cli.batch.output_file import Results
    from akool_async.cli.batch.plan import Plan
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.durable import DurableFanOut

SAVED_AT_ONCE: Final = 16


@define(eq=False)
class BatchRun:
    """One run over a plan: every press ends in a line, whatever ends the run."""

    _options: Options
    _results: Results
    _progress: BatchProgress
    _ended: dict[ButtonPress, Outcome] = field(factory=dict, init=False)
    """Outcomes whose line is not written yet."""
    _seconds: dict[str, float] = field(factory=dict, init=False)
    _statuses: set[ExitStatus] = field(factory=set, init=False)
    _account_troubles: dict[str, None] = field(factory=dict, init=False)
    _charges: Charges = field(factory=Charges, init=False)
    _prices: dict[str, float] = field(factory=dict, init=False)
    """Credits for a press of a kind, as last charged."""
    _recorded: set[ButtonPress] = field(factory=set, init=False)
    """Presses that a state held before this run."""
    _fetched: dict[ButtonPress, str] = field(factory=dict, init=False)
    """Presses of earlier runs, and their ids."""
    _by_hand: set[ButtonPress] = field(factory=set, init=False)
    """Those of them whose id was lost, and was found and written down by somebody."""
    _replies_lost: set[ButtonPress] = field(factory=set, init=False)
    """Presses of this run that a state may yet learn the id of."""
    _balance: float | None = field(default=None, init=False)
    _counters: Counters | None = field(default=None, init=False)
    """The session's account, if the balance was read before and after."""
    _trouble: Exception | None = field(default=None, init=False)
    _was_interrupted: bool = field(default=False, init=False)
    _task: asyncio.Task[object] | None = field(default=None, init=False)
    _saving: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(SAVED_AT_ONCE), init=False)

    def observe(self, event: events.Event) -> None:
        """Keep what a kill must not lose, and what the progress shows."""
        match event:
            case events.Accepted(press=press, operation_id=operation_id) if press is not None:
                self._count(event)
                try:
                    self._results.note_accepted(press, operation_id)
                except OSError as error:
                    self._stop(error)
            case events.Finished():
                self._seconds[event.operation_id] = event.seconds

    def open_state(self) -> AbstractAsyncContextManager[DurableFanOut | None]:
        """Where presses are recorded, if anywhere."""
        if self._options.store is None:
            return nullcontext()
        loop = asyncio.get_running_loop()

        def observe(event: events.Event) -> None:  # in the worker's thread
            if isinstance(event, events.Accepted):
                loop.call_soon_threadsafe(self._count, event)
            elif isinstance(event, events.OutcomeUnknown) and event.press is not None:
                loop.call_soon_threadsafe(self._replies_lost.add, event.press)

        return open_state(
            self._options.key_file,
            self._options.store,
            account=self._options.account,
            observer=observe,
            **self._options.limits,
        )

    def _count(self, pressed: events.Accepted) -> None:
        self._charges.add(pressed.operation_id, pressed.credits)
        if pressed.press is not None and (pressed.credits or 0) > 0:
            self._prices[pressed.press.button.kind] = pressed.credits or 0
        self._progress.pressed()

    async def carry_out(
        self, akool: AkoolSession, plan: Plan, budget: float | None, jobs: DurableFanOut | None
    ) -> None:
        """Press, fetch and save; ends early, with every id on record, where it is interrupted or cannot write."""
        self._task = asyncio.current_task()
        self._prices = {kind: price.credits for kind, price in plan.prices.items()}
        self._fetched = plan.to_fetch
        self._by_hand = {
            press
            for press in plan.to_fetch
            if (earlier := self._results.lines.get(press)) is not None and not earlier.is_settled
        }
        self._recorded = {entry.press for entry in plan.recorded}
        total = len(plan.to_press) + len(plan.to_fetch) + len(plan.recorded)
        self._progress.begin(total, self._charges, running=len(plan.to_fetch))
        try:
            self._write_not_pressed(plan)
            async with asyncio.TaskGroup() as group:
                for press, operation_id in plan.to_fetch.items():
                    group.create_task(self._fetch(akool, press, operation_id))
                fitting, others = plan.within(budget)
                for entry in others:
                    self._ended[entry.press] = Outcome(entry.press, error=_out_of_budget(budget or 0.0))
                    await self._save(akool, self._ended[entry.press])
                if jobs is None:
                    outcomes = akool.fan_out(
                        (entry.press for entry in fitting),
                        preflight=False,
                        max_credits=budget,
                        timeout=self._options.timeout,
                    )
                else:
                    outcomes = carry_out(jobs, [entry.press for entry in (*fitting, *plan.recorded)])
                await self._take_all(akool, outcomes, group)
            if self._options.gallery is not None:
                await self._show(akool, plan.batch, plan.sources, self._options.gallery)
            with suppress(AkoolError):  # all is done; it is only told
                self._balance = await akool.get_credit()
                self._counters = akool.counters() if jobs is None else None  # a state's presses are another session's
        except ExceptionGroup as errors:
            self._trouble = self._trouble or errors.exceptions[0]
        except (OSError, ValueError) as error:
            self._trouble = error
        except asyncio.CancelledError:
            self._was_interrupted = self._trouble is None
            if self._was_interrupted:
                tell("stopping: no new presses; replies under way come first (Ctrl-C again does not wait)")
        finally:
            self._task = None  # from here on nothing is to be stopped any more
            signals.end_undisturbed()
            try:
                self._progress.pause()
                await akool.aclose()
            finally:  # a second Ctrl-C included
                self._write_rest(akool)

    async def _show(self, akool: AkoolSession, batch: Batch, sources: Mapping[str, ImageResult], gallery: Path) -> None:
        lines = {entry.press: self._results.lines.get(entry.press) for entry in batch.entries}
        contents = Contents(
            title=batch.name,
            image_ids=list(dict.fromkeys(entry.press.image_id for entry in batch.entries)),
            sources=sources,
            lines={press: line for press, line in lines.items() if line is not None},
            seconds=self._seconds,
        )
        total = contents.pictures
        self._progress.draw(0, total)
        await write_gallery(gallery, akool, contents, lambda drawn: self._progress.draw(drawn, total))

    def _stop(self, trouble: Exception) -> None:
        self._trouble = self._trouble or trouble
        self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _take_all(
        self, akool: AkoolSession, outcomes: AsyncGenerator[Outcome, None], group: asyncio.TaskGroup
    ) -> None:
        async with aclosing(outcomes):
            async for outcome in outcomes:
                self._ended[outcome.press] = outcome
                group.create_task(self._save(akool, outcome))

    async def _fetch(self, akool: AkoolSession, press: ButtonPress, operation_id: str) -> None:
        """What an earlier run has pressed, by AKOOL's id or by one that somebody found and wrote down."""
        if press in self._by_hand and (other := self._other_press_of(operation_id, press)) is not None:
            self._refuse_id(press, f"the id {operation_id} is given for {other.button} of {other.image_id} as well")
            return
        operation = akool.operation(operation_id)
        try:
            result = await operation.wait_until_complete(timeout=self._options.timeout, raise_on_failure=False)
            error = OperationFailedError(result) if result.status == ImageStatus.FAILED else None
            outcome = Outcome(press, operation, result, error)
        except AkoolError as caught:
            outcome = Outcome(press, operation, error=caught)
        seen = outcome.result or operation.latest
        if seen is not None and (why := reason_against(seen, press, by_hand=press in self._by_hand)) is not None:
            self._refuse_id(press, why)
            return
        self._ended[press] = outcome
        await self._save(akool, outcome)

    def _other_press_of(self, operation_id: str, press: ButtonPress) -> ButtonPress | None:
        known = {line.press: line.id for line in self._results.lines.values()} | self._fetched
        return next((other for other, known_id in known.items() if known_id == operation_id and other != press), None)

    def _refuse_id(self, press: ButtonPress, why: str) -> None:
        """The press stays as it was, charged or perhaps so: an id of something else settles nothing."""
        earlier = self._results.lines.get(press)
        if earlier is None or earlier.is_settled:
            earlier = Line(image_id=press.image_id, button=str(press.button), charged=None)
        self._write(evolve(earlier, error=why), None)

    async def _save(self, akool: AkoolSession, outcome: Outcome) -> None:
        files, trouble = [], None
        if self._options.download is not None and outcome.result is not None and outcome.ok:
            try:
                async with self._saving:
                    files = await akool.download(outcome.result, self._options.download)
            except AkoolError as error:
                trouble = error
        self._write(describe(outcome, files=files, trouble=trouble), outcome.error or trouble)

    def _write(self, line: Line, error: Exception | None) -> None:
        line = self._complete(line)
        if error is not None:
            self._statuses.add(status_of(error))
            self._account_troubles |= dict.fromkeys(account_trouble([error]))
        if not line.is_settled:
            self._statuses.add(ExitStatus.OUTCOME_UNKNOWN)
        self._results.write(line)
        self._ended.pop(line.press, None)
        self._progress.ended(line)

    def _complete(self, line: Line) -> Line:
        """A new line with what else is known, counted."""
        is_charged_now = self._is_charged_to_this_run(line)
        earlier = self._results.lines.get(line.press)
        if earlier is None or earlier.is_settled or line.press not in self._recorded:  # a state knows what settled it
            line = add_what_was_known(line, earlier)
        kind = line.press.button.kind
        if line.state is PressState.LOST and line.credits is None:
            line = evolve(line, credits=self._prices[kind])
        elif line.id in self._charges and line.credits is not None and line.credits > 0:
            self._prices[kind] = line.credits
        if is_charged_now:
            self._charges.add_line(line)
        return line

    def _is_charged_to_this_run(self, line: Line) -> bool:
        """Whether a line, as it is before earlier ones complete it, tells of a press that this run was charged for.

        If not, another run or another worker was, or nobody.
        """
        if line.id in self._charges or line.press in self._replies_lost:
            return True
        is_earlier = line.press in self._recorded or line.press in self._fetched
        return line.id is None and line.state is not PressState.NOT_PRESSED and not is_earlier

    def _write_not_pressed(self, plan: Plan) -> None:
        """A line for each press that this run does not make, unless an earlier run has written the very same."""
        refused = [
            Line(image_id=one.entry.press.image_id, button=one.entry.press.button, error=one.reason, code=one.code)
            for one in plan.refused
        ]
        for line in (*refused, *plan.lost):
            if self._results.lines.get(line.press) != line:
                self._results.write(line)

    def _write_rest(self, akool: AkoolSession) -> None:
        """The lines of all that has none: what ended just now, what runs on, and what is not known."""
        no_files = DownloadError(UNSAVED) if self._options.download else None
        rest = [describe(outcome, trouble=no_files) for outcome in self._ended.values()]
        is_recorded = self._options.output is not None or self._options.store is not None
        rest += [
            describe_running(press, akool.operation(operation_id), is_recorded=is_recorded)
            for press, operation_id in self._results.accepted.items()
            if press not in self._ended
            and press not in self._by_hand  # which the next run is to hold against the press
        ]
        rest += [
            describe(Outcome(error.press, error=error)) for error in akool.unclaimed_errors if error.press is not None
        ]
        rest = [self._complete(line) for line in rest]
        for place, line in enumerate(rest):
            try:
                self._results.write(line)
            except OSError as error:
                self._trouble = self._trouble or error
                tell("these lines could not be written:")
                for lost in rest[place:]:
                    tell(lost.to_json())
                return

    def tell_end(self, plan: Plan) -> None:
        """What came of it, for people; and what went wrong, however quiet."""
        lines = [line for entry in plan.batch.entries if (line := self._results.lines.get(entry.press))]
        done = sum(line.ok for line in lines)
        if self._trouble is not None:
            tell(f"akool: {explain(self._trouble)}")
        for text in self._account_troubles:
            tell(text)
        if not self._options.quiet:
            told = f"{done:,} of {len(plan.batch.entries):,} presses done, {self._charges} credits charged by this run"
            balance = "" if self._balance is None else f", {amount(self._balance)} left"
            where = f": {self._options.output}" if self._options.output is not None else ""
            invalid = len(plan.batch.invalid)
            dropped = f"; {invalid:,} line{'s' if invalid > 1 else ''} of {plan.batch.name} could not be read"
            lost_now, lost_earlier = self._tell_lost(lines)
            tell(told + lost_now + balance + where + (dropped if invalid else "") + lost_earlier)
            for text in () if self._counters is None else explain_account(self._counters):
                tell(text)
            if (self._was_interrupted or self._trouble is not None) and self._options.store is not None:
                tell(f"what is open stays recorded: run the same again, or akool worker {self._options.store_options}")
        for text in explain_lost(lines, ids=self._results.ids_path, store=self._options.store_options):
            tell(text)

    def _tell_lost(self, lines: Iterable[Line]) -> tuple[str, str]:
        """What was charged for presses whose id is lost: to this run, and to earlier ones."""
        lost = [line for line in lines if line.state is PressState.LOST]
        now = [line for line in lost if line.press in self._charges]
        earlier = [line for line in lost if line.press not in self._charges]
        return (
            f", {_sum(now)} of them for {count_presses(now)} whose id is lost" if now else "",
            f"; earlier runs were charged {_sum(earlier)} credits for {count_presses(earlier)} whose id is lost"
            if earlier
            else "",
        )

    def status(self, plan: Plan) -> ExitStatus:
        """What the shell is told."""
        if self._trouble is not None:
            return ExitStatus.ERROR
        if self._was_interrupted:
            return ExitStatus.INTERRUPTED
        are_missing = bool(plan.failed or plan.refused or plan.batch.invalid)
        earlier = {ExitStatus.SOME_FAILED: are_missing, ExitStatus.OUTCOME_UNKNOWN: bool(plan.lost)}
        return gravest(self._statuses | {status for status, is_so in earlier.items() if is_so})


def _sum(lines: Iterable[Line]) -> str:
    return amount(sum(line.credits or 0 for line in lines))


def _out_of_budget(budget: float) -> AkoolError:
    return AkoolError(f"not pressed: it would pass the {amount(budget)} credits that may be spent")
