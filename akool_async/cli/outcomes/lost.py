"""What to do about presses whose id was lost, or whose outcome is unknown."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from akool_async.cli.outcomes.line import OutcomeLine, PressState, accepted_json
from akool_async.cli.output.stderr import count_presses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from akool_async import ButtonPress

MAX_COMMANDS: Final = 8
"""Commands that are printed; all presses are in the output."""
SETTLE: Final = (
    "to settle a press, put the id of its new image in place of ID, if you find it; otherwise put --retry or --abandon "
    "in place of --id ID"
)
"""What to do with the command that settles a recorded press."""
LOST_PROMPT: Final = (
    "the prompt's outcome is unknown: AKOOL may have charged for it, and no id is known; akool credit shows the balance"
)


def explain_lost(lines: Iterable[OutcomeLine], *, ids: Path | None, store: str | None) -> Iterator[str]:
    """Sentences and commands for presses whose id was lost, or whose outcome is unknown.

    ``ids`` is the file beside the output from which the next run reads ids; ``store`` are the options that name a
    store.
    """
    lines = list(lines)
    for state in (PressState.LOST, PressState.IN_DOUBT):
        some = [line for line in lines if line.state is state]
        if not some:
            continue
        yield f"{count_presses(len(some))} {state}: {_advise(state, ids, is_recorded=store is not None)}"
        commands = dict.fromkeys(_command_for(line, ids, store) for line in some)
        yield from list(commands)[:MAX_COMMANDS]
        if len(commands) > MAX_COMMANDS:
            yield f"and {len(commands) - MAX_COMMANDS:,} more"


def resolve_command(press: ButtonPress, store: str) -> str:
    """The command that settles a recorded press, once its id is filled in."""
    return f"akool resolve {shlex.quote(press.image_id)} {press.button} --id ID {store}"


def _advise(state: PressState, ids: Path | None, *, is_recorded: bool) -> str:
    if is_recorded:
        return SETTLE
    if state is PressState.IN_DOUBT:
        again = "run the same again, or check" if ids is not None else "check"
        return f"{again} whether the button is among the used buttons: only then it was charged"
    if ids is None:
        return "the button is among the used buttons; if you learn the id, akool result ID --wait fetches it"
    return (
        "not pressed again, because a button works once; if you learn an id (from a webhook, or from AKOOL), write it "
        "down in place of ID and run the same again; to give a press up, remove it from the batch"
    )


def _command_for(line: OutcomeLine, ids: Path | None, store: str | None) -> str:
    if store is not None:
        return resolve_command(line.press, store)
    if ids is None or line.state is PressState.IN_DOUBT:
        return f"akool result {shlex.quote(line.image_id)}"
    return f"echo {shlex.quote(accepted_json(line.press, 'ID'))} >> {shlex.quote(str(ids))}"
