"""AKOOL's image API on loopback: for the demo, for the library's tests and for yours.

It is written from AKOOL's pages alone and imports nothing of the client, so that both ends cannot share one bug.
"""

from akool_async.emulator._emulator import Emulator
from akool_async.emulator._faults import Fault, Faults
from akool_async.emulator._ledger import Callback, Ledger, Post

__all__ = ["Callback", "Emulator", "Fault", "Faults", "Ledger", "Post"]
