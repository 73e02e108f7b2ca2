"""What AKOOL charges, and what its replies say that it charges."""

from __future__ import annotations

from collections import UserDict

from akool_async.emulator._options import is_count, require

PRICES = {"prompt": 2, "upscale": 2, "variation": 2, "4k": 4, "1080p": 3}
"""Credits of each image, as AKOOL charged them in October 2026; the resolutions are Create By Source Prompt's."""


class Prices(UserDict[str, int]):
    """Credits by kind of image; can be changed while the emulator serves."""

    def __setitem__(self, kind: str, price: int) -> None:
        """Change one price.

        Raises:
            ValueError: for a kind that does not exist, or a price that is not a whole number of at least 0.
        """
        require("kind of a price", kind, kind in PRICES, f"one of {', '.join(PRICES)}")
        require(f"price of {kind}", price, is_count(price), "a whole number of credits of at least 0")
        super().__setitem__(kind, price)
