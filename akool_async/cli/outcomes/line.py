"""One line of JSON for one press: what machines read, and what a later run goes on from."""

from __future__ import annotations

import json
import shlex
import stat
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import asdict, frozen

from akool_async import AkoolError, APIError, ButtonPress, ImageStatus, OutcomeUnknownError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from akool_async import ImageResult, Operation, Outcome
    from akool_async.cli.following.live_table import Row


UNSAVED: Final = "interrupted before its pictures were saved"


class PressState(StrEnum):
    """How a press stands, in the words that people read."""

    DONE = "done"
    FAILED = "failed"
    """By AKOOL, for good."""
    NOT_FINISHED = "not finished"
    """AKOOL has it, and the command can fetch it."""
    NOT_PRESSED = "not pressed"
    """Nothing was charged."""
    LOST = "charged, id lost"
    """AKOOL took it, and the reply with its id was lost."""
    IN_DOUBT = "outcome unknown"
    """The reply was lost, and whether AKOOL took it cannot be told yet."""


@frozen(kw_only=True)
class Line:
    """What became of one press."""

    image_id: str
    button: str
    ok: bool = False
    """Completed, and its pictures saved where that was asked for."""
    id: str | None = None
    """The operation's; None where AKOOL did not accept the press, or its reply was lost."""
    status: int | None = None
    """AKOOL's image_status when it was last seen."""
    urls: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    credits: float | None = None
    """Charged, as AKOOL said; for a press whose id was lost, what a press of its kind costs."""
    error: str | None = None
    code: int | None = None
    """AKOOL's code, where it refused."""
    charged: bool | None = False
    """Of a press without an id: True if it was charged, None if that cannot be told. In a line only if not False."""

    @property
    def press(self) -> ButtonPress:
        """Which press it is about."""
        return ButtonPress(self.image_id, self.button)

    @property
    def state(self) -> PressState:
        """How the press stands."""
        if self.ok:
            return PressState.DONE
        if self.id is not None:
            return PressState.FAILED if self.status == ImageStatus.FAILED else PressState.NOT_FINISHED
        if self.charged is None:
            return PressState.IN_DOUBT
        return PressState.LOST if self.charged else PressState.NOT_PRESSED

    @property
    def is_over(self) -> bool:
        """True where nothing more will come of it: completed, or failed for good."""
        return self.ok or self.status == ImageStatus.FAILED

    @property
    def is_settled(self) -> bool:
        """False where credits are gone, or may be, and no id is known."""
        return self.state not in {PressState.LOST, PressState.IN_DOUBT}

    @property
    def has_files(self) -> bool:
        """True where its pictures are on disk."""
        return bool(self.files) and all(has_content(Path(file)) for file in self.files)

    def _require_types(self) -> None:
        texts, numbers = (*self.urls, *self.files), (self.status, self.credits)
        if not (
            isinstance(self.ok, bool)
            and isinstance(self.id, str | None)
            and isinstance(self.charged, bool | None)
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(number, int | float | None) for number in numbers)
        ):
            raise TypeError("a value of another kind")

    def fields(self) -> dict[str, Any]:
        """What is written of it."""
        fields = asdict(self)
        if self.charged is False:
            del fields["charged"]
        return fields

    def to_json(self) -> str:
        """One line, without its end."""
        return json.dumps(self.fields())

    @classmethod
    def read(cls, text: str | bytes) -> Self:
        """The line in a text of ``to_json``; a ``ValueError`` where it is something else."""
        try:
            fields: dict[str, Any] = {"charged": False} | json.loads(text)
            known = {name: fields[name] for name in cls.__annotations__}
            line = cls(**known | {"urls": tuple(fields["urls"]), "files": tuple(fields["files"])})
            line.press  # noqa: B018 - its validators speak up
            line._require_types()
        except (TypeError, KeyError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not a line of this command ({error})") from None
        return line


def has_content(path: Path) -> bool:
    """True if there is a file that holds something."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # no file, or no name of one
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def describe(outcome: Outcome, *, files: Sequence[Path] = (), trouble: Exception | None = None) -> Line:
    """The line of an outcome, of which ``files`` were saved, or could not be for ``trouble``."""
    error = outcome.error or trouble
    latest = outcome.result or (None if outcome.operation is None else outcome.operation.latest)
    return Line(
        image_id=outcome.press.image_id,
        button=str(outcome.press.button),
        ok=error is None,
        id=None if outcome.operation is None else outcome.operation.id,
        **_describe_image(latest),
        files=tuple(map(str, files)),
        **_describe_error(error, is_id_known=outcome.operation is not None),
    )


def describe_running(press: ButtonPress, operation: Operation, *, is_recorded: bool) -> Line:
    """The line of a press that was accepted and that this run does not wait for any longer.

    ``is_recorded`` is True if the same command finds the id when it is run again.
    """
    reason = reason_of_leaving(None if is_recorded else operation.id)
    image = _describe_image(operation.latest)
    return Line(image_id=press.image_id, button=str(press.button), id=operation.id, **image, error=reason)


def describe_row(row: Row, image_id: str) -> Line:
    """The line of a press that was followed on a board."""
    return Line(
        image_id=image_id,
        button=row.name,
        ok=row.result is not None and row.error is None,
        id=row.id or None,
        **_describe_image(row.latest),
        files=tuple(map(str, row.files)),
        **_describe_error(row.error, is_id_known=bool(row.id)),
    )


def describe_prompt(row: Row, prompt: str) -> dict[str, Any]:
    """The same of a prompt, with the buttons that its image offers."""
    line = describe_row(row, "").fields()
    del line["image_id"], line["button"]
    return {"prompt": prompt, **line, "buttons": () if row.result is None else row.result.buttons}


def reason_of_leaving(operation_id: str | None) -> str:
    """What is said of an operation that runs on, with how to fetch it: by this id, or by the same command (None)."""
    if operation_id is None:
        remedy = "run the same again to fetch it"
    else:
        remedy = f"akool result {shlex.quote(operation_id)} --wait fetches it"
    return f"interrupted; it runs on at AKOOL, paid for: {remedy}"


def reason_of(error: Exception) -> str:
    """The reason without the ids, which stand beside it."""
    if isinstance(error, WaitTimeoutError):  # whose own words are for programs
        return f"not finished within {error.timeout:g} s; it runs on at AKOOL, paid for"
    return str(error.args[0]) if isinstance(error, AkoolError) and error.args else str(error) or type(error).__name__


def _describe_error(error: Exception | None, *, is_id_known: bool) -> dict[str, Any]:
    if error is None:
        return {}
    return {
        "error": reason_of(error),
        "code": error.code if isinstance(error, APIError) else None,
        "charged": error.charged if isinstance(error, OutcomeUnknownError) and not is_id_known else False,
    }


def _describe_image(image: ImageResult | None) -> dict[str, Any]:
    if image is None:
        return {}
    status = None if image.status is None else int(image.status)
    return {"status": status, "urls": image.urls, "credits": image.deduction_credit}
