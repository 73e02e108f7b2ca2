"""The asyncio client for AKOOL's image buttons: press U1-U4 and V1-V4 by the thousand, lose no credit.

.. include:: ../README.md
.. include:: _http/README.md
"""

from akool_async._http.auth import ApiKey, ClientCredentials
from akool_async._limits.timing import Timing
from akool_async.errors import (
    AccountBannedError,
    AkoolError,
    AlreadyUsedError,
    APIError,
    AuthenticationError,
    BudgetError,
    ConfigurationError,
    DownloadError,
    GenerationError,
    InsufficientCreditError,
    InvalidParameterError,
    NotFoundError,
    NotOperableError,
    NotPermittedError,
    NotPressedError,
    OperationFailedError,
    OutcomeUnknownError,
    PollingError,
    RateLimitedError,
    ResponseError,
    ResultExpiredError,
    SessionClosedError,
    TransportError,
    WaitTimeoutError,
    WebhookError,
)
from akool_async.items import Button, ButtonPress, Prompt, SourcePrompt
from akool_async.models import Counters, ImageResult, ImageStatus, WebhookEvent
from akool_async.operations import Operation, Outcome
from akool_async.polling import AdaptivePolling, ExponentialPolling, Polling
from akool_async.session import AkoolSession

__version__ = "0.2.0"

__all__ = [
    "APIError",
    "AccountBannedError",
    "AdaptivePolling",
    "AkoolError",
    "AkoolSession",
    "AlreadyUsedError",
    "ApiKey",
    "AuthenticationError",
    "BudgetError",
    "Button",
    "ButtonPress",
    "ClientCredentials",
    "ConfigurationError",
    "Counters",
    "DownloadError",
    "ExponentialPolling",
    "GenerationError",
    "ImageResult",
    "ImageStatus",
    "InsufficientCreditError",
    "InvalidParameterError",
    "NotFoundError",
    "NotOperableError",
    "NotPermittedError",
    "NotPressedError",
    "Operation",
    "OperationFailedError",
    "Outcome",
    "OutcomeUnknownError",
    "Polling",
    "PollingError",
    "Prompt",
    "RateLimitedError",
    "ResponseError",
    "ResultExpiredError",
    "SessionClosedError",
    "SourcePrompt",
    "Timing",
    "TransportError",
    "WaitTimeoutError",
    "WebhookError",
    "WebhookEvent",
]
