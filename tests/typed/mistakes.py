"""Mistakes that users make, and type checkers must report. Each line that ends in two codes is one: mypy's, pyright's.

It is never run; ``tests/test_typed_surface.py`` has both read it.
"""

from __future__ import annotations

import asyncio

from akool_async import AkoolSession, Button, ButtonPress, Counters, Operation, Outcome, Timing, events
from akool_async.durable import DurableFanOut
from akool_async.emulator import Emulator, Fault
from akool_async.opentelemetry import OpenTelemetryObserver
from akool_async.polling import Progress
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler
from akool_async.webhooks.asgi import WebhookApp


class Forgetful:
    """A schedule that cannot learn."""

    def next_delay(self, progress: Progress) -> float:
        return progress.age


def two_arguments(event: events.Event, other: int) -> None:
    print(event, other)


def make_sessions() -> None:
    AkoolSession(42)  # arg-type, reportArgumentType
    AkoolSession("a key", "https://example.org")  # call-arg, reportCallIssue
    AkoolSession(max_concurrent_upscale=4)  # call-arg, reportCallIssue
    AkoolSession(polling=Forgetful())  # arg-type, reportArgumentType
    AkoolSession(observer=two_arguments)  # arg-type, reportArgumentType
    AkoolSession(observer=OpenTelemetryObserver)  # arg-type, reportArgumentType
    with AkoolSession():  # attr-defined, reportGeneralTypeIssues
        pass


async def press(akool: AkoolSession, image_id: str) -> None:
    akool.upscale(image_id, 1)  # unused-coroutine, reportUnusedCoroutine
    await akool.upscale(image_id, "1")  # arg-type, reportArgumentType
    await akool.create_by_button(image_id, 1)  # arg-type, reportArgumentType
    await akool.create_by_button(image_id)  # call-arg, reportCallIssue
    await akool.create_by_prompt("a fox", scales="1:1")  # call-arg, reportCallIssue
    await akool.create_by_source_prompt("a fox", batch_quantity="2")  # arg-type, reportArgumentType
    await akool.download(image_id, "pictures")  # arg-type, reportArgumentType
    await akool.counters()  # misc, reportGeneralTypeIssues
    akool.unclaimed = ()  # misc, reportAttributeAccessIssue
    akool.counters().polls = 1  # misc, reportAttributeAccessIssue
    akool.press(image_id, "U1")  # attr-defined, reportAttributeAccessIssue


async def wait(operation: Operation) -> str:
    await operation.wait_until_complete(60)  # call-arg, reportCallIssue
    await operation.wait_until_complete(timeout="60")  # arg-type, reportArgumentType
    await operation.done()  # misc, reportGeneralTypeIssues
    async for _ in operation.updates:  # attr-defined, reportGeneralTypeIssues
        pass
    for _ in operation.updates():  # attr-defined, reportGeneralTypeIssues
        pass
    return await operation.wait_until_complete()  # return-value, reportReturnType


async def press_many(akool: AkoolSession, image_ids: list[str], outcome: Outcome) -> None:
    akool.fan_out(image_ids)  # arg-type, reportArgumentType
    akool.fan_out([("an id", "U1", 1)])  # list-item, reportArgumentType
    akool.fan_out(ButtonPress("an id", "U1"))  # arg-type, reportArgumentType
    akool.fan_out([("an id", "U1")], max_credit=5)  # call-arg, reportCallIssue
    await akool.fan_out([("an id", "U1")])  # misc, reportGeneralTypeIssues
    for _ in akool.fan_out([("an id", "U1")]):  # attr-defined, reportGeneralTypeIssues
        pass
    print(outcome.operation.id)  # union-attr, reportOptionalMemberAccess
    print(outcome.unwrap().url)  # attr-defined, reportAttributeAccessIssue
    ButtonPress("an id", 1)  # arg-type, reportArgumentType
    Button.upscale("1")  # arg-type, reportArgumentType
    outcome.press.button = Button.U1  # misc, reportAttributeAccessIssue


async def press_for_good(jobs: DurableFanOut) -> None:
    DurableFanOut(stor="sqlite:///akool.db")  # call-arg, reportCallIssue
    DurableFanOut(request_timeout="10")  # arg-type, reportArgumentType
    DurableFanOut(http=None)  # call-arg, reportCallIssue
    await jobs.submit(["an id"])  # list-item, reportArgumentType
    await jobs.prune(30)  # arg-type, reportArgumentType
    await jobs.outcomes()  # misc, reportGeneralTypeIssues
    print(jobs.run() + 1)  # operator, reportOperatorIssue
    await jobs.resolve(("an id", "U1"), "an operation's id")  # call-arg, reportCallIssue


def receive(akool: AkoolSession, jobs: DurableFanOut, verifier: WebhookVerifier) -> None:
    verifier.parse("{}")  # arg-type, reportArgumentType
    akool.notify(b"{}")  # arg-type, reportArgumentType
    webhook_handler(verifier, akool)  # arg-type, reportArgumentType
    WebhookApp(object(), verifier)  # arg-type, reportArgumentType
    if jobs.notify(verifier.parse(b"{}")) is True:  # comparison-overlap, reportUnnecessaryComparison
        pass


def read_event(event: events.Event, counters: Counters) -> str:
    print(event.press)  # union-attr, reportAttributeAccessIssue
    match event:
        case events.Finished():
            print(event.charged)  # attr-defined, reportAttributeAccessIssue
        case _:
            pass
    return counters.polls  # return-value, reportReturnType


async def emulate() -> None:
    Timing(reconcile_gap="3")  # arg-type, reportArgumentType
    Timing(gap=3)  # call-arg, reportCallIssue
    async with Emulator(speed="200") as emulator:  # arg-type, reportArgumentType
        emulator.session(max_concurent_upscales=1)  # call-arg, reportCallIssue
        emulator.session(timing=3)  # arg-type, reportArgumentType
        emulator.faults.script("create_by_button", "reset")  # arg-type, reportArgumentType
        emulator.faults.script("create_by_button", Fault.reset("later"))  # arg-type, reportArgumentType
        emulator.add_image(button=["U1"])  # call-arg, reportCallIssue
        await asyncio.wait_for(emulator.ledger.charged, 1)  # arg-type, reportArgumentType
