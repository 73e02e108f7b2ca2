"""AKOOL's image API on this machine: for the demo, the library's tests and yours.

It is written from AKOOL's documentation and imports nothing from the client, so that both cannot share a bug. Its
pictures need the extra ``emulator`` (Pillow), its webhooks the extra ``webhooks`` (cryptography).

.. include:: README.md
"""

from akool_async.emulator._emulator import Emulator
from akool_async.emulator._faults import Fault, Faults
from akool_async.emulator._ledger import Callback, Ledger, Post

__all__ = ["Callback", "Emulator", "Fault", "Faults", "Ledger", "Post"]
