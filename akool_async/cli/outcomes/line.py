"""The outcome of a press or a prompt as one line of JSON, for programs and for later runs."""

from __future__ import annotations

import json
import stat
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from attrs import asdict, frozen

from akool_async import Button, ButtonPress, ImageStatus


class PressState(StrEnum):
    """The state of a press, as people read it."""

    DONE = "done"
    FAILED = "failed"
    """AKOOL accepted it and could not make the image. The button stays used."""
    NOT_FINISHED = "not finished"
    """AKOOL accepted it, and the same command can fetch it later."""
    NOT_PRESSED = "not pressed"
    """It was not pressed, or was refused. Nothing was charged."""
    OVER_BUDGET = "over budget"
    """It was not pressed, since it could have exceeded the budget of a run. It is no failure."""
    LOST = "charged, id lost"
    """AKOOL accepted it, and the reply with its id was lost."""
    IN_DOUBT = "outcome unknown"
    """The reply was lost, and it is not known yet whether AKOOL accepted the press."""


TREE_FIELDS = ("prompt", "key", "root_id", "path", "name", "parent")
"""Fields that a line has only if they are not empty."""
FLAGS = ("charged", "over_budget")
"""Fields that a line has only if they are not False."""
UNSETTLED = frozenset({PressState.LOST, PressState.IN_DOUBT})
"""States in which credits were or may have been charged, and no id is known."""
FREE = frozenset({PressState.NOT_PRESSED, PressState.OVER_BUDGET})
"""States in which nothing was charged."""


PROMPT, IMAGE = "prompt ", "image "
"""The beginning of a node's root, before the key of a prompt or the id of an image."""


@frozen
class NodeId:
    """The identity of a press or a prompt among the lines of an output, the same in every run."""

    root: str
    """The prompt by its key, or the image whose button was pressed first by its id."""
    path: tuple[str, ...] = ()
    """The buttons from the root to this node; empty for a prompt."""

    @classmethod
    def of_prompt(cls, key: str) -> Self:
        """Return the identity of a prompt, which is its key."""
        return cls(f"{PROMPT}{key}")

    @classmethod
    def of_press(cls, press: ButtonPress) -> Self:
        """Return the identity of a press on an image that no run has made."""
        return cls(f"{IMAGE}{press.image_id}", (str(press.button),))

    @property
    def tree(self) -> NodeId:
        """The root of the tree of this node: a prompt, or a press that the file asks for."""
        return NodeId(self.root, self.path[:1] if self.root.startswith(IMAGE) else ())

    def child(self, button: str) -> NodeId:
        """Return the identity of a press on the image that this node makes."""
        return NodeId(self.root, (*self.path, button))


