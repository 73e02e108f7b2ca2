"""The account: its credentials, state and tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from akool_async.emulator._options import require
from akool_async.emulator._refusals import (
    ACCOUNT_BANNED,
    ACCOUNT_NOT_EXISTING,
    AUTHORIZATION_EMPTY,
    AUTHORIZATION_INVALID,
    NOT_PAID,
    REQUIRES_VERIFICATION,
    Refusal,
    parameter_error,
)

if TYPE_CHECKING:
    import random

    from akool_async.emulator._clock import Clock
    from akool_async.emulator._ledger import Ledger

ACTIVE = "active"
NO_SPENDING = {
    "unpaid": (NOT_PAID, "not paid, or the payment is overdue"),
    "unverified": (REQUIRES_VERIFICATION, "the account requires verification"),
}
"""States in which requests that cost credits are refused."""
NO_ACCESS = {
    "missing": (ACCOUNT_NOT_EXISTING, "the account does not exist"),
    "banned": (ACCOUNT_BANNED, "the account is banned"),
}
"""States in which every request is refused."""
STATES = (ACTIVE, *NO_SPENDING, *NO_ACCESS)


class Account:
    """One account.

    Args:
        clock: The service's clock.
        ledger: Counts the tokens.
        rng: Draws the keys and tokens.
        token_lifetime: Seconds until a token expires; None for never.
    """

    def __init__(self, *, clock: Clock, ledger: Ledger, rng: random.Random, token_lifetime: float | None) -> None:
        self._clock = clock
        self._ledger = ledger
        self._rng = rng
        self._token_lifetime = math.inf if token_lifetime is None else token_lifetime
        self._token_ends: dict[str, float] = {}
        self._state = ACTIVE
        self.api_key = f"emulated-key-{rng.getrandbits(64):016x}"
        self.client_id = f"{rng.getrandbits(96):024x}"
        self.client_secret = f"{rng.getrandbits(96):024x}"

    @property
    def state(self) -> str:
        """One of ``STATES``."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        require("account_state", state, state in STATES, f"one of {', '.join(STATES)}")
        self._state = state

    def issue_token(self, client_id: object, client_secret: object) -> str:
        """Get Token."""
        if not client_id or not client_secret:
            raise parameter_error("clientId and clientSecret")
        if (client_id, client_secret) != (self.client_id, self.client_secret):
            raise Refusal(AUTHORIZATION_INVALID, "clientId or clientSecret is invalid")
        self._raise_if_in(NO_ACCESS)
        token = f"emulated-token-{self._rng.getrandbits(64):016x}"
        self._token_ends[token] = self._clock.now() + self._token_lifetime
        self._ledger.tokens_issued += 1
        return token

    def expire_tokens(self) -> None:
        """Expire every token."""
        self._token_ends.clear()

    def authenticate(self, authorization: str | None, api_key: str | None) -> None:
        """Check a request's credentials. If both headers are sent, Authorization counts."""
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or self._clock.now() >= self._token_ends.get(token, 0.0):
                raise Refusal(AUTHORIZATION_INVALID, "authorization is invalid or the token has expired")
        elif not api_key:
            raise Refusal(AUTHORIZATION_EMPTY, "authorization cannot be empty")
        elif api_key == self.client_id:
            raise Refusal(*NO_ACCESS["missing"])
        elif api_key != self.api_key:
            raise Refusal(AUTHORIZATION_INVALID, "authorization is invalid")
        self._raise_if_in(NO_ACCESS)

    def raise_unless_it_may_spend(self) -> None:
        """Refuse to spend for an unpaid or unverified account, which can only read."""
        self._raise_if_in(NO_SPENDING)

    def _raise_if_in(self, states: dict[str, tuple[int, str]]) -> None:
        if self._state in states:
            raise Refusal(*states[self._state])
