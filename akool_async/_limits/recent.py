"""A mapping of limited size."""

from collections import OrderedDict
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

CACHE_SIZE: Final = 10_000


class Recent(OrderedDict[K, V]):
    """A mapping of the newest ``size`` entries. Adding one more drops the oldest."""

    def __init__(self, size: int = CACHE_SIZE) -> None:
        super().__init__()
        self._size = size

    def __setitem__(self, key: K, value: V) -> None:
        """Set an entry; a new one is the newest."""
        super().__setitem__(key, value)
        if len(self) > self._size:
            self.popitem(last=False)
