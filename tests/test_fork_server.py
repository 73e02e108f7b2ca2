"""Forked commands behave like commands of a fresh interpreter."""

import asyncio
import json
import os
import pty
import signal

import pytest

from tests.support.commands import CLOSED, FULL, read_terminal, run, start

PROBE = """
import atexit, io, json, os, random, signal, sys, tempfile, time, warnings

def describe(stream):
    if stream is None:
        return None
    names = ("name", "mode", "encoding", "errors", "newlines", "line_buffering", "write_through")
    shown = [repr(getattr(stream, name)) for name in names]
    return [type(stream).__name__, *shown, stream.isatty(), type(stream.buffer).__name__, stream.buffer.raw.mode]

report = {
    "arguments": sys.argv,
    "original arguments": sys.orig_argv,
    "name": [__name__, __file__, __spec__.name, sys.modules["__main__"].__dict__ is globals()],
    "folder": os.getcwd(),
    "path": sys.path,
    "environment": dict(os.environ),
    "time zone": time.tzname,
    "flags": repr(sys.flags),
    "encodings": [sys.getfilesystemencoding(), sys.getfilesystemencodeerrors(), sys.getdefaultencoding()],
    "streams": [describe(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)],
    "streams at start": [describe(stream) for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__)],
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd"))),
    "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
    "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
    "group and session": [os.getpgrp(), os.getsid(0)],
    "temporary files": tempfile.gettempdir(),
    "mask": os.umask(0),
    "warnings": sys.warnoptions,
    "tasks": len(os.listdir("/proc/self/task")),
}
with open(report["arguments"][1], "w") as file:
    json.dump(report, file)
atexit.register(lambda: open(report["arguments"][1] + ".end", "w").close())
"""
ENDINGS = {
    "a status": "sys.exit(7)",
    "a message": "sys.exit('a reason')",
    "falling off": "print('no line break', end='')",
    "an error": "raise ValueError('wrong')",
    "a warning": "warnings.warn('an error')",
    "an interruption": "signal.raise_signal(signal.SIGINT)",
    "a signal": "signal.raise_signal(signal.SIGTERM)",
    "a broken pipe": "os.dup2(os.open('/dev/full', os.O_WRONLY), 1); print('lost')",
}


@pytest.fixture
def both(tmp_path):
    """Run a probe in a fresh interpreter and forked, and return what both saw and how they ended."""

    async def run_both(ending="", *arguments, **options):
        (tmp_path / "probe.py").write_text(PROBE + ending)
        seen = []
        for afresh in (True, False):
            for path in tmp_path.glob("report*"):
                path.unlink()
            status, output, errors = await run(
                "report", *arguments, cwd=tmp_path, module="probe", afresh=afresh, **options
            )
            report = json.loads((tmp_path / "report").read_text())
            seen.append((report, (tmp_path / "report.end").exists(), status, output, errors.splitlines()[-1:]))
        return seen

    return run_both


@pytest.mark.parametrize("environment", [{}, {"TZ": "Asia/Kolkata", "NAME": "w\udcffert"}], ids=str)
@pytest.mark.parametrize(
    "first",
    [
        [],
        [CLOSED],
        [FULL],
        ["import os; os.close(0); os.close(2)"],
        ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"],
        ["import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"],
    ],
    ids=str,
)
async def test_a_forked_command_begins_as_a_fresh_one(both, environment, first):
    """Arguments, environment, streams, descriptors, signals and everything else that a program can see are the same."""
    fresh, forked = await both("", "-x", "\u65e5\udcff", environment=environment, first=first)
    assert fresh == forked


@pytest.mark.parametrize(
    "encoding", ["ascii", "latin-1", "cp1252", "UTF8", "cp437:strict", "utf-8:replace", ":replace"]
)
async def test_a_forked_command_has_the_encodings_of_a_fresh_one(both, encoding):
    """PYTHONIOENCODING is read, and its names are spelled, as by an interpreter."""
    fresh, forked = await both(environment={"PYTHONIOENCODING": encoding})
    assert fresh == forked


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_a_forked_command_ends_as_a_fresh_one(both, ending):
    """Status, output, the last line of stderr, and exit handlers are the same."""
    fresh, forked = await both(ending)
    assert fresh == forked


async def test_a_terminal_is_one_for_both(tmp_path):
    """On a separate terminal, all streams are the same one."""
    (tmp_path / "probe.py").write_text(PROBE)
    seen = []
    for afresh in (True, False):
        ours, theirs = pty.openpty()
        process = await start(
            *("report",), cwd=tmp_path, module="probe", afresh=afresh, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        assert await asyncio.to_thread(read_terminal, ours) == ""
        assert await process.wait() == 0
        seen.append(json.loads((tmp_path / "report").read_text()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("afresh", [True, False], ids=["fresh", "forked"])
@pytest.mark.parametrize("stop", ["kill", "terminate"])
async def test_a_command_can_be_killed(tmp_path, afresh, stop):
    """A signal ends it and is its status, and the streams end with it."""
    (tmp_path / "sleeper.py").write_text("import time; print('ready', flush=True); time.sleep(60)")
    process = await start(cwd=tmp_path, module="sleeper", afresh=afresh)
    assert await process.stdout.readline() == b"ready\n"
    getattr(process, stop)()
    assert await process.communicate() == (b"", b"")
    assert process.returncode == (-signal.SIGKILL if stop == "kill" else -signal.SIGTERM)
