"""Commands on pseudo-terminals of any width."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios

from tests.support.commands import read_terminal, start


def open_terminal(columns):
    """Open a terminal of this many columns, and return our end and the program's end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, theirs


async def run_on_terminal(*arguments, cwd, environment, columns=80):
    """Run a command on a terminal of this many columns, and return the status and everything that it wrote."""
    ours, theirs = open_terminal(columns)
    environment = {"TERM": "xterm-256color"} | environment
    process = await start(*arguments, cwd=cwd, environment=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = await asyncio.to_thread(read_terminal, ours)
    return await process.wait(), shown


def without_escapes(shown):
    """Return what a terminal shows, without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "")
