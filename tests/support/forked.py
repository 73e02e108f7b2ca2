"""Commands that a fork server starts, with the interface of asyncio's subprocesses."""

import asyncio
import atexit
import io
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.base_subprocess import BaseSubprocessTransport
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

from tests.support.measuring import measuring

LIMIT = 2**16
"""What a stream reads ahead, as in `asyncio.create_subprocess_exec`."""
STREAMS = ("stdin", "stdout", "stderr")


def bare_environment(home):
    """Return the environment of every command: bare, but for the cache and the variables that measure coverage."""
    cache = {name: os.environ[name] for name in ("XDG_CACHE_HOME",) if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), **cache, **measuring()}


async def start(request, **pipes):
    """Let the server of this pytest process start a command. ``pipes`` are those of asyncio's function."""
    loop = asyncio.get_running_loop()
    process = _Forked(request)
    with ExitStack() as theirs:
        connection, its_end = socket.socketpair()
        theirs.callback(its_end.close)
        descriptors = [its_end.fileno()]
        for name in STREAMS:
            descriptors.append(process.connect(name, pipes[name], theirs, stdout=descriptors[-1]))
        socket.send_fds(_server(), [b"\0"], descriptors)
    connection.setblocking(False)
    await loop.sock_sendall(connection, json.dumps(request).encode())
    connection.shutdown(socket.SHUT_WR)
    process.pid = _number(await loop.sock_recv(connection, 4))

    protocol = asyncio.subprocess.SubprocessStreamProtocol(LIMIT, loop)
    is_connected = loop.create_future()
    transport = _Transport(
        *(loop, protocol, process.args, False), **pipes, bufsize=0, waiter=is_connected, process=process
    )

    def end():
        loop.remove_reader(connection)
        with connection:
            transport._process_exited(_number(connection.recv(4)))

    loop.add_reader(connection, end)
    await is_connected
    return asyncio.subprocess.Process(transport, protocol, loop)


class _Transport(BaseSubprocessTransport):
    """asyncio's own transport, for a process that was already started."""

    def _start(self, *, process, **_):
        self._proc = process


class _Forked:
    """A replacement for the ``subprocess.Popen`` of asyncio's transport."""

    def __init__(self, request):
        self.args = request["arguments"]
        self.pid = self.returncode = self.stdin = self.stdout = self.stderr = None

    def connect(self, name, pipe, theirs, *, stdout):
        """Return the descriptor of one of the process's streams. ``theirs`` closes the process's ends."""
        if pipe is None:
            return STREAMS.index(name)
        if pipe == subprocess.STDOUT:
            return stdout
        if pipe == subprocess.PIPE:
            descriptor, ours = os.pipe() if name == "stdin" else reversed(os.pipe())
            setattr(self, name, io.FileIO(ours, "w" if name == "stdin" else "r"))
        elif pipe == subprocess.DEVNULL:
            descriptor = os.open(os.devnull, os.O_RDWR)
        else:
            return pipe if isinstance(pipe, int) else pipe.fileno()
        theirs.callback(os.close, descriptor)
        return descriptor

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


@cache
def _server():
    """Return the socket on which a server of this process accepts requests."""
    ours, theirs = socket.socketpair()
    program = Path(__file__).with_name("fork_server.py")
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-W", "error", program, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd="/",
            env=bare_environment("/"),
            stdin=subprocess.DEVNULL,
        )

    @atexit.register
    def end():
        ours.close()
        server.wait(timeout=60)

    return ours


def _number(answer):
    if not answer:
        raise RuntimeError("the fork server has ended")
    return int.from_bytes(answer, "big", signed=True)