@frozen(kw_only=True)
class OutcomeLine:
    """The outcome of a node: a prompt or a press."""

    image_id: str | None
    """The source image; None for a prompt, and for a press whose source image was not made."""
    button: str | None
    """The button; None for a prompt."""
    ok: bool = False
    """True if the image is completed, and its pictures are saved if that was asked for."""
    id: str | None = None
    """The id of the operation; None if AKOOL did not accept it, or if the reply was lost."""
    status: int | None = None
    """AKOOL's image_status at the last poll; None before the first."""
    urls: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """The absolute paths of the pictures."""
    credits: float | None = None
    """Credits that AKOOL reported; for a press whose id was lost, the expected price."""
    error: str | None = None
    code: int | None = None
    """AKOOL's error code; None if AKOOL did not refuse."""
    charged: bool | None = False
    """If there is no id: True if it was charged, None if that is not known. Written only if it is not False."""
    over_budget: bool = False
    """True if it was not pressed, since it could have exceeded a budget. Written only if it is True."""
    prompt: str | None = None
    """The text of a prompt; None for a press. This field and the following are written only if they are not empty."""
    key: str | None = None
    """The key of the prompt that the node is or belongs to; None in trees that begin with an image."""
    root_id: str | None = None
    """The image whose button was pressed first, for a press on the result of another press of the file."""
    path: tuple[str, ...] = ()
    """The buttons from the prompt, or from the image ``root_id``, to this node. Empty for a press on an image of the
    file, which has only ``button``."""
    name: str | None = None
    """The name for people, which file names begin with: ``lighthouse-V1-U3``."""
    parent: str | None = None
    """The name of the node whose result was or would have been pressed."""

    @property
    def press(self) -> ButtonPress | None:
        """The press; None for a prompt, and for a press whose source image was not made."""
        return None if self.image_id is None or self.button is None else ButtonPress(self.image_id, self.button)

    @property
    def node(self) -> NodeId:
        """The identity of the node."""
        if self.key is not None:
            return NodeId(f"{PROMPT}{self.key}", self.path)
        if self.root_id is not None:
            return NodeId(f"{IMAGE}{self.root_id}", self.path)
        return NodeId(f"{IMAGE}{self.image_id}", (str(self.button),))

    @property
    def state(self) -> PressState:
        """The state of the press."""
        if self.ok:
            return PressState.DONE
        if self.id is not None:
            return PressState.FAILED if self.status == ImageStatus.FAILED else PressState.NOT_FINISHED
        if self.charged is None:
            return PressState.IN_DOUBT
        if self.charged:
            return PressState.LOST
        return PressState.OVER_BUDGET if self.over_budget else PressState.NOT_PRESSED

    @property
    def is_made(self) -> bool:
        """True if the image is completed, so that its buttons can be pressed, whether pictures were saved or not."""
        return self.id is not None and (self.ok or self.status == ImageStatus.COMPLETED)

    @property
    def label(self) -> str:
        """The text that stands for the node in messages: its name, or else its buttons and the image at the root."""
        if self.name is not None:
            return self.name
        if self.button is None:
            return f"prompt {self.key}"
        image_id = self.root_id or self.image_id
        return "-".join(self.path or (self.button,)) + ("" if image_id is None else f" of {image_id}")

    @property
    def is_over(self) -> bool:
        """True if it is completed, or has failed at AKOOL."""
        return self.ok or self.status == ImageStatus.FAILED

    @property
    def is_settled(self) -> bool:
        """False if credits were or may have been charged, and no id is known."""
        return self.state not in UNSETTLED

    @property
    def has_files(self) -> bool:
        """True if its pictures are on disk."""
        return bool(self.files) and all(has_content(Path(file)) for file in self.files)

    def fields(self) -> dict[str, Any]:
        """Return the fields that are written."""
        fields = asdict(self)
        for name in FLAGS:
            if fields[name] is False:
                del fields[name]
        for name in TREE_FIELDS:
            if fields[name] in (None, ()):
                del fields[name]
        return fields

    def to_json(self) -> str:
        """Return the JSON, without a line end."""
        return json.dumps(self.fields())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a text of ``to_json``.

        Raises:
            ValueError: The text is something else.
        """
        try:
            fields: dict[str, Any] = dict.fromkeys(FLAGS, False) | {"path": ()} | json.loads(text)
            known = {name: fields[name] for name in cls.__annotations__ if name in fields or name not in TREE_FIELDS}
            lists = {name: tuple(fields[name]) for name in ("urls", "files", "path")}
            line = cls(**known | lists)
            line.require_types()
        except (TypeError, KeyError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not a line of this command ({error})") from None
        return line

    def require_types(self) -> None:
        """Check the types of values that were read from a file.

        Raises:
            TypeError: A value has a wrong type.
            ValueError: The button or the image id is invalid.
        """
        texts, numbers = (*self.urls, *self.files, *self.path), (self.status, self.credits)
        ids = (self.id, self.prompt, self.key, self.root_id, self.name, self.parent)
        if not (
            isinstance(self.ok, bool)
            and all(isinstance(text, str | None) for text in ids)
            and isinstance(self.charged, bool | None)
            and isinstance(self.over_budget, bool)
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(number, int | float | None) for number in numbers)
        ):
            raise TypeError("a value has a wrong type")
        if self.button is not None:
            Button.parse(self.button)
        if self.press is None and self.key is None and self.root_id is None:
            raise TypeError("neither a prompt nor a press")


def has_content(path: Path) -> bool:
    """Return whether there is a file that is not empty."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # no such file, or no valid name
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0
