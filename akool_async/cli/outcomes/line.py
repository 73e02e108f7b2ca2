"""What became of one press, as one line of JSON: what machines read, and what a later run goes on from."""

from __future__ import annotations

import json
import stat
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from attrs import asdict, frozen

from akool_async import ButtonPress, ImageStatus


class PressState(StrEnum):
    """The state of a press, as people read it."""

    DONE = "done"
    FAILED = "failed"
    """AKOOL made nothing of it; a button works once."""
    NOT_FINISHED = "not finished"
    """AKOOL accepted it, and the command can fetch it."""
    NOT_PRESSED = "not pressed"
    """Nothing was charged."""
    LOST = "charged, id lost"
    """AKOOL accepted it, and the reply with its id was lost."""
    IN_DOUBT = "outcome unknown"
    """The reply was lost, and it is not known yet whether AKOOL accepted the press."""


UNSETTLED = frozenset({PressState.LOST, PressState.IN_DOUBT})
"""Credits were charged, or may have been, and no id is known."""


@frozen(kw_only=True)
class OutcomeLine:
    """What became of one press."""

    image_id: str
    button: str
    ok: bool = False
    """Completed, and its pictures saved if that was asked for."""
    id: str | None = None
    """The operation's; None if AKOOL did not accept the press, or its reply was lost."""
    status: int | None = None
    """AKOOL's image_status when it was last seen."""
    urls: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    credits: float | None = None
    """Charged, as AKOOL reported; for a press whose id was lost, the price of a press of its kind."""
    error: str | None = None
    code: int | None = None
    """AKOOL's code, if AKOOL refused."""
    charged: bool | None = False
    """Of a press without an id: True if it was charged, None if that is not known. Written only if it is not False."""

    @property
    def press(self) -> ButtonPress:
        """The press that it is about."""
        return ButtonPress(self.image_id, self.button)

    @property
    def state(self) -> PressState:
        """The state of the press."""
        if self.ok:
            return PressState.DONE
        if self.id is not None:
            return PressState.FAILED if self.status == ImageStatus.FAILED else PressState.NOT_FINISHED
        if self.charged is None:
            return PressState.IN_DOUBT
        return PressState.LOST if self.charged else PressState.NOT_PRESSED

    @property
    def is_over(self) -> bool:
        """True if it is completed, or failed at AKOOL."""
        return self.ok or self.status == ImageStatus.FAILED

    @property
    def is_settled(self) -> bool:
        """False if credits were charged, or may have been, and no id is known."""
        return self.state not in UNSETTLED

    @property
    def has_files(self) -> bool:
        """True if its pictures are on disk."""
        return bool(self.files) and all(has_content(Path(file)) for file in self.files)

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
    def from_json(cls, text: str | bytes) -> Self:
        """The line in a text of ``to_json``.

        Raises:
            ValueError: it is something else.
        """
        try:
            fields: dict[str, Any] = {"charged": False} | json.loads(text)
            known = {name: fields[name] for name in cls.__annotations__}
            line = cls(**known | {"urls": tuple(fields["urls"]), "files": tuple(fields["files"])})
            line._require_types()
        except (TypeError, KeyError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not a line of this command ({error})") from None
        return line

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
        self.press  # noqa: B018 - its validators raise


def accepted_json(press: ButtonPress, operation_id: str) -> str:
    """One line of the file of ids beside an output: the id of a press that has no line yet."""
    return json.dumps({"image_id": press.image_id, "button": press.button, "id": operation_id})


def has_content(path: Path) -> bool:
    """True if there is a file that holds something."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # no file, or no name of one
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0
