"""AKOOL's codes and refusals."""

from __future__ import annotations

SUCCESS = 1000
PARAMETER_ERROR = 1003
REQUIRES_VERIFICATION = 1004
TOO_FREQUENT = 1005
QUOTA_NOT_ENOUGH = 1006
NOT_EXISTING = 1008
NOT_OPERABLE = 1010
ALREADY_OPERATED = 1011
RESOURCE_NOT_EXISTING = 1014
AUTHORIZATION_INVALID = 1101
AUTHORIZATION_EMPTY = 1102
NOT_PAID = 1103
ACCOUNT_NOT_EXISTING = 1109
ACCOUNT_BANNED = 1200


class Refusal(Exception):  # noqa: N818 - a reply of the service, not an error of ours
    """A reply with a code other than 1000."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(code, msg)
        self.code = code
        self.msg = msg


def parameter_error(name: str) -> Refusal:
    """Return the refusal of a missing or wrong parameter."""
    return Refusal(PARAMETER_ERROR, f"parameter error or empty: {name}")
