"""Every error the library raises, and the table from AKOOL's codes to classes.

::

    AkoolError
    ├── ConfigurationError          no or conflicting credentials, an address that must not get a key (also ValueError)
    ├── TransportError              no reply: refused, reset, timed out
    ├── ResponseError               a reply that is not AKOOL's: HTML, empty, cut, too large, not JSON
    ├── APIError                    AKOOL answered with a code other than 1000
    │   ├── AuthenticationError     1101, 1102
    │   ├── InvalidParameterError   1003
    │   ├── RateLimitedError        1005, HTTP 429
    │   ├── InsufficientCreditError 1006, 1104
    │   ├── NotFoundError           1008
    │   ├── NotPermittedError       1009
    │   ├── NotOperableError        1010
    │   ├── GenerationError         1108
    │   └── AccountBannedError      1200
    ├── OutcomeUnknownError         a POST that spends credits was sent and its reply was lost
    ├── BudgetError                 pressing could pass max_credits; nothing was sent
    ├── OperationFailedError        image_status 4; carries the result
    ├── WaitTimeoutError            the caller's time is up, the job runs on (also TimeoutError)
    ├── PollingError                a long streak of failed polls, the job may run on
    ├── ResultExpiredError          7 days have passed
    ├── DownloadError               a picture could not be saved whole
    ├── SessionClosedError          the session was closed; carries the ids that were waited for
    └── WebhookError                a callback that is not AKOOL's

An argument that is wrong in itself is a plain ``ValueError``, raised before anything is sent.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from akool_async.models import ButtonPress, ImageResult


class AkoolError(Exception):
    """The root. ``operation_id`` and ``press`` say which operation an error is about, where it is about one."""

    operation_id: str | None = None
    press: ButtonPress | None = None

    def about(self, *, operation_id: str | None = None, press: ButtonPress | None = None) -> Self:
        """Note what the error is about, unless that is known already."""
        self.operation_id = self.operation_id or operation_id
        self.press = self.press or press
        return self

    def fresh(self) -> Self:
        """A copy for one more caller: a raised error collects that caller's traceback and notes."""
        twin = copy.copy(self)
        twin.__cause__ = self.__cause__
        return twin

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else type(self).__name__
        if self.press is not None:
            message += f" [button {self.press}]"
        if self.operation_id is not None:
            message += f" [operation {self.operation_id}]"
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call the class with its args, which fits no constructor with keywords.
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(cls: type[AkoolError], args: tuple[Any, ...]) -> AkoolError:
    error = cls.__new__(cls)
    error.args = args
    return error


class ConfigurationError(AkoolError, ValueError):
    """The session cannot be set up like this; raised before any request."""


class TransportError(AkoolError):
    """No reply was read: the connection was refused, reset or timed out.

    ``delivered`` is False where the request surely never reached AKOOL, None where it may have.
    """

    def __init__(self, message: str, *, delivered: bool | None = None) -> None:
        super().__init__(message)
        self.delivered = delivered


