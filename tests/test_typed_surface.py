"""Users' type checkers accept correct code that uses the public names, and report mistakes."""

import inspect
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest

from akool_async import AkoolSession
from akool_async.durable import DurableFanOut
from akool_async.emulator._client import EmulatorSessionOptions
from akool_async.session import SessionOptions
from tests.support.readme import BLOCKS

ROOT: Final = Path(__file__).parents[1]
MARK: Final = re.compile(r"  # (?P<mypy>[\w-]+), (?P<pyright>report\w+)$")
"""At the end of each line of ``mistakes.py`` that holds one: the codes by which the checkers name it."""


def run(*command):
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


def report_by_mypy(folder):
    """Return (file, line, code, message) of each error of mypy --strict. It caches what it knows about the library."""
    checked = run("mypy", "--strict", "--output=json", *sorted(folder.glob("*.py")))
    assert checked.stderr == ""
    for error in map(json.loads, checked.stdout.splitlines()):
        if error["severity"] == "error":
            yield Path(error["file"]).name, error["line"], error["code"], error["message"]


def report_by_pyright(folder):
    """Return (file, line, rule, message) of each error of pyright in its strict mode."""
    if (started := run("pyright", "--version")).returncode != 0:
        pytest.skip(f"pyright does not start: it needs Node.js ({started.stderr.strip()[-200:]})")
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    checked = run("pyright", "--outputjson", f"--pythonpath={sys.executable}", f"--project={folder}")
    for error in json.loads(checked.stdout)["generalDiagnostics"]:
        if error["severity"] == "error":
            yield Path(error["file"]).name, error["range"]["start"]["line"] + 1, error["rule"], error["message"]


@pytest.mark.parametrize(("checker", "report"), [("mypy", report_by_mypy), ("pyright", report_by_pyright)])
def test_each_mistake_is_reported_and_nothing_else(tmp_path, checker, report):
    """In a user's program, in the README's blocks and in a file of mistakes, exactly the mistakes are errors."""
    for file in Path(__file__).with_name("typed").glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text())
    for place, block in enumerate(BLOCKS):  # pyright is less strict with a few lines than with a program
        (tmp_path / f"readme_{place}.py").write_text(f"# pyright: standard\n{block}")
    mistakes = {
        ("mistakes.py", number): found[checker]
        for number, line in enumerate((tmp_path / "mistakes.py").read_text().splitlines(), start=1)
        if (found := MARK.search(line))
    }
    errors = defaultdict(dict)
    for file, number, code, message in report(tmp_path):
        errors[file, number][code] = message
    reported = {place: mistakes[place] if mistakes.get(place) in found else found for place, found in errors.items()}
    assert mistakes
    assert reported == mistakes


def test_a_durable_fan_out_names_every_option_of_a_session():
    """Options that are passed on to a session can be checked: SessionOptions has exactly its arguments."""
    session = inspect.signature(AkoolSession).parameters.keys()
    durable = inspect.signature(DurableFanOut).parameters.keys()
    assert session - durable - {"http"} == SessionOptions.__annotations__.keys()


def test_a_session_of_an_emulator_names_every_option():
    """The same for the emulator, which has all of them."""
    assert inspect.signature(AkoolSession).parameters.keys() == inspect.get_annotations(EmulatorSessionOptions).keys()
