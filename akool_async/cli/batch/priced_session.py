"""A session that knows the prices of earlier runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async import AkoolSession
from akool_async._limits.credits import EXPECTED_PRICES

if TYPE_CHECKING:
    from akool_async._limits.credits import Prices
    from akool_async.polling import Polling


class PricedSession(AkoolSession):
    """A session whose budgets use the prices of earlier runs from the first press on."""

    @property
    def polling(self) -> Polling:
        """The schedule of this session."""
        return self._settings.polling

    def expect_prices(self, prices: Prices) -> None:
        """Use the prices of earlier runs."""
        for kind in EXPECTED_PRICES:
            last, _ = prices.of(kind)
            if last is not None:
                self._journal.account.prices.learn(kind, last)
