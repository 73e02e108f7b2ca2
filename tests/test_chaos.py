"""A small run of benchmarks/chaos.py: no press is lost or made twice, and every credit and slot is accounted for."""

from tests.support.chaos import Plan, run


async def test_every_promise_holds_under_random_faults():
    """300 presses under a cap of 30, with faults in one of five requests: the client's counters equal the ledger."""
    account = await run(Plan(presses=300, cap=30, fault_rate=0.2, seed=1))
    assert account.holds, account.table()
    assert account.done + account.failed + account.unknown + account.refused.total() == 300
    assert account.unknown > 0
