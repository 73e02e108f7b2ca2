"""Keys that identify prompts: given by the caller, or derived from the content."""

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
"""Hexadecimal digits. With 8, the chance of equal keys among 10,000 prompts would be one in a hundred."""
MAX_KNOWN: Final = 100_000
"""Maximum number of keys of one input that are compared with each other."""
NOT_CONTENT: Final = ("then", "key")


def content_of(prompt: Prompt | SourcePrompt) -> str:
    """Return a short hash of what AKOOL gets. Prompts that differ only in ``then`` and ``key`` have the same hash."""
    names = [each.name for each in fields(type(prompt)) if each.name not in NOT_CONTENT]
    text = json.dumps([type(prompt).__name__, {name: getattr(prompt, name) for name in names}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def key_of_image(key: str, number: int) -> str:
    """Return the key of one image of a batch, counted from 1."""
    return key if number == 1 else f"{key}#{number}"


@define
class PromptKeys:
    """Gives keys to the prompts of one input. Each reading of the same input gives the same keys."""

    _times: Counter[str] = field(factory=Counter)
    """The number of prompts of each content so far."""
    _known: Recent[str, tuple[str, str]] = field(factory=lambda: Recent(MAX_KNOWN))
    """The content of each key, and the position of its prompt in the input."""

    def give(self, prompt: Prompt | SourcePrompt, position: str) -> list[str]:
        """Return the keys of a prompt's images: its ``key``, or its content, numbered if that came before.

        Args:
            prompt: The prompt.
            position: Its position in the input, for error messages.

        Raises:
            ValueError: A prompt of other content has one of the keys.
        """
        content = content_of(prompt)
        self._times[content] += 1
        times = self._times[content]
        key = prompt.key or (content if times == 1 else f"{content}-{times}")
        keys = [key_of_image(key, number) for number in range(1, prompt.images + 1)]
        if len(keys[-1]) > MAX_KEY_LENGTH:
            raise ValueError(f"key of a batch must have at most {MAX_KEY_LENGTH - 2} characters, not {key!r:.50}...")
        for each in keys:
            known, owner = self._known.get(each, (content, position))
            if known != content:
                raise ValueError(f"key {each!r:.200} belongs to {owner}, which is another prompt")
            self._known.setdefault(each, (content, position))
        return keys
