"""An emulator of AKOOL's image API on this machine, for the demo, the library's tests and yours.

It is written from AKOOL's documentation and shares no code with the client, so they cannot share a bug. Pictures need
the extra ``emulator`` (Pillow). Webhooks need the extra ``webhooks`` (cryptography).

.. include:: README.md
"""

from akool_async.emulator._emulator import Emulator
from akool_async.emulator._faults import Fault, Faults
from akool_async.emulator._ledger import Callback, Ledger, Post

__all__ = ["Callback", "Emulator", "Fault", "Faults", "Ledger", "Post"]
