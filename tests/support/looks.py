"""Bounded polls of states without notifications: a file, another process, the inside of a session.

For the emulator's ledger, use ``await emulator.ledger.until(...)``.
"""

import asyncio

LONGEST, LONGEST_PAUSE = 60.0, 0.01


async def look_until(is_so):
    """Call ``is_so()`` until it is true, often at first, and return its value. A coroutine is awaited."""
    now = asyncio.get_running_loop().time
    deadline, pause = now() + LONGEST, 0.0
    while now() < deadline:
        answer = is_so()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(pause)
        pause = min(2 * pause + 0.001, LONGEST_PAUSE)
    raise AssertionError(f"it did not come about within {LONGEST:g} s: {is_so}")
