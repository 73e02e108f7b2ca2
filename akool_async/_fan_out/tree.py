"""The nodes of a fan-out's trees: an item, and what is pressed on its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve

from akool_async.errors import AkoolError, BudgetError, NotPressedError, OutcomeUnknownError
from akool_async.items import Branch, Button, ButtonPress, SourcePrompt, count_upscales, press_of, prompt_of
from akool_async.operations import Outcome

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from akool_async._submit.prompt_submission import PromptSubmission
    from akool_async.items import Item, Prompt
    from akool_async.models import ImageResult
    from akool_async.operations import Operation


@define(eq=False)
class Node:
    """A prompt or a press, with what is pressed on its result, and how far it is."""

    item: Item
    """What its POST is for."""
    then: tuple[Branch, ...]
    parent: Outcome | None = None
    prompt: Prompt | SourcePrompt | None = None
    """As the caller passed it: of a batch, with all its images."""
    number: int = 1
    """Which image of a batch it is."""
    task: asyncio.Task[None] | None = None
    is_submitted: bool = False
    """True once it is handed to the submitter."""
    submission: PromptSubmission | None = None
    """Of a prompt that is under way."""
    has_left_lane: bool = False
    """True if others of its kind may begin, although it has not ended."""
    operation: Operation | None = None

    @property
    def upscales(self) -> int:
        """How many upscales the tree from here on asks for."""
        itself = isinstance(self.item, ButtonPress) and self.item.button.is_upscale
        return itself + count_upscales(self.then)


def roots(item: Item) -> Iterator[Node]:
    """The nodes of an item that the caller passed.

    Each image of a batch has a POST of its own: a lost reply loses one image, and it costs no more.
    """
    if isinstance(item, SourcePrompt):
        single = evolve(item, batch_quantity=1)
        for number in range(1, item.batch_quantity + 1):
            yield Node(single, item.then, prompt=item, number=number)
    else:
        yield Node(item, item.then, prompt=prompt_of(item))


def children(parent: Outcome, then: tuple[Branch, ...]) -> Iterator[Node]:
    """The presses on the image of a completed outcome."""
    if parent.result is not None:
        for branch in then:
            yield Node(ButtonPress(parent.result.id, branch.button, then=branch.then), branch.then, parent)


def outcome_of(node: Node, error: Exception | None, result: ImageResult | None = None) -> Outcome:
    """What became of a node."""
    press = press_of(node.item)
    if isinstance(error, AkoolError):
        error.about(press=press, prompt=node.prompt)
    return Outcome(press, node.operation, result, error, prompt=node.prompt, parent=node.parent, number=node.number)


def outcomes_below(parent: Outcome, then: tuple[Branch, ...]) -> Iterator[Outcome]:
    """The outcomes of all presses below one that made no image: they are not made."""
    image_id = None if parent.operation is None else parent.operation.id
    for branch in then:
        press = None if image_id is None else ButtonPress(image_id, branch.button, then=branch.then)
        error = _reason_below(parent, branch.button, press)
        outcome = Outcome(press, error=error, button=branch.button, parent=parent)
        yield outcome
        yield from outcomes_below(outcome, branch.then)


def copy_about(error: AkoolError, item: Item | None) -> AkoolError:
    """A copy of another item's error, about this one."""
    copied = error.fresh()
    copied.operation_id = copied.press = copied.prompt = None
    return copied if item is None else copied.about(press=press_of(item), prompt=prompt_of(item))


def _reason_below(parent: Outcome, button: Button, press: ButtonPress | None) -> AkoolError:
    if isinstance(parent.error, BudgetError):
        return copy_about(parent.error, press)
    while isinstance(parent.error, NotPressedError) and parent.parent is not None:
        parent = parent.parent  # up to the one that made no image
    what = parent.prompt if parent.button is None else parent.button
    if isinstance(parent.error, OutcomeUnknownError):
        became = f"the outcome of {what} is not known"
    else:
        became = f"{what} was not made" if parent.button is None else f"the result of {what} was not made"
    reason = parent.error.args[0] if parent.error is not None and parent.error.args else repr(parent.error)
    return NotPressedError(f"{button} was not pressed, since {became}: {reason}").about(press=press)
