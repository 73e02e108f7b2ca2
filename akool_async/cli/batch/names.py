"""Names for people, which file names begin with: from the file of a batch, or some words of a prompt."""

from __future__ import annotations

import unicodedata
from typing import Final

from akool_async import _validate
from akool_async.cli.output.stderr import plain

MAX_SHORT_NAME: Final = 40
"""Characters."""
MAX_NAME_SIZE: Final = 120
"""Bytes in UTF-8. The buttons of a deep tree must fit into a file name too."""
WITHOUT_WORDS: Final = "prompt"
"""The name of a prompt without letters and digits."""
VARIATION_SELECTORS: Final = frozenset(map(chr, range(0xFE00, 0xFE10)))
"""Invisible marks, such as after an emoji."""
WORD_CATEGORIES: Final = frozenset("LMN")
"""The Unicode categories of letters, of marks on them, and of digits."""


def check_name(value: object) -> str:
    """Return a name from a file, normalized.

    Raises:
        ValueError: The name cannot be part of a file name.
    """
    if not isinstance(value, str):
        raise ValueError(f"name must be a text, not {value!r:.200}")  # noqa: TRY004 - bad input is ValueError
    name = unicodedata.normalize("NFC", _validate.file_name("name", value.strip()))
    if plain(name) != name:
        raise ValueError(f"name must not hold invisible characters, as {name!r:.200} does")
    if len(name.encode()) > MAX_NAME_SIZE:
        raise ValueError(f"name must have at most {MAX_NAME_SIZE} bytes in UTF-8, since file names begin with it")
    return name


def short_name(prompt: str) -> str:
    """Return the first words of a prompt, in small letters."""
    text = unicodedata.normalize("NFC", prompt.lower())
    words = "".join(letter if _is_of_word(letter) else " " for letter in text).split()
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word
        if not _is_short(longer):
            break
        name = longer
    return name or _cut("".join(words[:1])) or WITHOUT_WORDS


def _is_of_word(letter: str) -> bool:
    return unicodedata.category(letter)[0] in WORD_CATEGORIES and letter not in VARIATION_SELECTORS


def _is_short(name: str) -> bool:
    return len(name) <= MAX_SHORT_NAME and len(name.encode()) <= MAX_NAME_SIZE


def _cut(word: str) -> str:
    while not _is_short(word):
        word = word[: min(len(word) - 1, MAX_SHORT_NAME)]
    return word
