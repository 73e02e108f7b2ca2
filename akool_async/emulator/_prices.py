"""The prices that AKOOL charges and reports."""

from __future__ import annotations

from collections import UserDict

from akool_async.emulator._options import is_count, require

PRICES = {"prompt": 2, "upscale": 2, "variation": 2, "4k": 4, "1080p": 3}
"""Credits for each image, as of October 2026. The two resolutions are those of Create By Source Prompt."""


class Prices(UserDict[str, int]):
    """Credits by kind of image, changeable at any time."""

    def __setitem__(self, kind: str, price: int) -> None:
        """Change one price.

        Raises:
            ValueError: The kind does not exist, or the price is not a whole number of at least 0.
        """
        require("kind of a price", kind, kind in PRICES, f"one of {', '.join(PRICES)}")
        require(f"price of {kind}", price, is_count(price), "a whole number of credits of at least 0")
        super().__setitem__(kind, price)
