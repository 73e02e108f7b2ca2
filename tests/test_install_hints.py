"""What an installation without an extra says: what is missing, and what to install."""

import importlib
import sys

import pytest

from akool_async import cli
from akool_async.cli import ExitStatus
from akool_async.emulator import Emulator
from tests.support.bare import emulated


@pytest.fixture
def take_away():
    """A function that takes packages away, as if they were not installed, and has a module of ours imported again."""
    before = dict(sys.modules)

    def take_away(*packages, reimport):
        for name in list(sys.modules):
            if name.startswith(tuple(f"{package}." for package in packages)):
                sys.modules[name] = None
            elif name == reimport or name.startswith(f"{reimport}."):
                del sys.modules[name]
        sys.modules.update(dict.fromkeys(packages))

    yield take_away
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
def test_a_module_names_the_extra_that_it_needs(take_away, module, package, extra):
    take_away(package, reimport=module)
    with pytest.raises(
        ModuleNotFoundError, match=rf'is missing; install it with: pip install "akool-async\[{extra}\]"'
    ):
        importlib.import_module(module)


def test_what_no_extra_brings_is_reported_as_it_is(take_away):
    """A module of the installation itself is missing: no extra would mend that."""
    take_away("akool_async.durable._job", reimport="akool_async.durable")
    with pytest.raises(ModuleNotFoundError, match=r"^import of akool_async\.durable\._job halted"):
        importlib.import_module("akool_async.durable")


def test_the_command_names_its_extra(take_away, capsys):
    take_away("click", reimport="akool_async.cli.app")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ExitStatus.ERROR
    assert capsys.readouterr().err == 'akool: click is missing; install it with: pip install "akool-async[cli]"\n'


def test_a_command_whose_own_module_is_missing_says_so(take_away):
    take_away("akool_async.cli.app", reimport="akool_async.cli.app")
    with pytest.raises(ModuleNotFoundError, match=r"cli\.app"):
        cli.main()


def test_ctrl_c_while_the_command_is_imported_ends_it_quietly(take_away, monkeypatch, capsys):
    class Interrupting:
        """Finds modules, and is interrupted."""

        @staticmethod
        def find_spec(name, path, target=None):
            raise KeyboardInterrupt

    take_away(reimport="akool_async.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupting])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == ExitStatus.INTERRUPTED
    assert capsys.readouterr().err == ""


async def test_an_emulator_without_pillow_serves_all_but_pictures(take_away, monkeypatch):
    _forget(monkeypatch, "_pictures")
    take_away("PIL", reimport="akool_async.emulator._pictures")
    async with emulated() as bare:
        url = (await bare.look(bare.emulator.add_image()))["image"]
        async with bare.http.get(url) as response:
            assert (response.status, response.reason) == (
                501,
                'pictures need Pillow: pip install "akool-async[emulator]"',
            )


async def test_an_emulator_without_cryptography_calls_nobody_back_and_says_why(take_away, monkeypatch, caplog):
    _forget(monkeypatch, "_sealing")
    take_away("cryptography", reimport="akool_async.emulator._sealing")
    async with Emulator() as emulator, emulator.session(webhook_url="http://127.0.0.1:9/") as akool:
        await akool.vary(emulator.add_image(), 1)
    assert 'webhooks need cryptography: pip install "akool-async[webhooks]"' in caplog.text


def _forget(monkeypatch, name):
    """A module that was imported before is an attribute of its package."""
    monkeypatch.delattr(sys.modules["akool_async.emulator"], name, raising=False)
