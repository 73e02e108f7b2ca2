"""The nodes of a fan-out's trees: the items, and the presses on their results."""

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
    """A prompt or a press, the presses on its result, and its progress."""

    item: Item
    """What its POST asks for: a press, or one image of a prompt."""
    then: tuple[Branch, ...]
    """The presses on its result."""
    parent: Outcome | None = None
    """The outcome on whose image it is pressed; None for an item of the input."""
    prompt: Prompt | SourcePrompt | None = None
    """The prompt as the caller passed it, with all images of a batch; None for a press."""
    number: int = 1
    """The position of the image in its prompt's batch, from 1."""
    task: asyncio.Task[None] | None = None
    """The task that carries it out; None before it begins."""
    is_submitted: bool = False
    """True after it was handed to the submitter."""
    submission: PromptSubmission | None = None
    """The submission of a prompt; None for a press, and before it is submitted."""
    has_left_lane: bool = False
    """True if it has not ended, but no longer counts against the limit of its lane."""
    operation: Operation | None = None
    """The operation; None before AKOOL has accepted it."""

    @property
    def upscales(self) -> int:
        """The number of upscales in this node and below."""
        itself = isinstance(self.item, ButtonPress) and self.item.button.is_upscale
        return itself + count_upscales(self.then)


def roots(item: Item) -> Iterator[Node]:
    """Yield the nodes of an item of the input: one, or one for each image of a batch.

    Each image of a batch is sent as a separate POST, so that a lost reply loses a single image. AKOOL charges the same.
    """
    if isinstance(item, SourcePrompt):
        single = evolve(item, batch_quantity=1)
        for number in range(1, item.batch_quantity + 1):
            yield Node(single, item.then, prompt=item, number=number)
    else:
        yield Node(item, item.then, prompt=prompt_of(item))


def children(parent: Outcome, then: tuple[Branch, ...]) -> Iterator[Node]:
    """Yield the nodes of the presses on a completed image."""
    if parent.result is not None:
        for branch in then:
            yield Node(ButtonPress(parent.result.id, branch.button, then=branch.then), branch.then, parent)


def outcome_of(node: Node, error: Exception | None, result: ImageResult | None = None) -> Outcome:
    """Make the outcome of a node.

    Args:
        node: The node.
        error: Why there is no finished image; None if there is one.
        result: The final result, if there is one.
    """
    press = press_of(node.item)
    if isinstance(error, AkoolError):
        error.about(press=press, prompt=node.prompt)
    return Outcome(press, node.operation, result, error, prompt=node.prompt, parent=node.parent, number=node.number)


def outcomes_below(parent: Outcome, then: tuple[Branch, ...]) -> Iterator[Outcome]:
    """Yield the outcomes of all presses below a parent without an image: they cannot be made."""
    image_id = None if parent.operation is None else parent.operation.id
    for branch in then:
        press = None if image_id is None else ButtonPress(image_id, branch.button, then=branch.then)
        error = _reason_below(parent, branch.button, press)
        outcome = Outcome(press, error=error, button=branch.button, parent=parent)
        yield outcome
        yield from outcomes_below(outcome, branch.then)


def copy_about(error: AkoolError, item: Item | None) -> AkoolError:
    """Return a copy of an error for another item, or for none."""
    copied = error.fresh()
    copied.operation_id = copied.press = copied.prompt = None
    return copied if item is None else copied.about(press=press_of(item), prompt=prompt_of(item))


def _reason_below(parent: Outcome, button: Button, press: ButtonPress | None) -> AkoolError:
    if isinstance(parent.error, BudgetError):
        return copy_about(parent.error, press)
    while isinstance(parent.error, NotPressedError) and parent.parent is not None:
        parent = parent.parent  # up to the one whose image was not made
    name = parent.prompt if parent.button is None else parent.button
    if isinstance(parent.error, OutcomeUnknownError):
        cause = f"the outcome of {name} is unknown"
    else:
        cause = f"the image of {name} was not made"
    reason = parent.error.args[0] if parent.error is not None and parent.error.args else repr(parent.error)
    return NotPressedError(f"{button} was not pressed, since {cause}: {reason}").about(press=press)
