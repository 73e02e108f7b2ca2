"""Keys of prompts, which have no natural name: given by the caller, or derived from what is asked for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import define, field, fields

from akool_async._limits.recent import Recent
from akool_async.items import MAX_KEY_LENGTH

if TYPE_CHECKING:
    from akool_async.items import Prompt, SourcePrompt

KEY_LENGTH: Final = 12
"""Hexadecimal digits: with 8, two of 10,000 prompts would be the same once in a hundred times."""
MAX_KNOWN: Final = 100_000
"""Keys of one input that are compared with each other."""
NOT_CONTENT: Final = ("then", "key")


def content_of(prompt: Prompt | SourcePrompt) -> str:
    """What AKOOL is asked for, as a short hash: the same for two prompts that differ in ``then`` and ``key`` alone."""
    names = [each.name for each in fields(type(prompt)) if each.name not in NOT_CONTENT]
    text = json.dumps([type(prompt).__name__, {name: getattr(prompt, name) for name in names}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def key_of_image(key: str, number: int) -> str:
    """The key of one image of a batch, counted from 1."""
    return key if number == 1 else f"{key}#{number}"


@define
class PromptKeys:
    """The keys of one input, in which the same prompts have the same keys, whenever it is read again."""

    _times: Counter[str] = field(factory=Counter)
    """How often each content came."""
    _known: Recent[str, tuple[str, str]] = field(factory=lambda: Recent(MAX_KNOWN))
    """The content of each key, and where it came from."""

    def give(self, prompt: Prompt | SourcePrompt, place: str) -> list[str]:
        """The keys of a prompt's images: its own key, or its content with how often that came before.

        Args:
            prompt: The prompt.
            place: Where it stands in the input, for errors.

        Raises:
            ValueError: Another prompt has one of the keys, and asks for something else.
        """
        content = content_of(prompt)
        self._times[content] += 1
        times = self._times[content]
        key = prompt.key or (content if times == 1 else f"{content}-{times}")
        keys = [key_of_image(key, number) for number in range(1, prompt.images + 1)]
        if len(keys[-1]) > MAX_KEY_LENGTH:
            raise ValueError(f"key of a batch must be of at most {MAX_KEY_LENGTH - 2} characters, not {key!r:.50}...")
        for each in keys:
            known, where = self._known.get(each, (content, place))
            if known != content:
                raise ValueError(f"key {each!r:.200} is that of {where}, which asks for something else")
            self._known.setdefault(each, (content, place))
        return keys
