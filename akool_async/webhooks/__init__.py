"""AKOOL's webhooks: how to verify them and pass them to ``AkoolSession.notify``.

Needs the extra ``webhooks`` (cryptography). The handlers for web frameworks are in
``akool_async.webhooks.aiohttp`` and ``akool_async.webhooks.asgi``.

.. include:: README.md
"""

from akool_async import WebhookEvent
from akool_async.webhooks._verifier import WebhookVerifier

__all__ = ["WebhookEvent", "WebhookVerifier"]
