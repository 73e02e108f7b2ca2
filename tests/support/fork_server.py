"""A process that has imported what the command needs, and forks every command from itself.

A fresh interpreter spends most of a command's CPU time on imports. `tests.support.forked` starts this program, once
per pytest process, in the environment in which commands are started, so that its encodings are theirs. For each byte
that it is sent, it forks. The descriptors that come with the byte are those of a connection, and of the command's
stdin, stdout and stderr. The child reads from the connection what to run. The server answers there with the child's
pid, and with its exit status when it ends.

Unlike fresh interpreters, all children of a server have the same hash seed.
"""

import atexit
import codecs
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

IMPORTS = (
    "akool_async.cli.app",
    "akool_async.durable",
    "akool_async.emulator._pictures",
    "akool_async.emulator._encryption",
    "portalocker",
)


def main():
    """Serve. In a child, run the request and end as an interpreter ends."""
    del sys.path[0]  # this folder: commands must not import from it
    gc.disable()  # there is no garbage yet
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()  # so that garbage collection in the children does not copy shared memory
    gc.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in pytest ends the requests, which ends this process
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        child = serve(requests)
    if child is not None:
        become(*child)
        try:
            runpy.run_module(child[0]["arguments"][0], run_name="__main__", alter_sys=True)
        except SystemExit as ending:
            end_soon(ending.code)
            raise


def end_soon(status):
    """Do what an interpreter does at its end, but for taking every module apart: most of a short command's CPU time.

    If anything is out of the ordinary, leave the end to the interpreter.
    """
    if not isinstance(status, int) or not 0 <= status <= 255 or threading.active_count() > 1:
        return
    with suppress(OSError, ValueError):
        atexit._run_exitfuncs()
        gc.collect()  # unclosed resources warn here
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(status)


def serve(requests):
    """Fork at each request. In a child, return its request and its descriptors; return None after the last request."""
    running = {}
    while True:
        ready, _, _ = select.select([requests, *running], [], [])
        for ended in set(ready) & running.keys():
            pid, connection = running.pop(ended)
            os.close(ended)
            answer(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            connection.close()
        if requests not in ready:
            continue
        _, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
        if not descriptors:
            return None
        connection = socket.socket(fileno=descriptors.pop(0))
        pid = os.fork()
        if pid == 0:
            request = read(connection)
            for other in (requests, connection, *(theirs for _, theirs in running.values())):
                other.close()
            for ended in running:
                os.close(ended)
            return request, descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        answer(connection, pid)
        running[os.pidfd_open(pid)] = (pid, connection)


def answer(connection, number):
    """Send a number, unless the receiver has gone."""
    with suppress(ConnectionError):
        connection.send(number.to_bytes(4, "big", signed=True))


def read(connection):
    """Read the request from a connection."""
    with connection.makefile() as file:
        return json.load(file)


def become(request, descriptors):
    """Make this child like ``python -W error -m MODULE ARGUMENTS`` when it begins with the module."""
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(request["cwd"])
    coerced = {"LC_CTYPE": os.environ["LC_CTYPE"]} if "LC_CTYPE" in os.environ else {}  # the interpreter sets it
    os.environ.clear()
    os.environ.update(request["environment"] | coerced)
    time.tzset()
    sys.path.insert(0, str(Path.cwd()))
    sys.argv = request["arguments"]
    sys.orig_argv = [sys.executable, "-W", "error", "-m", *sys.argv]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for statement in request["first"]:
        exec(statement, {})
    open_streams()


def open_streams():
    """Open stdin, stdout and stderr as an interpreter does at its start. A closed descriptor makes None."""
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    if encoding:
        encoding, errors = codecs.lookup(encoding).name, errors or "strict"
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        try:
            binary = open(descriptor, f"{old.mode}b", closefd=False)  # noqa: SIM115 - it stays open
        except OSError:
            new = None
        else:
            binary.raw.name = old.name
            is_stderr = name == "stderr"
            new = io.TextIOWrapper(
                binary,
                encoding or old.encoding,
                old.errors if is_stderr else errors or old.errors,
                newline="\n",
                line_buffering=is_stderr or binary.raw.isatty(),
            )
            new.mode = old.mode
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


if __name__ == "__main__":
    main()
