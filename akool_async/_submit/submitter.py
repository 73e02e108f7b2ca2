"""The paid POSTs of a session. (image id, button) identifies a press, so its callers share one submission."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from akool_async._submit.button_submission import ButtonSubmission
from akool_async._submit.prompt_submission import PromptSubmission
from akool_async.errors import SessionClosedError
from akool_async.items import press_of
from akool_async.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from akool_async._http.event_loop import HomeLoop
    from akool_async._poll.poller import Poller
    from akool_async._submit.submission import SubmissionServices
    from akool_async.items import ButtonPress, Item, Prompt, SourcePrompt


class Submitter:
    """Makes the submissions of a session, and presses each button once."""

    def __init__(self, services: SubmissionServices, poller: Poller, home: HomeLoop) -> None:
        self._services = services
        self._poller = poller
        self._home = home
        self._presses: dict[ButtonPress, ButtonSubmission] = {}
        self._prompts: set[PromptSubmission] = set()
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """Presses and prompts that AKOOL cannot have accepted yet."""
        return sum(not submission.may_be_accepted for submission in self._submissions())

    def has_sent(self, press: ButtonPress) -> bool:
        """Return True if its POST is under way, or its outcome is remembered."""
        submission = self._presses.get(press)
        return self._remembers(press) or (submission is not None and submission.may_be_accepted)

    def knows(self, press: ButtonPress) -> bool:
        """Return True if the same press again sends nothing: it is under way, or its outcome is remembered."""
        return press in self._presses or self._remembers(press)

    def recall(self, item: Item) -> Operation | None:
        """Return the operation of an item that AKOOL accepted before; None if there is none.

        Raises:
            OutcomeUnknownError: The press was charged, and its new id is lost.
        """
        self._require_open()
        operation_id, press = self._services.journal.operation_id(item), press_of(item)
        if operation_id is not None:
            self._services.journal.claim_operation(operation_id)
            button, source_image_id = (None, None) if press is None else (press.button, press.image_id)
            tracked = self._poller.tracked(operation_id, button)
            return Operation(operation_id, button, source_image_id, tracked=tracked, poller=self._poller)
        lost = None if press is None else self._services.journal.lost(press)
        if press is not None and lost is not None:
            self._services.journal.claim_error(press)
            raise lost.fresh()
        return None

    def submit(self, press: ButtonPress, webhook_url: str | None) -> ButtonSubmission:
        """Return the submission of a press, and begin one if none is under way."""
        self._require_open()
        submission = self._presses.get(press)
        if submission is None or submission.is_dropped:
            submission = self._presses[press] = ButtonSubmission(self._services, press, webhook_url)
            submission.task.add_done_callback(partial(self._forget, submission))
        return submission

    def submit_prompt(self, prompt: Prompt | SourcePrompt, webhook_url: str | None) -> PromptSubmission:
        """Begin the submission of a prompt."""
        self._require_open()
        submission = PromptSubmission(self._services, prompt, webhook_url)
        self._prompts.add(submission)
        submission.task.add_done_callback(partial(self._forget_prompt, submission))
        return submission

    async def aclose(self, seconds: float) -> None:
        """Cancel what was not sent, and wait up to ``seconds`` for the replies to what was sent."""
        self._is_closed = True
        submissions = list(self._submissions())
        for submission in submissions:
            submission.close()
        tasks = [submission.task for submission in submissions]
        try:
            await self._services.recovery.aclose()
            if tasks:
                await asyncio.wait(tasks, timeout=seconds)
        finally:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _submissions(self) -> Iterable[ButtonSubmission | PromptSubmission]:
        yield from self._presses.values()
        yield from self._prompts

    def _remembers(self, press: ButtonPress) -> bool:
        journal = self._services.journal
        return journal.operation_id(press) is not None or journal.lost(press) is not None

    def _forget(self, submission: ButtonSubmission, _: asyncio.Task[Operation]) -> None:
        press = submission.press
        if press is not None and self._presses.get(press) is submission:
            del self._presses[press]

    def _forget_prompt(self, submission: PromptSubmission, _: asyncio.Task[list[Operation]]) -> None:
        self._prompts.discard(submission)

    def _require_open(self) -> None:
        self._home.require()
        if self._is_closed:
            raise SessionClosedError
