"""The fan-out pulls presses and prompts lazily and yields an :class:`Outcome` for each."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from akool_async import _validate
from akool_async._fan_out.items import check_items, pull, read_item
from akool_async._fan_out.lanes import Lanes
from akool_async._fan_out.preflight import Preflight
from akool_async._fan_out.tree import children, copy_about, outcome_of, outcomes_below, roots
from akool_async._http.retry import is_account_error
from akool_async._limits.budget import Purchase
from akool_async._limits.journal import Made
from akool_async.errors import AkoolError, BudgetError, OutcomeUnknownError, SessionClosedError
from akool_async.events import Refused
from akool_async.items import Button, ButtonPress, count_upscales, press_of, prompt_of
from akool_async.operations import failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from akool_async._fan_out.items import Items
    from akool_async._fan_out.tree import Node
    from akool_async._http.endpoints import Endpoints
    from akool_async._http.event_loop import HomeLoop
    from akool_async._limits.journal import Journal
    from akool_async._limits.slots import Slots
    from akool_async._submit.submitter import Submitter
    from akool_async.events import Reporter
    from akool_async.items import Branch, Item, Prompt, SourcePrompt
    from akool_async.models import ImageResult
    from akool_async.operations import Operation, Outcome


@frozen
class FanOutServices:
    """The parts of a session that its fan-outs share."""

    submitter: Submitter
    endpoints: Endpoints
    journal: Journal
    reporter: Reporter
    home: HomeLoop
    slots: Slots
    webhook_url: str | None


@frozen(kw_only=True)
class Options:
    """The options of one fan-out; see ``AkoolSession.fan_out``."""

    max_in_flight: int
    preflight: bool
    max_credits: float | None
    timeout: float | None

    def __attrs_post_init__(self) -> None:
        _validate.count("max_in_flight", self.max_in_flight)
        _validate.flag("preflight", self.preflight)
        if self.max_credits is not None:
            _validate.amount("max_credits", self.max_credits)
        _validate.optional_seconds("timeout", self.timeout)


class FanOut:
    """One run over an input. Iterate ``outcomes()`` once."""

    def __init__(self, items: Items, options: Options, services: FanOutServices) -> None:
        check_items(items)
        self._items = items
        self._options = options
        self._services = services
        self._preflight = Preflight(services.endpoints) if options.preflight else None
        self._budget = services.journal.open_budget(options.max_credits)
        self._max_in_flight = options.max_in_flight
        operations = services.slots.operations
        operation_cap = None if operations is None else operations.limit
        self._lanes = Lanes(services.slots.upscales.limit, operation_cap, options.max_in_flight)
        self._begun: set[Node] = set()
        self._pressing: dict[ButtonPress, asyncio.Event] = {}
        self._done: deque[tuple[Outcome, tuple[Branch, ...]]] = deque()
        """Outcomes that the caller has not taken, each with the presses that it makes impossible."""
        self._not_made: Iterator[Outcome] = iter(())
        """Outcomes of presses without a source image. They may be many, so each is made when it is taken."""
        self._news = asyncio.Event()  # set if there is an outcome, or the fan-out is over
        self._wanted = asyncio.Event()  # set while more items are wanted
        self._stopped_by: AkoolError | None = None
        self._input_ended = False
        self._input_error: Exception | None = None
        self._pulling: asyncio.Task[None] | None = None
        self._is_left = False

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield the outcome of each node when it ends."""
        self._services.home.require()
        if self._is_left:
            raise SessionClosedError
        self._pulling = asyncio.create_task(self._pull())
        try:
            while (outcome := self._take_outcome()) is not None or not self._is_over():
                if outcome is not None:
                    self._advance()
                    yield outcome
                else:
                    self._news.clear()
                    await self._news.wait()
        finally:
            was_left = self._is_left
            await self.aclose()
        if was_left:
            raise SessionClosedError("the session was closed before the fan-out had ended")
        if self._input_error is not None:
            raise self._input_error

    # --- the input ---

    async def _pull(self) -> None:
        """Pull items while they are wanted."""
        try:
            position = 0
            self._advance()
            await self._wanted.wait()
            async with aclosing(pull(self._items)) as items:
                async for item in items:
                    self._add(read_item(f"items[{position}]", item))
                    position += 1
                    self._advance()
                    if self._is_left:
                        break
                    await self._wanted.wait()
        except asyncio.CancelledError:
            if self._is_left:
                raise
            self._input_error = RuntimeError("items raised a CancelledError before their end")
        except Exception as error:  # noqa: BLE001 - the input's own error; raised after all outcomes were yielded
            self._input_error = error
        finally:
            self._input_ended = True
            self._news.set()

    def _add(self, item: Item) -> None:
        for node in roots(item):
            try:
                if isinstance(item, ButtonPress):
                    Button.parse(item.button)
            except ValueError as error:  # AKOOL lists a button that this version does not know
                self._report_refused(node, error)
                self._done.append((outcome_of(node, error), ()))
            else:
                self._lanes.add(node)

    # --- running the nodes ---

    def _advance(self) -> None:
        """Begin all nodes that may begin, and set whether more input is wanted."""
        if self._stopped_by is not None:
            for node in self._lanes.clear():
                self._refuse(node, _because_of(self._stopped_by, node))
        while self._has_room and (taken := self._lanes.take(len(self._begun))) is not None:
            self._begin(taken)
        if self._has_room and self._lanes.want_items(self._max_in_flight):
            self._wanted.set()
        else:
            self._wanted.clear()
        self._news.set()

    @property
    def _has_room(self) -> bool:
        return len(self._begun) + len(self._done) < self._max_in_flight

    def _is_over(self) -> bool:
        return self._input_ended and self._lanes.is_empty and not (self._begun or self._done)

    def _begin(self, node: Node) -> None:
        self._begun.add(node)
        node.task = asyncio.create_task(self._carry_out(node))
        node.task.add_done_callback(partial(self._end, node))

    def _end(self, node: Node, task: asyncio.Task[None]) -> None:
        self._begun.discard(node)
        if not node.has_left_lane:
            self._lanes.leave(node)
        if task.cancelled():
            self._end_cancelled(node)
        else:
            task.result()
        self._advance()

    def _end_cancelled(self, node: Node) -> None:
        if self._is_left:
            self._keep(outcome_of(node, None))
        elif self._stopped_by is not None:  # pragma: no branch - otherwise the event loop ends
            error = _because_of(self._stopped_by, node)
            if node.is_submitted:
                self._finish(node, outcome_of(node, error))
            else:
                self._refuse(node, error)

    async def _carry_out(self, node: Node) -> None:
        result: ImageResult | None = None
        error: Exception | None = None
        try:
            await self._check(node)
            async with Purchase(self._budget, node.item) as purchase:
                operation = await self._submit(node, purchase)
                result = await operation.wait_until_complete(timeout=self._options.timeout, raise_on_failure=False)
                await purchase.end(result.deduction_credit)
            error = failure_of(result)
        except Exception as caught:  # noqa: BLE001 - any error belongs to this node and must not touch the others
            error = caught
        self._finish(node, outcome_of(node, error, result))

    async def _submit(self, node: Node, purchase: Purchase) -> Operation:
        """Press a button or send a prompt, within the budget."""
        if isinstance(node.item, ButtonPress):
            operation = await self._press(node, node.item, purchase)
        else:
            operation = await self._send_prompt(node, node.item, purchase)
        await purchase.accept(None if operation.latest is None else operation.latest.deduction_credit)
        return operation

    async def _press(self, node: Node, press: ButtonPress, purchase: Purchase) -> Operation:
        """Press a button. If the input has the same press twice, the second one waits for the first."""
        while (first := self._pressing.get(press)) is not None:
            await first.wait()
        pressed = self._pressing[press] = asyncio.Event()
        submitter, webhook_url = self._services.submitter, self._services.webhook_url
        try:
            if not submitter.has_sent(press):  # otherwise the caller that sent it pays for it
                await self._reserve(node, purchase)
            node.is_submitted = True
            # Set before anything else is awaited, since this run must now keep the operation.
            node.operation = submitter.recall(press) or await submitter.submit(press, webhook_url).join()
        finally:
            del self._pressing[press]
            pressed.set()
        return node.operation

    async def _send_prompt(self, node: Node, prompt: Prompt | SourcePrompt, purchase: Purchase) -> Operation:
        node.operation = self._services.submitter.recall(prompt)
        if node.operation is None:
            await self._reserve(node, purchase)
            node.is_submitted = True
            node.submission = self._services.submitter.submit_prompt(prompt, self._services.webhook_url)
            node.operation, *others = await node.submission.join()
            # AKOOL may make more images than requested.
            self._services.journal.keep_unclaimed(Made(other.id, None) for other in others)
        self._lanes.leave(node)
        node.has_left_lane = True
        self._advance()
        return node.operation

    async def _reserve(self, node: Node, purchase: Purchase) -> None:
        try:
            await purchase.reserve()
        except BudgetError as error:
            self._report_refused(node, error)
            raise

    async def _check(self, node: Node) -> None:
        """Raise if the press cannot be made, before it queues."""
        item = node.item
        if isinstance(item, ButtonPress) and self._services.submitter.knows(item):
            return
        try:
            self._budget.refuse_if_spent(item)
            if self._preflight is not None and isinstance(item, ButtonPress):
                await self._preflight.check(item, known=None if node.parent is None else node.parent.result)
        except Exception as error:
            self._report_refused(node, error)
            raise

    # --- outcomes ---

    def _finish(self, node: Node, outcome: Outcome) -> None:
        """Record the outcome of a node, and add the presses on its result."""
        error = outcome.error
        if self._is_left:
            self._keep(outcome)
            return
        if isinstance(error, AkoolError) and is_account_error(error):
            self._stop(error)
        self._done.append((outcome, () if error is None else node.then))
        upscales = int(outcome.button is not None and outcome.button.is_upscale)
        if error is None:
            for child in children(outcome, node.then):
                self._lanes.add(child)
        else:
            upscales += count_upscales(node.then)
        self._lanes.count_ended(upscales)
        self._news.set()

    def _refuse(self, node: Node, error: Exception) -> None:
        """Record the outcome of a node that the submitter never saw."""
        self._report_refused(node, error)
        self._finish(node, outcome_of(node, error))

    def _report_refused(self, node: Node, error: Exception) -> None:
        self._services.reporter.report(Refused(press=press_of(node.item), prompt=prompt_of(node.item), error=error))

    def _take_outcome(self) -> Outcome | None:
        """Return the next outcome; None if there is none yet."""
        not_made = next(self._not_made, None)
        if not_made is not None:
            self._services.reporter.report(Refused(press=not_made.press, error=not_made.error))
            return not_made
        if not self._done:
            return None
        outcome, then = self._done.popleft()
        self._not_made = outcomes_below(outcome, then)
        return outcome

    def _stop(self, error: AkoolError) -> None:
        """Send nothing more: all that was not sent ends with this error."""
        if self._stopped_by is None:
            self._stopped_by = error
            for node in self._begun:
                if node.task is not None and node.task is not asyncio.current_task() and self._is_unsent(node):
                    node.task.cancel()

    def _is_unsent(self, node: Node) -> bool:
        submitter = self._services.submitter
        if node.operation is not None:
            return False
        if isinstance(node.item, ButtonPress):
            # If the submitter no longer knows the press, it has failed; the node will see that error shortly.
            has_ended = node.is_submitted and not submitter.knows(node.item)
            return not has_ended and not submitter.has_sent(node.item)
        return node.submission is None or node.submission.is_unsent

    async def aclose(self) -> None:
        """Stop: send nothing more, and keep accepted operations that were not yielded."""
        if self._is_left:
            return
        # Outcomes are kept before the first await, since a second cancellation may end this method early. The rest is
        # kept when each node ends.
        self._is_left = self._input_ended = True
        self._max_in_flight = 0
        deque(self._lanes.clear(), maxlen=0)
        self._not_made = iter(())
        while self._done:
            self._keep(self._done.popleft()[0])
        begun = [self._pulling, *(node.task for node in self._begun)]
        # The current task may be the pulling one: the input itself may close the session.
        tasks = [task for task in begun if task is not None and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if self._preflight is not None:
            self._preflight.close()
        self._news.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, outcome: Outcome) -> None:
        """Keep an outcome that cannot be yielded, if it was or may have been paid for."""
        if outcome.operation is not None:
            self._services.journal.keep_unclaimed([Made(outcome.operation.id, outcome.press)])
        elif isinstance(outcome.error, OutcomeUnknownError):
            self._services.journal.keep_unclaimed_error(outcome.error)


def _because_of(reason: AkoolError, node: Node) -> AkoolError:
    error = copy_about(reason, node.item)
    error.args = (f"not sent, since an earlier press or prompt failed: {reason.args[0]}",)
    return error
