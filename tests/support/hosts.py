"""Another host: a separate network namespace, connected to this one by a pair of virtual network devices."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import portalocker
import pytest
from attrs import frozen

ONE_AT_A_TIME = Path(tempfile.gettempdir()) / "akool-hosts.lock"
HERE, THERE = "10.213.7.1", "10.213.7.2"


@frozen
class Host:
    """A host whose network connection can be cut."""

    name: str
    device: str

    def command(self, *arguments):
        """Return the command that runs a command on this host."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def cut(self):
        """Let no packets reach the host. Its connections are not closed."""
        _ip("link", "set", self.device, "down")

    def heal(self):
        """Let packets reach the host again."""
        _ip("link", "set", self.device, "up")


@contextmanager
def other_host():
    """A host that reaches this one at ``HERE``. Skips the test if namespaces cannot be created."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces require root and the program ip")
    name = f"akool-{uuid4().hex[:6]}"
    device, peer = f"{name}-a"[-15:], f"{name}-b"[-15:]
    with ExitStack() as stack:
        stack.enter_context(portalocker.Lock(ONE_AT_A_TIME, timeout=300))  # there is only one pair of addresses
        try:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            _ip("link", "add", device, "type", "veth", "peer", "name", peer, "netns", name)
            stack.callback(_ip, "link", "delete", device)  # explicitly, since the kernel may delete the namespace later
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be created here: {error.stderr.decode().strip()}")
        _ip("address", "add", f"{HERE}/24", "dev", device)
        _ip("link", "set", device, "up")
        _ip("-n", name, "address", "add", f"{THERE}/24", "dev", peer)
        _ip("-n", name, "link", "set", peer, "up")
        yield Host(name, device)


@asynccontextmanager
async def forwarded(port):
    """A port of ``HERE`` that is forwarded to a loopback port of this host."""
    ends = []

    async def connect(reader, writer):
        beyond, to_beyond = await asyncio.open_connection("127.0.0.1", port)
        ends.extend((writer, to_beyond))
        await asyncio.gather(_carry(reader, to_beyond), _carry(beyond, writer))

    server = await asyncio.start_server(connect, HERE, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for end in ends:
            end.transport.abort()
        await server.wait_closed()


async def _carry(reader, writer):
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
