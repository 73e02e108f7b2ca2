"""The akool command in real subprocesses.

Most are forked from a process that has imported their modules (see `tests.support.fork_server`), which saves most of a
command's CPU time. Otherwise they behave like a fresh interpreter, as `test_fork_server.py` proves.
"""

import asyncio
import json
import os
import subprocess
import sys

from tests.support import forked

PYTHON = [sys.executable, "-W", "error"]
AKOOL = [*PYTHON, "-m", "akool_async"]
READ_AT_START = ("PYTHON", "LC_", "LANG", "TMPDIR")
"""The names of variables that are read when an interpreter starts or a module is imported begin with one of these."""
READ_BY_FORKED = {"PYTHONIOENCODING"}
"""Such variables that a forked command reads too."""
CLOSED = "import os; os.close(1)"
FULL = f"{CLOSED}; os.set_inheritable(os.open('/dev/full', os.O_WRONLY), True)"
"""Statements that close stdout, or make it a full disk."""
SMALL_FILES = (
    "import atexit, resource; kind = resource.RLIMIT_FSIZE; before = resource.getrlimit(kind); "
    "atexit.register(resource.setrlimit, kind, before); resource.setrlimit(kind, ({0}, before[1]))"
)
"""A statement that limits the size of files in bytes, as on a full disk, until the command ends and is measured."""


async def start(*arguments, cwd, environment=None, before=(), first=(), afresh=False, module="akool_async", **pipes):
    """Start the command like a subprocess of asyncio. It is forked, unless it needs a fresh interpreter.

    Args:
        cwd: The working directory.
        environment: Variables besides a bare environment.
        before: The beginning of the command line, such as a shell.
        first: Statements of Python that the process runs before the command, such as one that closes stdout.
        afresh: Always start a fresh interpreter.
        module: A module to run instead of the command.
    """
    arguments = [module, *map(str, arguments)]
    variables = forked.bare_environment(cwd) | (environment or {})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes}
    needs_a_start = any(name.startswith(READ_AT_START) for name in (environment or {}).keys() - READ_BY_FORKED)
    if afresh or before or needs_a_start:
        command = (*before, *(after(*first) if first else ()), *PYTHON, "-m", *arguments)
        return await asyncio.create_subprocess_exec(*command, cwd=cwd, env=variables, **pipes)
    request = {"cwd": str(cwd), "environment": variables, "arguments": arguments, "first": first}
    return await forked.start(request, **pipes)


async def run(*arguments, stdin=b"", **options):
    """Run the command and return its status, stdout and stderr. The options are those of `start`."""
    process = await start(*arguments, **options)
    output, errors = await process.communicate(stdin)
    return process.returncode, output.decode(), errors.decode()


async def wait_for_line(stream, text):
    """Read a command's output up to the line that contains this text."""
    while text not in (line := await stream.readline()):
        assert line, f"the command ended without a line that holds {text!r}"


def after(*statements):
    """Return the beginning of a command line that runs after these statements of Python.

    The interpreter that runs them may have set LC_CTYPE, which would change the encodings of the next one.
    """
    run_the_rest = "import os, sys; os.environ.pop('LC_CTYPE', None); os.execvp(sys.argv[1], sys.argv[1:])"
    return (sys.executable, "-c", "\n".join([*statements, run_the_rest]))


def read_lines(path):
    """Return the JSON values of a file of lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_batch(folder, image_ids, button="*"):
    """Write a CSV file that asks for the same buttons of each image, and return its path."""
    path = folder / "presses.csv"
    path.write_text("image_id,button\n" + "".join(f"{image_id},{button}\n" for image_id in image_ids))
    return path


def read_terminal(descriptor):
    """Return the text that a pseudo-terminal shows until its program ends."""
    shown = b""
    while True:
        try:
            piece = os.read(descriptor, 2**16)
        except OSError:  # on Linux, nobody has the terminal open for writing
            piece = b""
        if not piece:
            os.close(descriptor)
            return shown.decode()
        shown += piece
