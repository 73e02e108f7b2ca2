"""What became of one press or prompt, as one line of JSON: what machines read, and what a later run goes on from."""

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
    """AKOOL made nothing of it; a button works once."""
    NOT_FINISHED = "not finished"
    """AKOOL accepted it, and the command can fetch it."""
    NOT_PRESSED = "not pressed"
    """Nothing was charged."""
    OVER_BUDGET = "over budget"
    """It was not pressed, since it could have passed what a run may spend. It is no failure."""
    LOST = "charged, id lost"
    """AKOOL accepted it, and the reply with its id was lost."""
    IN_DOUBT = "outcome unknown"
    """The reply was lost, and it is not known yet whether AKOOL accepted the press."""


TREE_FIELDS = ("prompt", "key", "root_id", "path", "name", "parent")
"""Fields that a line has only if they say something."""
FLAGS = ("charged", "over_budget")
"""Fields that a line has only if they are not False."""
UNSETTLED = frozenset({PressState.LOST, PressState.IN_DOUBT})
"""Credits were charged, or may have been, and no id is known."""
FREE = frozenset({PressState.NOT_PRESSED, PressState.OVER_BUDGET})
"""Nothing was charged."""


PROMPT, IMAGE = "prompt ", "image "
"""Before the key of a prompt, or the id of an image, in the identity of a node."""


@frozen
class NodeId:
    """The identity of a press or a prompt among the lines of an output, the same in every run."""

    root: str
    """The prompt by its key, or the image whose button was pressed first."""
    path: tuple[str, ...] = ()
    """The buttons from there on; empty for the prompt itself."""

    @classmethod
    def of_prompt(cls, key: str) -> Self:
        """A prompt, which is known by its key alone."""
        return cls(f"{PROMPT}{key}")

    @classmethod
    def of_press(cls, press: ButtonPress) -> Self:
        """A press on an image that no run has made."""
        return cls(f"{IMAGE}{press.image_id}", (str(press.button),))

    @property
    def tree(self) -> NodeId:
        """The node of an input that this one is or belongs to."""
        return NodeId(self.root, self.path[:1] if self.root.startswith(IMAGE) else ())

    def child(self, button: str) -> NodeId:
        """A press on the image that this one makes."""
        return NodeId(self.root, (*self.path, button))


@frozen(kw_only=True)
class OutcomeLine:
    """What became of one node: a prompt, or a press."""

    image_id: str | None
    """The source image; None for a prompt, and for a press whose source image was not made."""
    button: str | None
    """None for a prompt."""
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
    over_budget: bool = False
    """True if it was not pressed since it could have passed a budget. Written only if it is True."""
    prompt: str | None = None
    """The text of a prompt; None for a press. This field and those below are written only if they say something."""
    key: str | None = None
    """Of the prompt that the node is, or belongs to."""
    root_id: str | None = None
    """The image whose button was pressed first, of a node further below."""
    path: tuple[str, ...] = ()
    """The buttons from the prompt, or from that image, to this node. Of a press on an image of the input it is left
    out, since ``button`` is all of it."""
    name: str | None = None
    """The node's name for people, of which file names are made: ``lighthouse-V1-U3``."""
    parent: str | None = None
    """The name of the node whose result was or would have been pressed."""

    @property
    def press(self) -> ButtonPress | None:
        """The press that it is about; None for a prompt, and for a press whose source image was not made."""
        return None if self.image_id is None or self.button is None else ButtonPress(self.image_id, self.button)

    @property
    def node(self) -> NodeId:
        """What it is about."""
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
        """True if its image is there, of which buttons can be pressed, whether its pictures were saved or not."""
        return self.id is not None and (self.ok or self.status == ImageStatus.COMPLETED)

    @property
    def label(self) -> str:
        """What people call it: by its name, or else by its buttons and the image that they began with."""
        if self.name is not None:
            return self.name
        if self.button is None:
            return f"prompt {self.key}"
        image_id = self.root_id or self.image_id
        return "-".join(self.path or (self.button,)) + ("" if image_id is None else f" of {image_id}")

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
        for name in FLAGS:
            if fields[name] is False:
                del fields[name]
        for name in TREE_FIELDS:
            if fields[name] in (None, ()):
                del fields[name]
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
            fields: dict[str, Any] = dict.fromkeys(FLAGS, False) | {"path": ()} | json.loads(text)
            known = {name: fields[name] for name in cls.__annotations__ if name in fields or name not in TREE_FIELDS}
            lists = {name: tuple(fields[name]) for name in ("urls", "files", "path")}
            line = cls(**known | lists)
            line.require_types()
        except (TypeError, KeyError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not a line of this command ({error})") from None
        return line

    def require_types(self) -> None:
        """Check what was read from a file.

        Raises:
            TypeError: A value is of another kind.
            ValueError: There is no such button, or image id.
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
            raise TypeError("a value of another kind")
        if self.button is not None:
            Button.parse(self.button)
        if self.press is None and self.key is None and self.root_id is None:
            raise TypeError("neither a prompt nor a press")


def has_content(path: Path) -> bool:
    """True if there is a file that holds something."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # no file, or no name of one
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0
