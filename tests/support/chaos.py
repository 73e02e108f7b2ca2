"""Presses under random faults, and a comparison of the client's reports with the emulator's ledger."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import define, field, frozen

from akool_async import AkoolError, AkoolSession, Button, ExponentialPolling, OperationFailedError, OutcomeUnknownError
from akool_async.emulator import Emulator, Fault

PRICE = 2
NAME = "akool.test"
LOOKUPS_THAT_FAIL, LOOKUPS_THAT_HANG = 0.04, 0.002
"""Shares of the look-ups of AKOOL's name: what then is not delivered is sent again."""
REPLY_FAULTS = [
    fault
    for when in ("before", "after")
    for fault in (
        Fault.reset(when),
        Fault.status(500, when),
        Fault.status(502, when),
        Fault.status(503, when),
        Fault.html(when),
        Fault.cut(when),
        Fault.empty(when),
        Fault.huge(5 * 2**20, when),
        Fault.stall(when),
    )
]
OTHER_FAULTS = [
    Fault.throttle(retry_after=1),
    Fault.code(1005),
    Fault.code(1103),
    Fault.code(1108),
    Fault.other_image(),
    Fault.bad_bytes(),
]

PRESS_FAULTS = [Fault.late_urls(0.2), Fault.fails("chaos"), Fault.deduction_credit(0), Fault.deduction_credit(1)]
"""Some replies report less than was charged; the results report the truth."""
POLL_FAULTS = [Fault.image_status(9), Fault.image_status(2)]


@frozen(kw_only=True)
class Plan:
    """The parameters of a run."""

    presses: int = 10_000
    cap: int = 200
    fault_rate: float = 0.1
    seed: int = 0
    speed: float = 200.0


class UnsureResolver(AbstractResolver):
    """A name server that fails at random, or answers later than a request may take."""

    def __init__(self, seed: int) -> None:
        self.is_failing = True
        self.failed = 0
        self._rng = random.Random(seed)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve every name to this machine."""
        drawn = self._rng.random() if self.is_failing else 1.0
        if drawn < LOOKUPS_THAT_FAIL + LOOKUPS_THAT_HANG:
            self.failed += 1
            if drawn < LOOKUPS_THAT_HANG:
                await asyncio.sleep(3600)
            raise OSError("temporary failure in name resolution")
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Do nothing: nothing is open."""


@define
class Account:
    """The client's reports, compared with the emulator's ledger."""

    done: int = 0
    failed: int = 0
    unknown: int = 0
    refused: Counter[str] = field(factory=Counter)
    reported: set[tuple[str, str]] = field(factory=set)
    """Presses whose callers know that they were or may have been charged."""
    in_doubt: list[tuple[str, str]] = field(factory=list)
    """Presses reported as unknown with charged=None: to be reconciled by hand when the storm is over."""
    pressed_twice: int = 0
    lost: int = 0
    charged: int = 0
    accounted_for: float = 0
    """Credits that the session's own counters add up to, and what reconcile() found."""
    not_delivered: int = 0
    """POSTs and polls that never left, because AKOOL's name could not be looked up."""
    slots_leaked: int = 0
    seconds: float = 0.0
    requests: int = 0

    @property
    def holds(self) -> bool:
        """True if every promise was kept."""
        return self.pressed_twice == self.lost == self.slots_leaked == 0 and self.charged == self.accounted_for > 0

    def table(self) -> str:
        """The report, for people."""
        rows = {
            "done": self.done,
            "failed (status 4)": self.failed,
            "reported unknown": f"{self.unknown}, {len(self.in_doubt)} of them reconciled by hand",
            "refused": ", ".join(f"{number} {name}" for name, number in self.refused.most_common()) or 0,
            "pressed twice": self.pressed_twice,
            "lost": self.lost,
            "credits charged": self.charged,
            "credits accounted for": f"{self.accounted_for:g}",
            "slots leaked": self.slots_leaked,
            "look-ups that failed": self.not_delivered,
            "requests": self.requests,
            "seconds": f"{self.seconds:.1f}",
        }
        return "\n".join(f"{name:<22} {value}" for name, value in rows.items())


