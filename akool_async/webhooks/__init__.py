"""AKOOL's webhooks: verified here, taken in by ``AkoolSession.notify``, received by one of the two doors.

Needs the extra ``webhooks`` (cryptography). The doors are ``akool_async.webhooks.aiohttp`` and
``akool_async.webhooks.asgi``.
"""

from akool_async import WebhookEvent
from akool_async.webhooks._verifier import WebhookVerifier

__all__ = ["WebhookEvent", "WebhookVerifier"]
