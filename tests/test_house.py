"""The house: public names, import order, one owner per third-party package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import akool_async

ROOT = Path(akool_async.__file__).parent
RANKS = {
    "_validate": 0,
    "_recent": 0,
    "models": 1,
    "errors": 1,
    "_proxies": 2,
    "_request_body": 1,
    "_deadline": 1,
    "_failures": 3,
    "_durations": 1,
    "_listeners": 1,
    "_late_urls": 2,
    "timing": 1,
    "events": 2,
    "_wire": 2,
    "_plan": 2,
    "_budget": 3,
    "_preflight": 2,
    "_auth": 3,
    "_retry": 3,
    "_pace": 3,
    "_replies": 2,
    "_money": 2,
    "_event_loop": 2,
    "_reports": 3,
    "polling": 3,
    "_transport": 4,
    "_turnstile": 4,
    "_api": 5,
    "_slots": 6,
    "_hints": 1,
    "_lost_replies": 6,
    "_reconcile": 6,
    "_watch": 7,
    "_watcher": 8,
    "_flight": 3,
    "operations": 9,
    "_picture_formats": 0,
    "_picture_urls": 1,
    "_picture_hosts": 4,
    "_picture_files": 5,
    "downloads": 9,
    "_spend": 10,
    "fan_out": 11,
    "session": 12,
}
EDGES = {"cli", "durable", "emulator", "opentelemetry", "webhooks"}
PUBLIC_ROOMS = {"events"}
OPEN_TO_EDGES = {"errors", "_money", "_replies", "_retry", "session", "timing"}
"""Rooms whose rules edges follow too: which code is which error, what an error or a reply says, and prices."""
OWNERS = {
    "aiohttp": {"_transport", "_request_body", "_failures", "_picture_hosts", "emulator", "webhooks", "cli"},
    "aiolimiter": {"_pace"},
    "attrs": {
        "models",
        "errors",
        "_money",
        "events",
        "_wire",
        "_auth",
        "_retry",
        "_durations",
        "_plan",
        "polling",
        "_picture_hosts",
        "_reports",
        "_transport",
        "downloads",
        "fan_out",
        "operations",
        "timing",
        "_api",
        "cli",
        "durable",
    },
    "backoff": {"_retry", "_pace", "polling", "durable"},
    "cattrs": {"_wire"},
    "click": {"cli"},
    "cryptography": {"emulator", "webhooks"},
    "dbos": {"durable"},
    "dotenv": {"cli"},
    "jinja2": {"cli"},
    "opentelemetry": {"opentelemetry"},
    "orjson": {"_wire", "operations", "polling"},
    "PIL": {"cli", "emulator"},
    "portalocker": {"cli", "durable"},
    "psycopg": {"durable"},
    "pytest": {"emulator"},
    "rich": {"cli"},
    "sqlalchemy": {"durable"},
    "yarl": {"_picture_hosts", "_picture_urls"},
}
PUBLIC = [
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
    "Operation",
    "OperationFailedError",
    "Outcome",
    "OutcomeUnknownError",
    "Polling",
    "PollingError",
    "RateLimitedError",
    "ResponseError",
    "ResultExpiredError",
    "SessionClosedError",
    "Timing",
    "TransportError",
    "WaitTimeoutError",
    "WebhookError",
    "WebhookEvent",
]


def room_of(path, root):
    return path.relative_to(root).parts[0].removesuffix(".py")


def imports(tree):
    """(module, names) of every import that is carried out at run time."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module, [alias.name for alias in node.names]


def complaints(root):
    """Every import that breaks the order of the house."""
    for path in sorted(root.rglob("*.py")):
        room = room_of(path, root)
        if path.parent == root and room in {"__init__", "__main__"}:
            continue
        is_apart = room == "emulator" and path.name != "_client.py"
        for module, names in imports(ast.parse(path.read_text())):
            package, _, inside = module.partition(".")
            if package == "akool_async":
                rooms = (
                    [inside.split(".")[0]]
                    if inside
                    else [name for name in names if name in RANKS.keys() - PUBLIC_ROOMS]
                )
                for other in rooms:
                    if (
                        room in EDGES
                        and other != room
                        and (is_apart or other not in OPEN_TO_EDGES)
                        and not (room == "cli" and other in {"durable", "emulator", "webhooks"})
                    ):
                        yield f"{path}: an edge uses public names only, not {other}"
                    elif room not in EDGES and RANKS.get(other, 99) >= RANKS[room]:
                        yield f"{path}: {room} must not import {other}"
                if is_apart and not inside:
                    yield f"{path}: the emulator shares nothing with the client"
            elif package not in sys.stdlib_module_names and room not in OWNERS.get(package, set()):
                yield f"{path}: {package} has another owner"


def test_imports_go_down_and_packages_have_owners():
    """The order of the rooms and the owners of packages hold in every file."""
    assert list(complaints(ROOT)) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("models.py", "from akool_async import session"),
        ("models.py", "from akool_async.errors import AkoolError"),
        ("_watcher.py", "import aiohttp"),
        ("emulator/_http.py", "from akool_async._wire import read_image"),
        ("emulator/_http.py", "from akool_async import Button"),
        ("emulator/_http.py", "from akool_async.errors import CODES"),
        ("emulator/_http.py", "from akool_async._money import EXPECTED_PRICES"),
        ("cli/_app.py", "from akool_async._transport import Transport"),
        ("session.py", "from akool_async.emulator import Emulator"),
        ("session.py", "import requests"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, room, line):
    """The check above can fail."""
    (tmp_path / room).parent.mkdir(exist_ok=True)
    (tmp_path / room).write_text(line)
    assert len(list(complaints(tmp_path))) == 1


def test_every_room_has_a_rank():
    """A new room is given its place."""
    rooms = {room_of(path, ROOT) for path in ROOT.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms == RANKS.keys() | EDGES


def test_public_names_are_pinned():
    """Adding or losing a public name is a decision, not an accident."""
    assert akool_async.__all__ == PUBLIC
    assert all(hasattr(akool_async, name) for name in PUBLIC)
    assert (ROOT / "py.typed").exists()


def test_importing_the_library_brings_no_extra():
    """Neither the command line, nor the emulator, nor what only they need is imported by `import akool_async`."""
    program = "import akool_async, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    extras = {"click", "rich", "PIL", "pytest", "aiohttp.web", "akool_async.emulator", "dbos", "sqlalchemy"}
    assert not extras & set(loaded)
