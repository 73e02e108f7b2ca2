"""What webhooks say of operations: a hint to look, never the truth, and whether they can be counted on."""

from __future__ import annotations

from typing import Final

from akool_async._limits.recent import Recent

MOST_PER_OPERATION: Final = 3
"""Looks that hints can cause at one operation; the ordinary schedule goes on beyond them."""
MORE_EACH_TIME: Final = 8
MOST_NEEDED: Final = 512


class WebhookStatistics:
    """Whether webhooks come, and the ids of those that came before the reply to their POST."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._needed = 1
        self._early: Recent[str, None] = Recent()

    @property
    def are_reliable(self) -> bool:
        """True once so many came in a row as it takes: one, and more each time after that was found wrong."""
        return self._in_a_row >= self._needed

    def came(self) -> None:
        """An operation ended, and its webhook told of it."""
        self._in_a_row += 1

    def failed_to_come(self) -> None:
        """An operation ended, and no webhook told of it: some are lost, or go to other processes."""
        if self.are_reliable:
            self._needed = min(MORE_EACH_TIME * self._needed, MOST_NEEDED)
        self._in_a_row = 0

    def keep(self, image_id: str) -> None:
        """Of an operation not known here: its POST may be under way, or it is another process's."""
        self._early[image_id] = None

    def take(self, image_id: str) -> bool:
        """True where a hint came before the operation was known."""
        if image_id not in self._early:
            return False
        del self._early[image_id]
        return True
