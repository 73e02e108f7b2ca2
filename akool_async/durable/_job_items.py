"""What a job is for, as a store keeps it: a press by its image and button, a prompt by its key."""

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
"""The queue of prompts. Those of presses are named as what the button makes."""
_VERSIONS: Final[dict[str, type[Prompt | SourcePrompt]]] = {"v3": Prompt, "v4": SourcePrompt}


@frozen
class JobItem:
    """What one job is for: a press, or one image of a prompt."""

    item: Item
    """As it was submitted. A prompt has a key here."""
    number: int = 1
    """Which image of a batch it is."""

    @property
    def name(self) -> str:
        """What tells it from all others of its account. Image ids are not empty: no press has the name of a prompt."""
        if isinstance(self.item, ButtonPress):
            return f"{self.item.image_id}:{self.item.button}"
        return f":{self.key}"

    @property
    def posted(self) -> Item:
        """What its POST is for: each image of a batch has one of its own."""
        if isinstance(self.item, SourcePrompt):
            return evolve(self.item, batch_quantity=1, key=self.key, then=())
        return evolve(self.item, then=())

    @property
    def queue(self) -> str:
        """The kind of batch that it is part of."""
        return self.item.kind if isinstance(self.item, ButtonPress) else PROMPTS

    @property
    def key(self) -> str | None:
        """The key of a prompt; of a further image of a batch with its number."""
        if isinstance(self.item, ButtonPress):
            return None
        return key_of_image(self.item.key or "", self.number)

    def columns(self) -> dict[str, Any]:
        """The columns that say what it is for."""
        if isinstance(self.item, ButtonPress):
            return {"image_id": self.item.image_id, "button": self.item.button.value, "prompt": None}
        return {"image_id": "", "button": "", "prompt": _write_prompt(self.item, self.number)}


def read_job_item(image_id: str, button: str, prompt: str | None) -> JobItem:
    """What a job is for, of its columns."""
    if prompt is None:
        return JobItem(ButtonPress(image_id, button))
    values: dict[str, Any] = json.loads(prompt)
    number = values.pop("number", 1)
    made = _VERSIONS[values.pop("version")]
    known = {field.name for field in fields(made)}
    return JobItem(made(**{name: value for name, value in values.items() if name in known}), number)


def queue_of(button: str) -> str:
    """The kind of batch of a job, by its button; of a prompt's that is empty."""
    return Button(button).kind if button else PROMPTS


@define
class ItemReader:
    """Reads the items of one input. Prompts get their keys, so that the same input is always the same jobs."""

    _keys: PromptKeys = field(factory=PromptKeys)

    def read(self, item: Item, place: str) -> Iterator[JobItem]:
        """The jobs of an item: of a batch, one for each image.

        Args:
            item: The item.
            place: Where it stands in the input, for errors.

        Raises:
            ValueError: Another prompt of the input has its key, and asks for something else.
        """
        if not isinstance(item, ButtonPress):
            item = evolve(item, key=self._keys.give(item, place)[0])
        return (JobItem(item, number) for number in range(1, item.images + 1))


def _write_prompt(prompt: Prompt | SourcePrompt, number: int) -> str:
    version = next(version for version, made in _VERSIONS.items() if isinstance(prompt, made))
    values = {
        each.name: getattr(prompt, each.name)
        for each in fields(type(prompt))
        if each.name != "then" and (each.default is NOTHING or getattr(prompt, each.name) != each.default)
    }
    return orjson.dumps({"version": version, "number": number, **values}, option=orjson.OPT_SORT_KEYS).decode()
