"""Which press a webhook belongs to: each gets a word of its own in its ``webhookUrl``, which nobody else can guess.

A lost reply loses the new id, and AKOOL has no list to find it in. The webhook carries it, and comes to the address
with the word.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from akool_async.models import ButtonPress

PARAMETER: Final = "akool_press"
"""The word's name in the query of the address."""
MOST_IMAGES: Final = 4
"""Images of one POST; what a webhook tells beyond them is not kept."""
REMEMBERED: Final = 10_000
"""POSTs of unknown outcome of which a webhook may still tell."""


class Callback:
    """What is told by webhook of one POST."""

    __slots__ = ("_bell", "_closed", "_told", "_untaken", "url", "word")

    def __init__(self, url: str | None, word: str | None) -> None:
        self.url = url
        """What AKOOL is to call."""
        self.word = word
        """None where the address is not this session's."""
        self._told: set[str] = set()
        self._untaken: list[str] = []
        self._bell: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def has_told(self) -> bool:
        """True once it told an id."""
        return bool(self._told)

    def tell(self, image_id: str) -> None:
        """AKOOL calls with an id."""
        if image_id not in self._told and len(self._told) < MOST_IMAGES:
            self._told.add(image_id)
            self._untaken.append(image_id)
            self._ring()

    def close(self) -> None:
        """Nothing is waited for any more."""
        self._closed = True
        self._ring()

    async def next_id(self) -> str | None:
        """The next id that is told; None where there will be none."""
        while not self._untaken and not self._closed and self.word is not None:
            self._bell = asyncio.get_running_loop().create_future()
            await self._bell
        return self._untaken.pop(0) if self._untaken else None

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)


class Callbacks:
    """The callbacks of one session, by their words."""

    def __init__(self, webhook_url: str | None) -> None:
        self._webhook_url = webhook_url
        self._expected: dict[str, Callback] = {}
        self._lost: OrderedDict[str, ButtonPress | None] = OrderedDict()

    def expect(self, webhook_url: str | None) -> Callback:
        """For one POST. Only the session's own address gets a word: another may lead to whoever does not know it."""
        if webhook_url is None or webhook_url != self._webhook_url:
            return Callback(webhook_url, None)
        word = secrets.token_urlsafe(16)
        callback = self._expected[word] = Callback(_with_word(webhook_url, word), word)
        return callback

    def end(self, callback: Callback) -> None:
        """The POST's outcome is known, or given up."""
        if callback.word is not None:
            self._expected.pop(callback.word, None)

    def remember_lost(self, callback: Callback, press: ButtonPress | None) -> None:
        """The outcome stayed unknown; the webhook may still come."""
        if callback.word is not None:
            self._lost[callback.word] = press
            if len(self._lost) > REMEMBERED:
                self._lost.popitem(last=False)

    def tell(self, word: str, image_id: str) -> bool:
        """A webhook came: True where its POST is under way."""
        callback = self._expected.get(word)
        if callback is not None:
            callback.tell(image_id)
        return callback is not None

    def is_lost(self, word: str) -> bool:
        """True where the outcome of this POST stayed unknown."""
        return word in self._lost

    def lost_press(self, word: str) -> ButtonPress | None:
        """The press; None for a prompt."""
        return self._lost[word]

    def close(self) -> None:
        """Nothing is waited for any more."""
        for callback in self._expected.values():
            callback.close()


def _with_word(url: str, word: str) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode({PARAMETER: word})]))
    return urlunsplit(parts._replace(query=query))
