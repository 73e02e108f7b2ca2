"""Every error that the library raises, and the table from AKOOL's codes to classes.

::

    AkoolError
    ├── ConfigurationError          no or conflicting credentials, an address that must not get a key (also ValueError)
    ├── TransportError              no reply: refused, reset, timed out
    ├── ResponseError               a reply that is not AKOOL's: HTML, empty, cut, too large, not JSON
    ├── APIError                    AKOOL answered with a code other than 1000
    │   ├── AuthenticationError     1101, 1102, 1109
    │   ├── InvalidParameterError   1003
    │   ├── RateLimitedError        1005, HTTP 429
    │   ├── InsufficientCreditError 1006, 1103, 1104
    │   ├── NotFoundError           1008, 1014
    │   ├── NotPermittedError       1004, 1009
    │   ├── NotOperableError        1010
    │   │   └── AlreadyUsedError    1011
    │   ├── GenerationError         1108
    │   └── AccountBannedError      1200
    ├── OutcomeUnknownError         a POST that spends credits was sent and its reply was lost
    ├── BudgetError                 pressing could pass max_credits; nothing was sent
    ├── NotPressedError             the image to press was not made; nothing was sent
    ├── OperationFailedError        image_status 4; carries the result
    ├── WaitTimeoutError            the caller's timeout is over, the job runs on (also TimeoutError)
    ├── PollingError                polls failed for a long time, the job may run on
    ├── ResultExpiredError          the result is older than 7 days
    ├── DownloadError               a picture could not be saved whole
    ├── SessionClosedError          the session was closed; carries the ids of running operations
    └── WebhookError                a callback that does not come from AKOOL

A wrong argument raises a plain ``ValueError`` before anything is sent.

.. include:: _submit/README.md
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import frozen

if TYPE_CHECKING:
    from akool_async.items import ButtonPress, Prompt, SourcePrompt
    from akool_async.models import ImageResult


__all__ = [
    "CODES",
    "APIError",
    "AccountBannedError",
    "AkoolError",
    "AlreadyUsedError",
    "AuthenticationError",
    "BudgetError",
    "Code",
    "ConfigurationError",
    "DownloadError",
    "GenerationError",
    "InsufficientCreditError",
    "InvalidParameterError",
    "NotFoundError",
    "NotOperableError",
    "NotPermittedError",
    "NotPressedError",
    "OperationFailedError",
    "OutcomeUnknownError",
    "PollingError",
    "RateLimitedError",
    "ResponseError",
    "ResultExpiredError",
    "SessionClosedError",
    "TransportError",
    "WaitTimeoutError",
    "WebhookError",
]


class AkoolError(Exception):
    """The base class of all errors. All of them pickle and copy, and none shows a key."""

    operation_id: str | None = None
    """The id of the operation that the error is about; None if it is about no operation, or its id is not known."""
    press: ButtonPress | None = None
    """The press that the error is about; None if it is about no press."""
    prompt: Prompt | SourcePrompt | None = None
    """The prompt that the error is about; None if it is about no prompt."""
    retry_after: float | None = None
    """Seconds to wait before the next try, from AKOOL's Retry-After header; None if there was none."""

    def about(
        self,
        *,
        operation_id: str | None = None,
        press: ButtonPress | None = None,
        prompt: Prompt | SourcePrompt | None = None,
    ) -> Self:
        """Record what the error is about, and return it. What was recorded earlier stays.

        Args:
            operation_id: The operation's id.
            press: The press.
            prompt: The prompt.
        """
        self.operation_id = self.operation_id or operation_id
        self.press = self.press or press
        self.prompt = self.prompt or prompt
        return self

    def fresh(self) -> Self:
        """Return a copy for another caller, since a raised error collects its caller's traceback and notes."""
        twin = copy.copy(self)
        twin.__cause__ = self.__cause__
        return twin

    def __str__(self) -> str:
        message = str(self.args[0]) if self.args else type(self).__name__
        if self.press is not None:
            message += f" [button {self.press}]"
        if self.prompt is not None:
            message += f" [{self.prompt}]"
        if self.operation_id is not None:
            message += f" [operation {self.operation_id}]"
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException's would call the class with ``args`` alone, which fails for constructors with keywords.
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(cls: type[AkoolError], args: tuple[Any, ...]) -> AkoolError:
    error = cls.__new__(cls)
    error.args = args
    return error


