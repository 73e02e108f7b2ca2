"""AKOOL's webhooks: verified here and passed to ``AkoolSession.notify``.

Needs the extra ``webhooks`` (cryptography). Handlers that receive webhooks are ``akool_async.webhooks.aiohttp`` and
``akool_async.webhooks.asgi``.

.. include:: README.md
"""

from akool_async import WebhookEvent
from akool_async.webhooks._verifier import WebhookVerifier

__all__ = ["WebhookEvent", "WebhookVerifier"]