class ResponseError(AkoolError):
    """A reply that is not AKOOL's: HTML, empty, cut, too large, not JSON, or without what it must have."""

    def __init__(self, message: str, *, http_status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.retry_after = retry_after


class APIError(AkoolError):
    """AKOOL answered with a code other than 1000. A code not known here keeps its number and text in this class."""

    hint = "a code this version does not know"

    def __init__(self, code: int, msg: str, http_status: int = 200, *, retry_after: float | None = None) -> None:
        super().__init__(f"AKOOL answered {code} {msg!r} (HTTP {http_status}): {self.hint}")
        self.code = code
        self.msg = msg
        self.http_status = http_status
        self.retry_after = retry_after
        """Seconds to wait, where a Retry-After header told them."""


class AuthenticationError(APIError):
    """1101, 1102: the key, the pair or the token is not valid."""

    hint = "check the API key, or the client id and secret"


class InvalidParameterError(APIError):
    """1003: a parameter is wrong or empty."""

    hint = "a parameter is wrong or empty"


class RateLimitedError(APIError):
    """1005 or HTTP 429: too many at once; not accepted, nothing charged."""

    hint = "too many at once; lower max_concurrent_upscales or max_concurrent_operations, or wait"


class InsufficientCreditError(APIError):
    """1006, 1104: the account's credit does not suffice."""

    hint = "the account's credit does not suffice"


class NotFoundError(APIError):
    """1008: no such image."""

    hint = "no such image; its _id is wrong, of another account, or older than 7 days"


class NotPermittedError(APIError):
    """1009: the account may not do this."""

    hint = "the account may not do this"


class NotOperableError(APIError):
    """1010: the image does not take this operation, for example because the button is used."""

    hint = "the button is used or not available, or the image is not finished"


class GenerationError(APIError):
    """1108: AKOOL could not generate; to be tried again later."""

    hint = "AKOOL could not generate; try again later"


class AccountBannedError(APIError):
    """1200: the account is banned."""

    hint = "the account is banned"


ERROR_CLASSES: dict[int, type[APIError]] = {
    1003: InvalidParameterError,
    1005: RateLimitedError,
    1006: InsufficientCreditError,
    1008: NotFoundError,
    1009: NotPermittedError,
    1010: NotOperableError,
    1101: AuthenticationError,
    1102: AuthenticationError,
    1104: InsufficientCreditError,
    1108: GenerationError,
    1200: AccountBannedError,
}


class OutcomeUnknownError(AkoolError):
    """A POST that spends credits was sent and its reply was lost. It is never sent again blindly.

    ``charged`` is True where AKOOL was found to have accepted it, None where that cannot be told.
    """

    def __init__(self, message: str, *, charged: bool | None = None) -> None:
        super().__init__(message)
        self.charged = charged


class BudgetError(AkoolError):
    """Pressing could have passed the ``max_credits`` of a fan-out; nothing was sent."""

    def __init__(self, *, max_credits: float, charged: float, price: float) -> None:
        super().__init__(
            f"not pressed: {charged:g} of max_credits={max_credits:g} are charged, and a press may cost {price:g}"
        )
        self.max_credits = max_credits
        self.charged = charged
        """Credits that this fan-out may have been charged so far."""
        self.price = price


class OperationFailedError(AkoolError):
    """AKOOL ended the operation with image_status 4; ``result`` holds it."""

    def __init__(self, result: ImageResult) -> None:
        reasons = "; ".join(result.error_reasons) or "AKOOL gave no reason"
        super().__init__(f"AKOOL could not make this image: {reasons}")
        self.result = result
        self.operation_id = result.id


class WaitTimeoutError(AkoolError, TimeoutError):
    """The caller's time is up. The job runs on: wait again with ``session.operation(error.operation_id)``."""

    def __init__(self, operation_id: str, timeout: float, status: int | None) -> None:
        super().__init__(
            f"not finished within {timeout:g} s (last status {status}); it runs on, wait again with "
            f"session.operation({operation_id!r})"
        )
        self.operation_id = operation_id
        self.timeout = timeout
        self.status = status


class PollingError(AkoolError):
    """A long streak of failed polls ended the wait; the job may run on."""

    def __init__(self, operation_id: str, *, status: int | None, age: float, reason: str) -> None:
        super().__init__(
            f"Get Image Result kept failing (last status {status}, {age:.0f} s after the wait began); last: {reason}"
        )
        self.operation_id = operation_id
        self.status = status
        self.age = age
        """Seconds since this process began to watch the operation."""


class ResultExpiredError(AkoolError):
    """AKOOL keeps results for 7 days; these have passed."""


class DownloadError(AkoolError):
    """A picture could not be saved whole; nothing was overwritten."""


class SessionClosedError(AkoolError):
    """The session was closed. ``operation_ids`` can be waited for in another session."""

    def __init__(self, message: str = "the session is closed", *, operation_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.operation_ids = operation_ids
        self.operation_id = operation_ids[0] if len(operation_ids) == 1 else None


class WebhookError(AkoolError):
    """A callback that is not AKOOL's."""
