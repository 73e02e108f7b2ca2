"""Advice about presses and prompts whose id was lost, or whose outcome is unknown."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from attrs import evolve

from akool_async.cli.outcomes.line import OutcomeLine, PressState
from akool_async.cli.outcomes.notes import PLACEHOLDER, Note
from akool_async.cli.output.stderr import count_presses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from akool_async import ButtonPress

PROMPT: Final = "prompt"
"""The word in place of a button in `akool resolve` for a prompt, which is named by its key."""
MAX_COMMANDS: Final = 8
"""Commands that are printed. The output has all presses."""
SETTLE: Final = (
    "to settle one, put the id of its new image in place of ID, if you find it; otherwise put --retry or --abandon in "
    "place of --id ID. --retry sends a prompt again, which may cost its credits twice, and presses a button again "
    "unless AKOOL says that it is used"
)
"""How to use the printed `akool resolve` if the outcome is unknown."""
SETTLE_CHARGED: Final = (
    "to settle one, put the id of its new image in place of ID, if you find it; otherwise put --abandon in place of "
    "--id ID. Its button is used, so it cannot be pressed again"
)
"""How to use the printed `akool resolve` for a press that was charged."""
LOST_PROMPT: Final = (
    "the prompt's outcome is unknown: AKOOL may have charged for it, and no id is known; akool credit shows the balance"
)
ENTER_ID: Final = (
    "if you learn an id (from a webhook, or from AKOOL), put it in place of ID in the command below and run that, then "
    "run the same command again"
)
NOT_SENT_AGAIN: Final = f"not sent again, unless you add --retry-unknown, which may cost the credits twice; {ENTER_ID}"


def explain_lost(lines: Iterable[OutcomeLine], *, ids: Path | None, store: str | None) -> Iterator[str]:
    """Yield sentences and commands for presses and prompts whose id was lost, or whose outcome is unknown.

    Args:
        lines: The lines of all presses and prompts.
        ids: The file beside the output from which the next run reads ids; None without an output.
        store: The options that name the store, for a shell; None without a store.
    """
    lines = list(lines)
    prompts = [line for line in lines if line.button is None and not line.is_settled]
    if prompts:
        yield f"{count_prompts(len(prompts))} {PressState.IN_DOUBT}: {_advise_on_prompts(ids, store)}"
        if store is not None:
            yield from _some_commands(resolve_command(None, line.key, store) for line in prompts)
        elif ids is not None:
            yield from _some_commands(_enter_command(line, ids) for line in prompts)
    for state in (PressState.LOST, PressState.IN_DOUBT):
        presses = {press: line for line in lines if line.state is state and (press := line.press) is not None}
        if presses:
            advice = _advise(presses.values(), state, ids, is_recorded=store is not None)
            yield f"{count_presses(len(presses))} {state}: {advice}"
            yield from _some_commands(_command_for(press, line, ids, store) for press, line in presses.items())


def resolve_command(press: ButtonPress | None, key: str | None, store: str) -> str:
    """Return the command that settles a recorded press, or the prompt with this key, once its id is filled in."""
    what, button = (key or "", PROMPT) if press is None else (press.image_id, press.button)
    return f"akool resolve {shlex.quote(what)} {button} --id ID {store}"


def count_prompts(number: int) -> str:
    """Return a number of prompts with its noun."""
    return f"{number:,} prompt{'' if number == 1 else 's'}"


def count_items(prompts: int, presses: int) -> str:
    """Return a number of prompts and a number of presses with their nouns. A number that is 0 is left out."""
    counts = ([count_prompts(prompts)] if prompts else []) + ([count_presses(presses)] if presses else [])
    return " and ".join(counts)


def _some_commands(commands: Iterable[str]) -> Iterator[str]:
    distinct = list(dict.fromkeys(commands))
    yield from distinct[:MAX_COMMANDS]
    if len(distinct) > MAX_COMMANDS:
        yield f"and {len(distinct) - MAX_COMMANDS:,} more"


def _advise(lines: Iterable[OutcomeLine], state: PressState, ids: Path | None, *, is_recorded: bool) -> str:
    if is_recorded:
        return SETTLE_CHARGED if state is PressState.LOST else SETTLE
    if state is PressState.IN_DOUBT:
        again = "run the same command again, or check" if ids is not None else "check"
        return f"{again} whether the button is among the used buttons: it was charged only if it is"
    if ids is None:
        return "the button is among the used buttons; if you learn the id, akool result ID --wait fetches it"
    return f"not pressed again, because a button works once; {ENTER_ID}; to abandon one, {_how_to_abandon(lines)}"


def _how_to_abandon(lines: Iterable[OutcomeLine]) -> str:
    """Return how the file can stop asking for these presses: for one within a tree there is no line to remove."""
    are_in_trees = [bool(line.path) for line in lines]
    from_then = "leave its button out of --then, or give its row a column then without it"
    if all(are_in_trees):
        return from_then
    return f"remove it from the file; within a tree, {from_then}" if any(are_in_trees) else "remove it from the file"


def _command_for(press: ButtonPress, line: OutcomeLine, ids: Path | None, store: str | None) -> str:
    if store is not None:
        return resolve_command(press, None, store)
    if ids is None or line.state is PressState.IN_DOUBT:
        return f"akool result {shlex.quote(press.image_id)}"
    return _enter_command(line, ids)


def _advise_on_prompts(ids: Path | None, store: str | None) -> str:
    found_out = "only the balance shows whether AKOOL charged (akool credit)"
    if store is not None:
        return f"{found_out}; {SETTLE}"
    return found_out if ids is None else f"{found_out}; {NOT_SENT_AGAIN}"


def _enter_command(line: OutcomeLine, ids: Path) -> str:
    """Return the command that enters an id into the file that the next run reads."""
    note = Note(evolve(line, id=PLACEHOLDER, name=None)).to_json()
    return f"echo {shlex.quote(note)} >> {shlex.quote(str(ids))}"
