"""Credits that were charged, and presses that were charged although the reply with their id was lost."""

from __future__ import annotations

import json
import shlex
from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from akool_async import NotFoundError, NotOperableError
from akool_async._http.origin import contradiction, has_other_origin, made_by
from akool_async.cli.messages import amount
from akool_async.cli.outcomes.line import Line, PressState
from akool_async.errors import codes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sized
    from pathlib import Path

    from akool_async import ButtonPress, Counters, ImageResult

CODES_OF_USED: Final = codes_of(NotOperableError)
"""AKOOL's codes for a button that is used."""
CODES_OF_UNKNOWN: Final = codes_of(NotFoundError)
"""AKOOL's codes for an id that it does not know."""
USED: Final = "the reply was lost, and the button is used: it was charged, its new id is not known"
SMALLEST_AMOUNT: Final = 0.005
"""Credits; less is an error of rounding."""
MOST_COMMANDS: Final = 8
"""Commands that are printed; all presses stand in the output."""


@define
class Charges:
    """A sum of credits that never claims less than AKOOL charged."""

    _credits: dict[object, float] = field(factory=dict)
    _unsure: set[object] = field(factory=set)

    def add(self, name: object, charged: float | None, *, is_told: bool = True) -> None:
        """Count what is called so; of several figures for it the largest counts, and 0 or less is no figure.

        ``is_told`` is False if the figure is not AKOOL's own.
        """
        known = charged if charged is not None and charged > 0 else 0.0
        self._credits[name] = max(known, self._credits.get(name, 0.0))
        if is_told and known:
            self._unsure.discard(name)
        elif not self._credits[name] or not is_told:
            self._unsure.add(name)

    def add_line(self, line: Line) -> None:
        """Count a press."""
        if line.state is not PressState.NOT_PRESSED:
            self.add(line.id or line.press, line.credits, is_told=line.id is not None)

    def __contains__(self, name: object) -> bool:
        return name in self._credits

    def __str__(self) -> str:
        return ("at least " if self._unsure else "") + amount(sum(self._credits.values()))


def charges_of(lines: Iterable[Line]) -> Charges:
    """What these presses were charged."""
    charges = Charges()
    for line in lines:
        charges.add_line(line)
    return charges


class Step(Enum):
    """What a run does with a press that has no id."""

    PRESS = "press"
    KEEP_LOST = "it was charged"
    KEEP_IN_DOUBT = "it cannot be told"
    REFUSE_USED = "somebody else pressed it"
    REFUSE_NOT_OFFERED = "it cannot be pressed"


def next_step(earlier: PressState | None, *, is_used: bool, is_offered: bool) -> Step:
    """Decide by what an earlier run knew, and by what the source image shows now: a button works once."""
    if earlier is PressState.LOST:
        return Step.KEEP_LOST
    if is_used:
        return Step.KEEP_LOST if earlier is PressState.IN_DOUBT else Step.REFUSE_USED
    if is_offered:
        return Step.PRESS
    return Step.KEEP_IN_DOUBT if earlier is PressState.IN_DOUBT else Step.REFUSE_NOT_OFFERED


def add_what_was_known(line: Line, earlier: Line | None) -> Line:
    """A new line of a press, with what only an earlier one knew.

    A later look that sees less, as after 7 days, does not take away what is known of the operation.
    """
    if earlier is None:
        return line
    if not earlier.is_settled:
        return _settle(line, earlier)
    if line.id is None or line.id != earlier.id or line.status is not None:
        return line
    return evolve(line, status=earlier.status, urls=earlier.urls, files=earlier.files, credits=earlier.credits)


def _settle(line: Line, earlier: Line) -> Line:
    """The new line, unless a press whose id was lost, or that is in doubt, is still no further.

    If it was not pressed now, the earlier press counts; if that was because the button is used, it was taken. An id
    that AKOOL does not know settles nothing.
    """
    if line.id is not None and line.code in CODES_OF_UNKNOWN:
        return evolve(earlier, error=f"AKOOL does not know the id {line.id} that was written down for it")
    if line.state is not PressState.NOT_PRESSED:
        return line
    if line.code in CODES_OF_USED:
        return evolve(line, error=USED, code=None, charged=True)
    return evolve(line, credits=earlier.credits, charged=earlier.charged)


