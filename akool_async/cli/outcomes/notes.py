"""The file of ids beside an output: what a run that is killed must not lose, until the line of it is written."""

from __future__ import annotations

import json
from typing import Any, Self

from attrs import field, frozen

from akool_async.cli.outcomes.line import OutcomeLine

PLACEHOLDER = "ID"
"""What stands for an id in the commands that are printed."""
STARTS = (b'{"image_id": "', b'{"key": "')
"""Of every note."""


@frozen
class Note:
    """AKOOL gave an id, or a prompt is on its way."""

    line: OutcomeLine
    """What it is about; with the id, if there is one."""
    is_sending: bool = field(default=False, kw_only=True)
    """True for a prompt that is about to be sent; False, without an id, for one that AKOOL did not take."""

    def to_json(self) -> str:
        """One line, without its end."""
        line = self.line
        fields: dict[str, Any] = {"image_id": line.image_id, "button": line.button}
        fields |= {"key": line.key, "root_id": line.root_id, "path": line.path}
        fields = {name: value for name, value in fields.items() if value not in (None, ())}
        text = json.dumps(fields | ({"sending": self.is_sending} if line.id is None else {"id": line.id}))
        return text[:-1].replace("}", r"\u007d") + "}"  # so that a cut note is not taken for a whole line of a batch

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The note in a text of ``to_json``.

        Raises:
            ValueError: it is something else.
        """
        try:
            fields = json.loads(text)
            identity = {name: fields.get(name) for name in ("image_id", "button", "key", "root_id")}
            operation_id = None if "sending" in fields else str(fields["id"])
            line = OutcomeLine(**identity, path=tuple(fields.get("path", ())), id=operation_id)
            line.require_types()
            return cls(line, is_sending=fields.get("sending") is True)
        except (TypeError, KeyError, AttributeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not a note of this command ({error})") from None
