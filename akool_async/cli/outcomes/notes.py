"""The notes in the file of ids beside an output. They keep an id until its line is written, even if a run is killed."""

from __future__ import annotations

import json
from typing import Any, Self

from attrs import field, frozen

from akool_async.cli.outcomes.line import OutcomeLine

PLACEHOLDER = "ID"
"""The placeholder for an id in printed commands."""
STARTS = (b'{"image_id": "', b'{"key": "')
"""Every note begins with one of these."""


@frozen
class Note:
    """A note that AKOOL gave an id, or that a prompt is being sent."""

    line: OutcomeLine
    """The line of the node, with the id if there is one."""
    is_sending: bool = field(default=False, kw_only=True)
    """True for a prompt that is being sent. False and no id mean that AKOOL did not accept the prompt."""

    def to_json(self) -> str:
        """Return the JSON, without a line end."""
        line = self.line
        fields: dict[str, Any] = {"image_id": line.image_id, "button": line.button}
        fields |= {"key": line.key, "root_id": line.root_id, "path": line.path}
        fields |= {"name": None if line.id is None else line.name}  # pictures are saved before the line is written
        fields = {name: value for name, value in fields.items() if value not in (None, ())}
        text = json.dumps(fields | ({"sending": self.is_sending} if line.id is None else {"id": line.id}))
        return text[:-1].replace("}", r"\u007d") + "}"  # a part of a note must not look like a whole line of a batch

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a text of ``to_json``.

        Raises:
            ValueError: The text is something else.
        """
        try:
            fields = json.loads(text)
            identity = {name: fields.get(name) for name in ("image_id", "button", "key", "root_id", "name")}
            operation_id = None if "sending" in fields else str(fields["id"])
            line = OutcomeLine(**identity, path=tuple(fields.get("path", ())), id=operation_id)
            line.require_types()
            return cls(line, is_sending=fields.get("sending") is True)
        except (TypeError, KeyError, AttributeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not a note of this command ({error})") from None
