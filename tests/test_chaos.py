"""A small run of benchmarks/chaos.py: nothing pressed twice or lost, every credit and every slot accounted for."""

from tests.support.chaos import Plan, run


async def test_every_promise_holds_under_random_faults():
    """300 presses under a cap of 30, one in five requests struck: the client's account equals the emulator's ledger."""
    account = await run(Plan(presses=300, cap=30, fault_rate=0.2, seed=1))
    assert account.holds, account.table()
    assert account.done + account.failed + account.unknown + account.refused.total() == 300
    assert account.unknown > 0
