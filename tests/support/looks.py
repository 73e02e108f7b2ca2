"""Bounded looks at what tells nobody that it changed: a state, a file, another process, the inside of a session.

What the emulator's ledger says needs no look: ``await emulator.ledger.until(...)``.
"""

import asyncio

LONGEST, LONGEST_PAUSE = 60.0, 0.01


async def look_until(is_so):
    """Look, at first often, until ``is_so()`` is true, awaited if it is a coroutine; returns what it was."""
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
