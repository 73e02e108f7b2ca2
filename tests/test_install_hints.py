"""Without an extra, errors name the missing package and what to install."""

import importlib
import sys

import pytest

from akool_async import cli
from akool_async.cli import ExitStatus
from akool_async.emulator import Emulator
from tests.support.bare import emulated


@pytest.fixture
def hide():
    """Return a function that hides packages, as if they were not installed, and imports a module of ours again."""
    before = dict(sys.modules)

    def hide(*packages, reload):
        for name in list(sys.modules):
            if name.startswith(tuple(f"{package}." for package in packages)):
                sys.modules[name] = None
            elif name == reload or name.startswith(f"{reload}."):
                del sys.modules[name]
        sys.modules.update(dict.fromkeys(packages))

    yield hide
    for name in list(sys.modules):
        if name not in before and (sys.modules[name] is None or name.startswith("akool_async.")):
            del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("akool_async.durable", "dbos", "durable"),
        ("akool_async.opentelemetry", "opentelemetry", "otel"),
        ("akool_async.webhooks", "cryptography", "webhooks"),
    ],
)
def test_a_module_names_the_extra_that_it_needs(hide, module, package, extra):
    """The import of an edge without its extra raises an error that names the extra."""
    hide(package, reload=module)
    with pytest.raises(
        ModuleNotFoundError, match=rf'is missing; install it with: pip install "akool-async\[{extra}\]"'
    ):
        importlib.import_module(module)


def test_a_missing_module_of_ours_gets_no_hint(hide):
    """If a module of this library is missing, the error stays the same, since no extra would help."""
    hide("akool_async.durable._job", reload="akool_async.durable")
    with pytest.raises(ModuleNotFoundError, match=r"^import of akool_async\.durable\._job halted"):
        importlib.import_module("akool_async.durable")


def test_the_command_names_its_extra(hide, capsys):
    """The command without its extra prints the hint in one line and exits with status 1."""
    hide("click", reload="akool_async.cli.app")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ExitStatus.ERROR
    assert capsys.readouterr().err == 'akool: click is missing; install it with: pip install "akool-async[cli]"\n'


def test_a_command_whose_own_module_is_missing_says_so(hide):
    """If a module of the command itself is missing, the error stays the same."""
    hide("akool_async.cli.app", reload="akool_async.cli.app")
    with pytest.raises(ModuleNotFoundError, match=r"cli\.app"):
        cli.main()


def test_ctrl_c_while_the_command_is_imported_ends_it_quietly(hide, monkeypatch, capsys):
    """Ctrl-C during the import exits with status 130 and without a traceback."""

    class Interrupting:
        """A finder of modules that is interrupted."""

        @staticmethod
        def find_spec(name, path, target=None):
            raise KeyboardInterrupt

    hide(reload="akool_async.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupting])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ExitStatus.INTERRUPTED
    assert capsys.readouterr().err == ""


async def test_an_emulator_without_pillow_serves_all_but_pictures(hide, monkeypatch):
    """Requests for pictures are answered with 501 and the hint."""
    _forget(monkeypatch, "_pictures")
    hide("PIL", reload="akool_async.emulator._pictures")
    async with emulated() as bare:
        url = (await bare.get_result(bare.emulator.add_image()))["image"]
        async with bare.http.get(url) as response:
            assert (response.status, response.reason) == (
                501,
                'pictures need Pillow: pip install "akool-async[emulator]"',
            )


async def test_an_emulator_without_cryptography_sends_no_webhook_and_says_why(hide, monkeypatch, caplog):
    """A press with a webhook URL logs the hint."""
    _forget(monkeypatch, "_encryption")
    hide("cryptography", reload="akool_async.emulator._encryption")
    async with Emulator() as emulator, emulator.session(webhook_url="http://127.0.0.1:9/") as akool:
        await akool.vary(emulator.add_image(), 1)
    assert 'webhooks need cryptography: pip install "akool-async[webhooks]"' in caplog.text


def _forget(monkeypatch, name):
    """Forget a module, which is also an attribute of its package."""
    monkeypatch.delattr(sys.modules["akool_async.emulator"], name, raising=False)
