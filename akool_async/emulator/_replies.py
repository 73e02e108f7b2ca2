"""AKOOL's envelope. Success and refusal both have HTTP status 200; ``code`` shows which it is."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from akool_async.emulator._refusals import SUCCESS

JSON = "application/json"
AUTHORIZATION, API_KEY = "Authorization", "x-api-key"


def envelope(data: object) -> dict[str, Any]:
    """Return the envelope of a success."""
    return {"code": SUCCESS, "msg": "OK", "data": data}


def refusal(code: int, msg: str) -> dict[str, Any]:
    """Return the envelope of a refusal."""
    return {"code": code, "msg": msg, "data": None}


def refuse(code: int, msg: str) -> web.Response:
    """Return the reply of a refusal."""
    return web.Response(body=json.dumps(refusal(code, msg)).encode(), content_type=JSON)
