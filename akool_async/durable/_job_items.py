"""The item of a job, as a store keeps it. A press is identified by its image and button, a prompt by its key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import NOTHING, define, evolve, field, fields, frozen

from akool_async import Button, ButtonPress, Prompt, SourcePrompt
from akool_async._fan_out.keys import PromptKeys, key_of_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from akool_async.items import Item

PROMPTS: Final = "prompt"
"""The name of the queue of prompts. The queue of a press has the name of its kind: upscale or variation."""
_VERSIONS: Final[dict[str, type[Prompt | SourcePrompt]]] = {"v3": Prompt, "v4": SourcePrompt}


@frozen
class JobItem:
    """The item of one job: a press, or one image of a prompt."""

    item: Item
    """The item as submitted. A prompt always has a key here."""
    number: int = 1
    """The number of the image in a batch, counted from 1."""

    @property
    def name(self) -> str:
        """A name that is unique in an account. Image ids are never empty, so no press has the name of a prompt."""
        if isinstance(self.item, ButtonPress):
            return f"{self.item.image_id}:{self.item.button}"
        return f":{self.key}"

    @property
    def posted(self) -> Item:
        """The item that the POST sends. Each image of a batch has a separate POST."""
        if isinstance(self.item, SourcePrompt):
            return evolve(self.item, batch_quantity=1, key=self.key, then=())
        return evolve(self.item, then=())

    @property
    def queue(self) -> str:
        """The name of the queue of the job."""
        return self.item.kind if isinstance(self.item, ButtonPress) else PROMPTS

    @property
    def key(self) -> str | None:
        """The key of a prompt; None for a press. Images of a batch after the first have their number in it."""
        if isinstance(self.item, ButtonPress):
            return None
        return key_of_image(self.item.key or "", self.number)

    def columns(self) -> dict[str, Any]:
        """Return the columns of the table of jobs that hold this item."""
        if isinstance(self.item, ButtonPress):
            return {"image_id": self.item.image_id, "button": self.item.button.value, "prompt": None}
        return {"image_id": "", "button": "", "prompt": _write_prompt(self.item, self.number)}


def read_job_item(image_id: str, button: str, prompt: str | None) -> JobItem:
    """Return the item of a job from its columns."""
    if prompt is None:
        return JobItem(ButtonPress(image_id, button))
    values: dict[str, Any] = json.loads(prompt)
    number = values.pop("number", 1)
    kind = _VERSIONS[values.pop("version")]
    known = {field.name for field in fields(kind)}
    return JobItem(kind(**{name: value for name, value in values.items() if name in known}), number)


def queue_of(button: str) -> str:
    """Return the name of the queue for a button. A prompt has an empty button."""
    return Button(button).kind if button else PROMPTS


@define
class ItemReader:
    """Reads the items of one input, and gives prompts their keys. The same input always results in the same jobs."""

    _keys: PromptKeys = field(factory=PromptKeys)

    def read(self, item: Item, position: str) -> Iterator[JobItem]:
        """Return the jobs of an item. A batch has one job for each image.

        Args:
            item: The item.
            position: Its position in the input, for error messages.

        Raises:
            ValueError: A different prompt in the input has the same key.
        """
        if not isinstance(item, ButtonPress):
            item = evolve(item, key=self._keys.give(item, position)[0])
        return (JobItem(item, number) for number in range(1, item.images + 1))


def _write_prompt(prompt: Prompt | SourcePrompt, number: int) -> str:
    version = next(version for version, kind in _VERSIONS.items() if isinstance(prompt, kind))
    values = {
        each.name: getattr(prompt, each.name)
        for each in fields(type(prompt))
        if each.name != "then" and (each.default is NOTHING or getattr(prompt, each.name) != each.default)
    }
    return orjson.dumps({"version": version, "number": number, **values}, option=orjson.OPT_SORT_KEYS).decode()