async def run(plan: Plan) -> Account:
    """Press under faults, and compare."""
    resolver = UnsureResolver(plan.seed)
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=0, keepalive_timeout=1.0)
    async with (
        Emulator(
            speed=plan.speed, seed=plan.seed, credits=10 * PRICE * plan.presses, used_button_codes=(1010, 1011)
        ) as emulator,
        aiohttp.ClientSession(connector=connector) as http,
        emulator.session(
            base_url=emulator.base_url.replace("127.0.0.1", NAME),
            allow_http=True,
            http=http,
            max_concurrent_upscales=plan.cap,
            polling=ExponentialPolling(initial=0.1, max_interval=0.5),
            request_timeout=2.0,
        ) as akool,
    ):
        emulator.faults.rate(plan.fault_rate, *REPLY_FAULTS, *OTHER_FAULTS, *POLL_FAULTS, seed=plan.seed)
        press_faults = (*REPLY_FAULTS, *OTHER_FAULTS, *PRESS_FAULTS)
        emulator.faults.rate(plan.fault_rate, *press_faults, endpoints=["create_by_button"], seed=plan.seed)
        presses = [
            (image_id, f"U{index}")
            for image_id in (emulator.add_image() for _ in range(-(-plan.presses // 4)))
            for index in (1, 2, 3, 4)
        ][: plan.presses]
        account = Account()
        began = time.monotonic()
        await _press_all(akool, account, presses, width=2 * plan.cap)
        account.seconds = time.monotonic() - began
        emulator.faults.clear()
        account.not_delivered, resolver.is_failing = resolver.failed, False
        taken = await asyncio.gather(*(akool.reconcile(*press) for press in account.in_doubt))
        counters = akool.counters()
        account.accounted_for = counters.credits_charged + counters.credits_lost + PRICE * sum(map(bool, taken))
        _settle(account, emulator)
        account.slots_leaked = await _count_leaked_slots(akool, emulator, plan.cap)
        return account


async def _press_all(akool: AkoolSession, account: Account, presses: list[tuple[str, str]], *, width: int) -> None:
    queue = iter(presses)

    async def work() -> None:
        for image_id, button in queue:
            await _press(akool, account, image_id, button)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(work())


async def _press(akool: AkoolSession, account: Account, image_id: str, button: str) -> None:
    try:
        operation = await akool.create_by_button(image_id, button)
        account.reported.add((image_id, button))
        await operation.wait_until_complete()
    except OperationFailedError:
        account.failed += 1
    except OutcomeUnknownError as error:
        account.unknown += 1
        account.reported.add((image_id, button))
        if not error.charged:
            account.in_doubt.append((image_id, button))
    except AkoolError as error:
        account.refused[type(error).__name__] += 1
    else:
        account.done += 1


def _settle(account: Account, emulator: Emulator) -> None:
    ledger = emulator.ledger
    account.requests = ledger.requests.total()
    account.pressed_twice = len(ledger.pressed_twice())
    account.charged = ledger.charged
    account.lost = len(ledger.presses_accepted.keys() - account.reported)


async def _count_leaked_slots(akool: AkoolSession, emulator: Emulator, cap: int) -> int:
    """Take every slot with jobs that do not end. Slots that cannot be taken have leaked."""
    emulator.faults.script("create_by_button", *[Fault.stuck()] * cap)
    fresh = [emulator.add_image() for _ in range(-(-cap // 4))]
    presses = [(image_id, button) for image_id in fresh for button in list(Button)[:4]][:cap]
    takers = [asyncio.create_task(akool.create_by_button(*press)) for press in presses]
    _, waiting = await asyncio.wait(takers, timeout=10)
    for taker in waiting:
        taker.cancel()
    return len(waiting)
