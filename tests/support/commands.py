"""The akool command in real subprocesses."""

import asyncio
import json
import os
import sys

from tests.support.measuring import measuring

AKOOL = [sys.executable, "-W", "error", "-m", "akool_async"]


async def start(*arguments, cwd, environment=None, before=(), **pipes):
    """Begin the command; ``before`` is what starts it, such as a shell with limits."""
    return await asyncio.create_subprocess_exec(
        *before,
        *AKOOL,
        *map(str, arguments),
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), **measuring(), **(environment or {})},
        **{
            "stdin": asyncio.subprocess.PIPE,
            "stdout": asyncio.subprocess.PIPE,
            "stderr": asyncio.subprocess.PIPE,
            **pipes,
        },
    )


async def run(*arguments, cwd, environment=None, stdin=b"", before=()):
    """Status, stdout and stderr of the command at its end."""
    process = await start(*arguments, cwd=cwd, environment=environment, before=before)
    output, errors = await process.communicate(stdin)
    return process.returncode, output.decode(), errors.decode()


def read_lines(path):
    """The JSON values of a file of lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_batch(folder, image_ids, button="*"):
    """A CSV file that asks for the same buttons of each image."""
    path = folder / "presses.csv"
    path.write_text("image_id,button\n" + "".join(f"{image_id},{button}\n" for image_id in image_ids))
    return path


def read_terminal(descriptor):
    """What a pseudo-terminal shows until its program ends."""
    shown = b""
    while True:
        try:
            piece = os.read(descriptor, 2**16)
        except OSError:  # Linux's word for a terminal that nobody writes to any more
            piece = b""
        if not piece:
            os.close(descriptor)
            return shown.decode()
        shown += piece