def reason_against(image: ImageResult, press: ButtonPress, *, by_hand: bool) -> str | None:
    """Why the id of an image is not that of a press; None if it may be.

    ``by_hand`` is False for an id that AKOOL itself gave: its pages show a reply with the source of another image.
    """
    is_other = has_other_origin(image, press) if by_hand else contradiction(image, press) is not None
    return f"the id {image.id} is {made_by(image)}, not {press.button} of {press.image_id}" if is_other else None


def explain_account(counters: Counters) -> Iterator[str]:
    """Sentences on what is not plain in a session's account: estimates, and what the balance does not explain."""
    if counters.credits_estimated:
        yield f"{amount(counters.credits_estimated)} credits of that are an estimate: AKOOL reported no price"
    if counters.credits_in_doubt:
        in_doubt = amount(counters.credits_in_doubt)
        yield f"up to {in_doubt} credits more may have been charged for presses whose outcome is unknown"
    elsewhere = counters.credits_elsewhere or 0.0
    if elsewhere >= SMALLEST_AMOUNT:
        or_unknown = ", or a press whose outcome is unknown" if counters.credits_in_doubt else ""
        yield (
            f"{amount(elsewhere)} credits went elsewhere: another program on this account, or a price that AKOOL "
            f"reported too low{or_unknown}"
        )
    elif elsewhere <= -SMALLEST_AMOUNT:
        yield f"the balance is {amount(-elsewhere)} credits higher than that explains: a top-up, or a refund"


def count_presses(lines: Sized) -> str:
    """Their number, in words."""
    return f"{len(lines):,} press{'' if len(lines) == 1 else 'es'}"


def explain_lost(lines: Iterable[Line], *, ids: Path | None, store: str | None) -> Iterator[str]:
    """Sentences and commands for presses whose id was lost, or whose outcome is unknown.

    ``ids`` is the file beside the output from which the next run takes ids; ``store`` are the options of a state.
    """
    lines = list(lines)
    for state in (PressState.LOST, PressState.IN_DOUBT):
        some = [line for line in lines if line.state is state]
        if not some:
            continue
        yield f"{count_presses(some)} {state}: {_advise(state, ids, is_recorded=store is not None)}"
        commands = dict.fromkeys(_command_for(line, ids, store) for line in some)
        yield from list(commands)[:MOST_COMMANDS]
        if len(commands) > MOST_COMMANDS:
            yield f"and {len(commands) - MOST_COMMANDS:,} more"


def _advise(state: PressState, ids: Path | None, *, is_recorded: bool) -> str:
    if is_recorded:
        return "settle each with --id if you learn its id, otherwise with --retry or --abandon"
    if state is PressState.IN_DOUBT:
        again = "run the same again, or look" if ids is not None else "look"
        return f"{again} whether the button is among the used buttons: only then it was charged"
    if ids is None:
        return "the button is among the used buttons; if you learn the id, akool result ID --wait fetches it"
    return (
        "not pressed again, because a button works once; if you learn an id (from a webhook, or from AKOOL), write it "
        "down in place of ID and run the same again; to give a press up, remove it from the batch"
    )


def _command_for(line: Line, ids: Path | None, store: str | None) -> str:
    image_id = shlex.quote(line.image_id)
    if store is not None:
        return f"akool resolve {image_id} {line.button} --id ID {store}"
    if ids is None or line.state is PressState.IN_DOUBT:
        return f"akool result {image_id}"
    known = json.dumps({"image_id": line.image_id, "button": line.button, "id": "ID"})
    return f"echo {shlex.quote(known)} >> {shlex.quote(str(ids))}"
