"""The rooms of the package, the order of imports (contracts in pyproject.toml), and the public names."""

import ast
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import akool_async

ROOT = Path(akool_async.__file__).parent
ROOMS = {
    "session.py",
    "operations.py",
    "items.py",
    "models.py",
    "errors.py",
    "events.py",
    "polling",
    "_http",
    "_limits",
    "_submit",
    "_poll",
    "_fan_out",
    "_download",
    "webhooks",
    "durable",
    "emulator",
    "cli",
    "opentelemetry.py",
    "_validate.py",
}
MARKERS = {"__init__.py", "__main__.py", "py.typed"}
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


def lint_imports(directory):
    """Check the contracts of pyproject.toml for the package in a directory."""
    if find_spec("importlinter") is None:
        pytest.skip(
            "import-linter is not installed: it would raise the lowest versions of the command line's libraries"
        )
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", ROOT.parent / "pyproject.toml"]
    return subprocess.run(command, cwd=directory, check=False, capture_output=True, text=True)


def test_the_listing_is_the_architecture():
    """The top of the package has exactly its rooms."""
    assert {path.name for path in ROOT.iterdir()} - {"__pycache__"} == ROOMS | MARKERS


def test_imports_go_down_and_packages_have_owners():
    """Every import keeps the contracts, also those for type checkers."""
    checked = lint_imports(ROOT.parent)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("room", "line", "contract"),
    [
        ("models.py", "from akool_async import session", "Imports go down the house"),
        (
            "_http/codec.py",
            "if TYPE_CHECKING:\n    from akool_async._poll.poller import Poller",
            "Imports go down the house",
        ),
        ("_poll/tracked.py", "from akool_async._poll import poller", "No room imports in a circle"),
        ("durable/_tables.py", "from akool_async.durable import _durable_fan_out", "No room imports in a circle"),
        ("session.py", "import cattrs", "cattrs is the codec's"),
        ("_poll/poller.py", "import aiohttp", "aiohttp has few owners"),
    ],
)
def test_a_wrong_import_is_found(tmp_path, room, line, contract):
    """The contracts find a wrong import."""
    shutil.copytree(ROOT, tmp_path / "akool_async", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "akool_async" / room).open("a") as file:
        file.write(f"{line}\n")
    checked = lint_imports(tmp_path)
    broken = [reported for reported in checked.stdout.splitlines() if "BROKEN" in reported]
    assert any(reported.startswith(contract) for reported in broken), checked.stdout


def test_the_emulator_shares_no_code_with_the_client():
    """Both ends cannot have the same bug: only the emulator's session() imports the client."""
    for path in (ROOT / "emulator").glob("*.py"):
        tree = ast.parse(path.read_text())
        types = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ]
        for node in types:
            node.body = []
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        shared = {module for module in modules if module.split(".")[0] == "akool_async"}
        assert path.name == "_client.py" or all(module.startswith("akool_async.emulator") for module in shared), path


def test_public_names_are_pinned():
    """Adding or removing a public name is a decision, not an accident."""
    assert akool_async.__all__ == PUBLIC
    assert all(hasattr(akool_async, name) for name in PUBLIC)
    assert (ROOT / "py.typed").exists()


def test_importing_the_library_brings_no_extra():
    """`import akool_async` imports neither the command line, nor the emulator, nor the packages that only they need."""
    program = "import akool_async, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    extras = {"click", "rich", "PIL", "pytest", "aiohttp.web", "akool_async.emulator", "dbos", "sqlalchemy"}
    assert not extras & set(loaded)
