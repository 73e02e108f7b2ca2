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
    """Our end and the program's end of a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, theirs


async def run_on_terminal(*arguments, cwd, environment, columns=80):
    """The status, and all that reached a terminal of so many columns."""
    ours, theirs = open_terminal(columns)
    environment = {"TERM": "xterm-256color"} | environment
    process = await start(*arguments, cwd=cwd, environment=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = await asyncio.to_thread(read_terminal, ours)
    return await process.wait(), shown


def without_escapes(shown):
    """What a terminal shows, without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "")
