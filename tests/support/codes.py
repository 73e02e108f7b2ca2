"""The expected meaning of each of AKOOL's codes, at each place that decides by codes."""

import attrs
import pytest

from akool_async import (
    AccountBannedError,
    AlreadyUsedError,
    APIError,
    AuthenticationError,
    GenerationError,
    InsufficientCreditError,
    InvalidParameterError,
    NotFoundError,
    NotOperableError,
    NotPermittedError,
    RateLimitedError,
)


@attrs.frozen
class Expected:
    """The expected meaning of one code."""

    error: type[APIError]
    hint: str = "a code that this version does not know"
    """Part of the error's text."""
    is_paced: bool = False
    """A press is sent again."""
    is_read_again: bool = False
    """A read is sent again."""
    ends_wait: bool = False
    """A poll that is answered so is the last."""
    ends_presses: bool = False
    """No further press of the account is sent."""
    results_can_be_read: bool = True
    """A worker whose presses end waits for what was paid for."""
    proves_press: bool = False
    """After a lost reply: the press was taken, and charged."""
    status: int = 3
    """The exit status of a command that pressed."""
    remedy: str | None = None
    """Part of what the command line advises."""


UNVERIFIED = Expected(NotPermittedError, "verified", ends_wait=True, ends_presses=True, status=1, remedy="Verify")
NO_CREDIT = Expected(InsufficientCreditError, "too little credit", ends_presses=True, remedy="akool credit")
UNPAID = Expected(InsufficientCreditError, "unpaid", ends_presses=True, status=1, remedy="Pay what is due")
NOT_FOUND = Expected(NotFoundError, "no such image", ends_wait=True)
WRONG_KEY = Expected(
    AuthenticationError,
    "check the API key",
    ends_wait=True,
    ends_presses=True,
    results_can_be_read=False,
    status=1,
    remedy="Set AKOOL_API_KEY",
)
OTHER = Expected(APIError)

EXPECTED = {
    1003: Expected(InvalidParameterError, "a parameter is wrong", ends_wait=True),
    1004: UNVERIFIED,
    1005: Expected(RateLimitedError, "too many at a time", is_paced=True, is_read_again=True),
    1006: NO_CREDIT,
    1007: OTHER,
    1008: NOT_FOUND,
    1009: Expected(NotPermittedError, "may not do this", ends_wait=True),
    1010: Expected(NotOperableError, "not available", proves_press=True),
    1011: Expected(AlreadyUsedError, "used before", proves_press=True),
    1013: OTHER,
    1014: NOT_FOUND,
    1015: OTHER,
    1016: OTHER,
    1017: OTHER,
    1101: WRONG_KEY,
    1102: WRONG_KEY,
    1103: UNPAID,
    1104: NO_CREDIT,
    1105: OTHER,
    1108: Expected(GenerationError, "try again later", is_read_again=True),
    1109: attrs.evolve(WRONG_KEY, hint="no such account"),
    1110: OTHER,
    1111: OTHER,
    1112: OTHER,
    1200: Expected(
        AccountBannedError,
        "banned",
        ends_wait=True,
        ends_presses=True,
        results_can_be_read=False,
        status=1,
        remedy="support",
    ),
    1201: OTHER,
    1206: OTHER,
    1999: OTHER,
    4711: OTHER,
}
"""The codes of AKOOL's error-code page, of its other products, and of the future."""
OF_ACCOUNT = {code: expected for code, expected in EXPECTED.items() if expected.ends_presses}
OF_PRESS = {code: expected for code, expected in EXPECTED.items() if not expected.ends_presses}
ONE_OF_EACH = {(expected.error, expected.status): code for code, expected in OF_ACCOUNT.items()}.values()
"""Of the account's trouble, a code of each kind."""

each_code = pytest.mark.parametrize(("code", "expected"), EXPECTED.items(), ids=map(str, EXPECTED))
one_of_each = pytest.mark.parametrize(
    ("code", "expected"), [(code, EXPECTED[code]) for code in ONE_OF_EACH], ids=map(str, ONE_OF_EACH)
)