class ConfigurationError(AkoolError, ValueError):
    """The session cannot be set up or used like this.

    Raised before any request, except if a polling schedule returns something other than seconds.
    """


class TransportError(AkoolError):
    """No reply was read: the connection was refused, reset or timed out.

    Attributes:
        delivered: False if the request certainly did not reach AKOOL, None if it may have.
    """

    def __init__(self, message: str, *, delivered: bool | None = None) -> None:
        super().__init__(message)
        self.delivered = delivered


class ResponseError(AkoolError):
    """A reply that cannot be read: HTML, empty, cut, too large, not JSON, or without a required field.

    Attributes:
        http_status: The reply's HTTP status, if known.
    """

    def __init__(self, message: str, *, http_status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.retry_after = retry_after


class APIError(AkoolError):
    """AKOOL answered with a code other than 1000. Codes without a subclass below are raised as this class.

    Attributes:
        code: AKOOL's code.
        msg: AKOOL's message.
        http_status: The reply's HTTP status.
    """

    hint = "a code that this version does not know"
    """What went wrong, in plain English."""

    def __init__(self, code: int, msg: str, http_status: int = 200, *, retry_after: float | None = None) -> None:
        hint = CODES[code].hint if code in CODES and isinstance(self, CODES[code].error) else self.hint
        super().__init__(f"AKOOL answered {code} {msg!r} (HTTP {http_status}): {hint}")
        self.code = code
        self.msg = msg
        self.http_status = http_status
        self.retry_after = retry_after


class AuthenticationError(APIError):
    """1101, 1102, 1109: the key, the pair or the token is not valid, or its account does not exist."""

    hint = "check the API key, or the client id and secret"


class InvalidParameterError(APIError):
    """1003: a parameter is wrong or empty."""

    hint = "a parameter is wrong or empty"


class RateLimitedError(APIError):
    """1005 or HTTP 429: too many operations or requests. Nothing was accepted or charged."""

    hint = "too many at a time; lower max_concurrent_upscales or max_concurrent_operations, or wait"


class InsufficientCreditError(APIError):
    """1006, 1104: the account has too little credit. 1103: the account is unpaid."""

    hint = "the account has too little credit"


class NotFoundError(APIError):
    """1008, 1014: no such image."""

    hint = "no such image; its _id is wrong or belongs to another account, or it is older than 7 days"


class NotPermittedError(APIError):
    """1009: the account may not do this. 1004: it must be verified first."""

    hint = "the account may not do this"


class NotOperableError(APIError):
    """1010: the button cannot be pressed, for example because it is used."""

    hint = "the button is used or not available, or the image is not finished"


class AlreadyUsedError(NotOperableError):
    """1011: the button was used before. After a lost reply, this proves that AKOOL accepted the press."""

    hint = "the button was used before"


class GenerationError(APIError):
    """1108: AKOOL could not generate the image. Try again later."""

    hint = "AKOOL could not generate the image; try again later"


class AccountBannedError(APIError):
    """1200: the account is banned."""

    hint = "the account is banned"


@frozen
class Code:
    """The meaning of one of AKOOL's codes."""

    error: type[APIError]
    """The class that is raised."""
    hint: str
    """What went wrong, in plain English."""
    is_of_account: bool = False
    """True if the account's other presses would be refused as well, so that a fan-out stops."""


CODES: Final = {
    1003: Code(InvalidParameterError, InvalidParameterError.hint),
    1004: Code(NotPermittedError, "the account must be verified first", is_of_account=True),
    1005: Code(RateLimitedError, RateLimitedError.hint),
    1006: Code(InsufficientCreditError, InsufficientCreditError.hint, is_of_account=True),
    1008: Code(NotFoundError, NotFoundError.hint),
    1009: Code(NotPermittedError, NotPermittedError.hint),
    1010: Code(NotOperableError, NotOperableError.hint),
    1011: Code(AlreadyUsedError, AlreadyUsedError.hint),
    1014: Code(NotFoundError, NotFoundError.hint),
    1101: Code(AuthenticationError, AuthenticationError.hint, is_of_account=True),
    1102: Code(AuthenticationError, AuthenticationError.hint, is_of_account=True),
    1103: Code(InsufficientCreditError, "the account is unpaid, or its payment is overdue", is_of_account=True),
    1104: Code(InsufficientCreditError, InsufficientCreditError.hint, is_of_account=True),
    1108: Code(GenerationError, GenerationError.hint),
    1109: Code(
        AuthenticationError,
        "no such account; check the API key, which is not the client id, or the client id and secret",
        is_of_account=True,
    ),
    1200: Code(AccountBannedError, AccountBannedError.hint, is_of_account=True),
}
"""The codes of AKOOL's error-code page that concern images. All others raise :class:`APIError`."""


def codes_of(kind: type[APIError]) -> tuple[int, ...]:
    """Return the codes that raise this class or a subclass of it, in ascending order."""
    return tuple(code for code, known in CODES.items() if issubclass(known.error, kind))


class OutcomeUnknownError(AkoolError):
    """The reply to a POST that spends credits was lost. The POST is never sent again blindly.

    Attributes:
        charged: True if AKOOL accepted it and charged for it, None if nothing shows whether it did.
        unread: Why the source image could not be read; ``session.reconcile`` may find out more later. None if it was
            read, or if there is no source image.
    """

    def __init__(self, message: str, *, charged: bool | None = None, unread: AkoolError | None = None) -> None:
        super().__init__(message)
        self.charged = charged
        self.unread = None if unread is None else copy.copy(unread)  # without its frames, since this may be kept


class BudgetError(AkoolError):
    """A press or a prompt could have exceeded the ``max_credits`` of a fan-out; nothing was sent.

    Attributes:
        max_credits: The budget.
        charged: Credits that this fan-out may have been charged so far.
        price: Credits that the press or the prompt may cost.
    """

    def __init__(self, *, max_credits: float, charged: float, price: float) -> None:
        super().__init__(
            f"not sent: {charged:g} of max_credits={max_credits:g} are charged, and this may cost {price:g}"
        )
        self.max_credits = max_credits
        self.charged = charged
        self.price = price


class NotPressedError(AkoolError):
    """The image whose button a fan-out was to press was not made; nothing was sent."""


class OperationFailedError(AkoolError):
    """AKOOL ended the operation with image_status 4.

    Attributes:
        result: The final result, with AKOOL's ``error_reasons``.
    """

    def __init__(self, result: ImageResult) -> None:
        reasons = "; ".join(result.error_reasons) or "AKOOL gave no reason"
        super().__init__(f"AKOOL could not make this image: {reasons}")
        self.result = result
        self.operation_id = result.id


class WaitTimeoutError(AkoolError, TimeoutError):
    """The caller's timeout is over. The job runs on: wait again with ``session.operation(error.operation_id)``.

    Attributes:
        timeout: The timeout, in seconds.
        status: The ``image_status`` last seen; None if none was seen.
    """

    def __init__(self, operation_id: str, timeout: float, status: int | None) -> None:
        super().__init__(
            f"not finished within {timeout:g} s (last status {status}); it runs on, wait again with "
            f"session.operation({operation_id!r})"
        )
        self.operation_id = operation_id
        self.timeout = timeout
        self.status = status


class PollingError(AkoolError):
    """30 polls in a row failed, or all polls of 15 minutes. The job may run on.

    Attributes:
        status: The ``image_status`` last seen; None if none was seen.
        age: Seconds since this process began to track the operation.
    """

    def __init__(self, operation_id: str, *, status: int | None, age: float, reason: str) -> None:
        super().__init__(
            f"Get Image Result kept failing (last status {status}, {age:.0f} s after the wait began); last: {reason}"
        )
        self.operation_id = operation_id
        self.status = status
        self.age = age


class ResultExpiredError(AkoolError):
    """The result is older than 7 days, and AKOOL has deleted it."""


class DownloadError(AkoolError):
    """A picture could not be saved whole; nothing was overwritten."""


class SessionClosedError(AkoolError):
    """The session is closed.

    Attributes:
        operation_ids: Operations that run on at AKOOL. Another session can wait for them.
    """

    def __init__(self, message: str = "the session is closed", *, operation_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.operation_ids = operation_ids
        self.operation_id = operation_ids[0] if len(operation_ids) == 1 else None


class WebhookError(AkoolError):
    """A callback that does not come from AKOOL, or cannot be read."""
