"""Every error the library raises, and the table from AKOOL's codes to classes.

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
    ├── NotPressedError             there is no source image to press: making it failed; nothing was sent
    ├── OperationFailedError        image_status 4; carries the result
    ├── WaitTimeoutError            the caller's time is up, the job runs on (also TimeoutError)
    ├── PollingError                a long streak of failed polls, the job may run on
    ├── ResultExpiredError          7 days have passed
    ├── DownloadError               a picture could not be saved whole
    ├── SessionClosedError          the session was closed; carries the ids that were waited for
    └── WebhookError                a callback that is not AKOOL's

An argument that is wrong in itself is a plain ``ValueError``, raised before anything is sent.

.. include:: _submit/README.md
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import frozen

if TYPE_CHECKING:
    from akool_async.items import ButtonPress, Prompt, SourcePrompt
    from akool_async.models import ImageResult


class AkoolError(Exception):
    """The root. ``operation_id``, ``press`` and ``prompt`` say what an error is about, if it is about one of them."""

    operation_id: str | None = None
    press: ButtonPress | None = None
    prompt: Prompt | SourcePrompt | None = None
    retry_after: float | None = None
    """Seconds that AKOOL asked to wait by a Retry-After header."""

    def about(
        self,
        *,
        operation_id: str | None = None,
        press: ButtonPress | None = None,
        prompt: Prompt | SourcePrompt | None = None,
    ) -> Self:
        """Note what the error is about, unless that is known already."""
        self.operation_id = self.operation_id or operation_id
        self.press = self.press or press
        self.prompt = self.prompt or prompt
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
        if self.prompt is not None:
            message += f" [{self.prompt}]"
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
        hint = CODES[code].hint if code in CODES and isinstance(self, CODES[code].error) else self.hint
        super().__init__(f"AKOOL answered {code} {msg!r} (HTTP {http_status}): {hint}")
        self.code = code
        self.msg = msg
        self.http_status = http_status
        self.retry_after = retry_after
        """Seconds to wait, where a Retry-After header told them."""


class AuthenticationError(APIError):
    """1101, 1102, 1109: the key, the pair or the token is not valid, or its account does not exist."""

    hint = "check the API key, or the client id and secret"


class InvalidParameterError(APIError):
    """1003: a parameter is wrong or empty."""

    hint = "a parameter is wrong or empty"


class RateLimitedError(APIError):
    """1005 or HTTP 429: too many at once; not accepted, nothing charged."""

    hint = "too many at once; lower max_concurrent_upscales or max_concurrent_operations, or wait"


class InsufficientCreditError(APIError):
    """1006, 1104: the account's credit does not suffice. 1103: the account is unpaid."""

    hint = "the account's credit does not suffice"


class NotFoundError(APIError):
    """1008, 1014: no such image."""

    hint = "no such image; its _id is wrong, of another account, or older than 7 days"


class NotPermittedError(APIError):
    """1009: the account may not do this. 1004: it must be verified first."""

    hint = "the account may not do this"


class NotOperableError(APIError):
    """1010: the image does not take this operation, for example because the button is used."""

    hint = "the button is used or not available, or the image is not finished"


class AlreadyUsedError(NotOperableError):
    """1011: the button was used before. After a lost reply, that proves that the press was accepted."""

    hint = "the button was used before"


class GenerationError(APIError):
    """1108: AKOOL could not generate; to be tried again later."""

    hint = "AKOOL could not generate; try again later"


class AccountBannedError(APIError):
    """1200: the account is banned."""

    hint = "the account is banned"


@frozen
class Code:
    """What one of AKOOL's codes means."""

    error: type[APIError]
    hint: str
    """What went wrong, for people."""
    is_of_account: bool = False
    """True if no other press of the account would fare better: new presses end."""


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
"""AKOOL's error-code page, as far as it concerns images. Codes of other products stay :class:`APIError`."""


def codes_of(kind: type[APIError]) -> tuple[int, ...]:
    """The codes that are an error of this class, the most general first."""
    return tuple(code for code, known in CODES.items() if issubclass(known.error, kind))


class OutcomeUnknownError(AkoolError):
    """A POST that spends credits was sent and its reply was lost. It is never sent again blindly.

    ``charged`` is True where AKOOL was found to have accepted it, None where that cannot be told.
    """

    def __init__(self, message: str, *, charged: bool | None = None, unread: AkoolError | None = None) -> None:
        super().__init__(message)
        self.charged = charged
        self.unread = None if unread is None else copy.copy(unread)  # without its frames, since this may be kept
        """Why the source image could not be read, so that ``session.reconcile`` may find it out later; None if it was
        read, or if there is none."""


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


class NotPressedError(AkoolError):
    """A fan-out was to press a button of an image that was not made; nothing was sent."""


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
        """Seconds since this process began to track the operation."""


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
