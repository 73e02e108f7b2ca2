"""Another host: a network namespace of the test's own, joined to this one by a pair of virtual network devices."""

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest
from attrs import frozen

HERE, THERE = "10.213.7.1", "10.213.7.2"


@frozen
class Host:
    """A host whose cable can be pulled."""

    name: str
    device: str

    def command(self, *arguments):
        """The command that runs there."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def cut(self):
        """From now on no packet reaches it, and its connections are not closed."""
        _ip("link", "set", self.device, "down")


@contextmanager
def other_host():
    """A host that reaches this one at ``HERE``; skips the test where namespaces cannot be made."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces take root and the program ip")
    name = f"akool-{uuid4().hex[:6]}"
    device, peer = f"{name}-a"[-15:], f"{name}-b"[-15:]
    with ExitStack() as stack:
        try:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
            _ip("link", "add", device, "type", "veth", "peer", "name", peer, "netns", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
        _ip("address", "add", f"{HERE}/24", "dev", device)
        _ip("link", "set", device, "up")
        _ip("-n", name, "address", "add", f"{THERE}/24", "dev", peer)
        _ip("-n", name, "link", "set", peer, "up")
        yield Host(name, device)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
