"""AKOOL's envelope: HTTP 200 for success and refusal alike; ``code`` says which."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from akool_async.emulator._refusals import SUCCESS

JSON = "application/json"
AUTHORIZATION, API_KEY = "Authorization", "x-api-key"


def envelope(data: object) -> dict[str, Any]:
    """The envelope of a success."""
    return {"code": SUCCESS, "msg": "OK", "data": data}


def refusal(code: int, msg: str) -> dict[str, Any]:
    """The envelope of a refusal."""
    return {"code": code, "msg": msg, "data": None}


def refuse(code: int, msg: str) -> web.Response:
    """The reply of a refusal."""
    return web.Response(body=json.dumps(refusal(code, msg)).encode(), content_type=JSON)
