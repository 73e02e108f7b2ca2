"""What webhooks say of operations: a hint to look, never the truth, and whether they can be counted on."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST_EARLY: Final = 10_000
MOST_PER_OPERATION: Final = 3
"""Looks that hints can cause at one operation; the ordinary schedule goes on beyond them."""
FALLBACK_INTERVAL: Final = 60.0
"""Seconds between looks at an operation whose webhook is counted on; AKOOL's jobs hardly ever take longer."""


class Hints:
    """Whether webhooks come, and the ids of those that came before the reply to their POST."""

    def __init__(self) -> None:
        self.are_reliable = False
        """True where the last operation that ended was told of by a webhook."""
        self._early: OrderedDict[str, None] = OrderedDict()

    def keep(self, image_id: str) -> None:
        """Of an operation not known here: its POST may be under way, or it is another process's."""
        self._early[image_id] = None
        if len(self._early) > MOST_EARLY:
            self._early.popitem(last=False)

    def take(self, image_id: str) -> bool:
        """True where a hint came before the operation was known."""
        if image_id not in self._early:
            return False
        del self._early[image_id]
        return True
