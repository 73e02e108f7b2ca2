"""A user's program that uses the whole public surface. It is never run: type checkers read it.

Where a type matters, ``assert_type`` states it; ``tests/test_typed_surface.py`` has mypy and pyright check it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_never, assert_type

import aiohttp
from aiohttp import web
from fastapi import FastAPI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

import akool_async
from akool_async import (
    AdaptivePolling,
    AkoolError,
    AkoolSession,
    APIError,
    ApiKey,
    BudgetError,
    Button,
    ButtonPress,
    ClientCredentials,
    Counters,
    ExponentialPolling,
    ImageResult,
    ImageStatus,
    Operation,
    OperationFailedError,
    Outcome,
    OutcomeUnknownError,
    Polling,
    PollingError,
    Prompt,
    ResponseError,
    SessionClosedError,
    SourcePrompt,
    Timing,
    TransportError,
    WaitTimeoutError,
    WebhookError,
    WebhookEvent,
    events,
)
from akool_async.durable import DurableFanOut, Job, JobCounts, JobState, StoreError, WorkerTiming
from akool_async.emulator import Callback, Emulator, Fault, Faults, Ledger, Post
from akool_async.opentelemetry import OpenTelemetryObserver
from akool_async.polling import Finished, Progress
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler
from akool_async.webhooks.asgi import WebhookApp

assert_type(akool_async.__version__, str)

# --- sessions ---


class EveryTwoSeconds:
    """A user's own schedule, with only the two methods of ``Polling``."""

    def next_delay(self, progress: Progress) -> float:
        assert_type(progress.kind, str | None)
        assert_type(progress.age, float)
        assert_type(progress.polls, int)
        assert_type(progress.status, ImageStatus | int | None)
        assert_type(progress.processing_since, float | None)
        return 2.0 if progress.polls else 1.0

    def learn(self, finished: Finished) -> None:
        assert_type(finished.kind, str)
        assert_type(finished.running_at, float)
        assert_type(finished.ended_at, float | None)
        assert_type(finished.queued_at, float)
        assert_type(finished.processing_at, float | None)
        assert_type(finished.duration, float | None)


class Patient(AdaptivePolling):
    """A schedule that changes one of the library's."""

    def next_delay(self, progress: Progress) -> float:
        return 2 * super().next_delay(progress)


SCHEDULES: list[Polling] = [
    EveryTwoSeconds(),
    Patient(),
    ExponentialPolling(initial=2, factor=2, max_interval=10, jitter=0.2),
    AdaptivePolling(delay_cost=1, fallback=EveryTwoSeconds(), jitter=0),
]
assert_type(AdaptivePolling.from_json(AdaptivePolling().to_json(), delay_cost=1), AdaptivePolling)


def print_event(event: events.Event) -> None:
    match event:
        case events.Queued(press=press):
            assert_type(press, ButtonPress | None)
        case events.Sending(prompt=prompt) | events.Deferred(prompt=prompt):
            assert_type(prompt, Prompt | SourcePrompt)
        case events.Accepted(operation_id=operation_id, credits=charged):
            assert_type(operation_id, str)
            assert_type(charged, float | None)
        case events.Refused(error=error):
            assert_type(error, Exception | None)
        case events.Polled() | events.Finished():
            assert_type(event.kind, str | None)
            assert_type(event.status, ImageStatus | int | None)
        case events.OutcomeUnknown(charged=is_charged):
            assert_type(is_charged, bool | None)
        case events.Throttled(code=code, seconds=seconds):
            assert_type((code, seconds), tuple[int, float])
        case _:
            assert_never(event)


async def store_event(event: events.Event) -> None:
    print(event)


def keep_events() -> tuple[list[events.Event], events.Observer]:
    kept: list[events.Event] = []
    return kept, kept.append


OBSERVERS: list[events.Observer] = [
    print_event,
    store_event,
    OpenTelemetryObserver(),
    OpenTelemetryObserver(tracer_provider=TracerProvider(), meter_provider=MeterProvider()),
]


def make_sessions(http: aiohttp.ClientSession) -> Iterator[AkoolSession]:
    yield AkoolSession()
    yield AkoolSession("a key")
    yield AkoolSession(ApiKey("a key"), max_concurrent_upscales=2, max_concurrent_operations=None)
    for polling in SCHEDULES:
        yield AkoolSession(ClientCredentials("an id", "a secret"), polling=polling, request_timeout=10)
    for observer in OBSERVERS:
        yield AkoolSession(auth=None, observer=observer, http=http, webhook_url="https://example.org/akool")
    yield AkoolSession(base_url="http://10.0.0.1", allow_http=True, resubmit_lost=False, max_requests_per_second=5)


# --- verbs and operations ---


async def press_one_by_one(image_id: str) -> list[Path]:
    async with AkoolSession() as akool:
        assert_type(akool, AkoolSession)
        assert_type(akool.account_id, str)
        image = await akool.create_by_prompt("a fox", scale="16:9", source_image=None)
        assert_type(image, Operation)
        batch = await akool.create_by_source_prompt("a fox", source_images=["https://example.org/a.png"], similar=1)
        assert_type(batch, list[Operation])
        pressed = [
            await akool.create_by_button(image_id, "U1"),
            await akool.create_by_button(image_id, Button.V1, webhook_url=""),
            await akool.upscale(image_id, 2),
            await akool.vary(image_id, 3, webhook_url=None),
        ]
        assert_type(pressed, list[Operation])
        assert_type(await akool.get_image_result(image_id), ImageResult)
        assert_type(await akool.get_credit(), float)
        assert_type(await akool.reconcile(image_id, Button.U1), bool | None)
        assert_type(await akool.wait_until_complete(image.id, timeout=60), ImageResult)
        assert_type(akool.unclaimed, tuple[Operation, ...])
        assert_type(akool.unclaimed_errors, tuple[OutcomeUnknownError, ...])
        assert_type(akool.counters(), Counters)
        assert_type(akool.counters().credits_elsewhere, float | None)
        result = await akool.wait_until_complete(image, raise_on_failure=False)
        return await akool.download(result, Path("pictures")) + await akool.download(result, "pictures")


async def follow(akool: AkoolSession, operation: Operation) -> datetime | None:
    assert_type(operation.id, str)
    assert_type(operation.button, Button | None)
    assert_type(operation.source_image_id, str | None)
    assert_type(operation.press, ButtonPress | None)
    assert_type(operation.latest, ImageResult | None)
    assert_type(operation.status, ImageStatus | int | None)
    assert_type(operation.done(), bool)
    assert_type(akool.operation(operation.id), Operation)
    again = akool.resume(operation.to_json())
    async for snapshot in again.updates():
        assert_type(snapshot, ImageResult)
    async with aclosing(again.updates()) as updates:
        assert_type(await anext(updates), ImageResult)
    result = await again.wait_until_complete(timeout=10, raise_on_failure=False)
    assert_type(result, ImageResult)
    assert_type(result.id, str)
    assert_type(result.status, ImageStatus | int | None)
    assert_type(result.image, str | None)
    assert_type(result.urls, tuple[str, ...])
    assert_type(result.buttons, tuple[str, ...])
    assert_type(result.is_final, bool)
    assert_type(result.deduction_credit, float | None)
    assert_type(result.raw, Mapping[str, Any])
    assert_type(result.finished_at, datetime | None)
    return result.expires_at


def read_buttons(press: ButtonPress) -> tuple[str, str]:
    assert_type(Button.parse("U1"), Button)
    assert_type(Button.upscale(1), Button)
    assert_type(Button.vary(1).is_upscale, bool)
    assert_type(list(Button), list[Button])
    assert_type(ButtonPress("an id", "U1"), ButtonPress)
    assert_type(ButtonPress(image_id="an id", button=Button.U1).button, Button)
    known: dict[ButtonPress, str] = {press: press.image_id}
    return known[press], press.button.kind


# --- fan-outs ---


async def generate(image_ids: list[str]) -> AsyncGenerator[ButtonPress, None]:
    for image_id in image_ids:
        yield ButtonPress(image_id, Button.U1)


async def press_many(akool: AkoolSession, image_ids: list[str], batch: dict[str, Button]) -> None:
    pairs = [(image_id, "U1") for image_id in image_ids]
    presses = [ButtonPress(image_id, "U1") for image_id in image_ids]
    inputs = [
        akool.fan_out(pairs, max_in_flight=8),
        akool.fan_out(presses, preflight=False),
        akool.fan_out([("an id", Button.U1), ButtonPress("an id", Button.U2)], max_credits=100, timeout=60),
        akool.fan_out((image_id, button) for image_id in image_ids for button in Button),
        akool.fan_out(batch.items(), max_credits=0.5),
        akool.fan_out({ButtonPress("an id", "V1")}),
        akool.fan_out(generate(image_ids)),
    ]
    assert_type(inputs, list[AsyncGenerator[Outcome, None]])
    for outcomes in inputs:
        async with aclosing(outcomes):
            async for outcome in outcomes:
                assert_type(outcome, Outcome)
                read_outcome(outcome)


def read_outcome(outcome: Outcome) -> tuple[str, ...]:
    assert_type(outcome.press, ButtonPress | None)
    assert_type(outcome.prompt, Prompt | SourcePrompt | None)
    assert_type(outcome.button, Button | None)
    assert_type(outcome.parent, Outcome | None)
    assert_type(outcome.path, tuple[Button, ...])
    assert_type(outcome.operation, Operation | None)
    assert_type(outcome.result, ImageResult | None)
    assert_type(outcome.error, Exception | None)
    assert_type(outcome.unwrap(), ImageResult)
    return outcome.unwrap().urls if outcome.ok else ()


# --- errors ---


async def press_carefully(operation: Operation) -> object:
    try:
        assert_type(await operation, ImageResult)
        return await operation.wait_until_complete()
    except OperationFailedError as error:
        assert_type(error.result, ImageResult)
    except WaitTimeoutError as error:
        timeout: TimeoutError = error
        assert_type(error.timeout, float)
        return timeout
    except PollingError as error:
        assert_type((error.status, error.age), tuple[int | None, float])
    except SessionClosedError as error:
        assert_type(error.operation_ids, tuple[str, ...])
    except OutcomeUnknownError as error:
        assert_type(error.charged, bool | None)
    except BudgetError as error:
        assert_type((error.max_credits, error.charged, error.price), tuple[float, float, float])
    except APIError as error:
        assert_type((error.code, error.msg, error.http_status), tuple[int, str, int])
        assert_type(error.retry_after, float | None)
    except TransportError as error:
        assert_type(error.delivered, bool | None)
    except ResponseError as error:
        assert_type((error.http_status, error.retry_after), tuple[int | None, float | None])
    except AkoolError as error:
        assert_type(error.operation_id, str | None)
        assert_type(error.press, ButtonPress | None)
        assert_type(error.about(operation_id=operation.id), AkoolError)
    return None


# --- webhooks ---


def receive(akool: AkoolSession, body: bytes) -> bool:
    verifier = WebhookVerifier("an id", os.environ["AKOOL_CLIENT_SECRET"], tolerance=None)
    try:
        event = verifier.parse(body)
    except WebhookError:
        return False
    assert_type(event, WebhookEvent)
    assert_type((event.id, event.status, event.url), tuple[str, ImageStatus | int, str | None])
    return akool.notify(event, correlation_id="an id") and akool.notify(event)


def serve(akool: AkoolSession, jobs: DurableFanOut, verifier: WebhookVerifier) -> tuple[web.Application, FastAPI]:
    handler = webhook_handler(akool, verifier)
    assert_type(handler, Callable[[web.Request], Awaitable[web.Response]])
    application = web.Application()
    application.router.add_post("/akool", handler)
    application.router.add_post("/jobs", webhook_handler(jobs, verifier))
    backend = FastAPI()
    backend.mount("/akool", WebhookApp(akool, verifier))
    backend.mount("/jobs", WebhookApp(session=jobs, verifier=verifier))
    return application, backend


# --- durable fan-outs ---


async def press_for_good(presses: list[tuple[str, str]], event: WebhookEvent) -> JobCounts | None:
    options = DurableFanOut(ApiKey("a key"), "postgresql://localhost/akool", account="shop", create=False)
    assert_type(options, DurableFanOut)
    async with DurableFanOut(
        store="sqlite:///akool.db",
        max_concurrent_upscales=2,
        max_requests_per_second=None,
        lost_reply_timeout=30,
        worker_timing=WorkerTiming(heartbeat_interval=1).scaled(0.1),
        base_url="http://127.0.0.1:8080",
        polling=EveryTwoSeconds(),
        observer=print_event,
        request_timeout=10,
        webhook_url=None,
        resubmit_lost=True,
    ) as jobs:
        assert_type(jobs, DurableFanOut)
        try:
            assert_type(await jobs.submit(presses), int)
            await jobs.submit(generate(["an id"]))
            await jobs.submit([ButtonPress("an id", "U1")])
            await jobs.run(until_empty=False)
        except StoreError as error:
            akool_error: AkoolError = error
            print(akool_error)
        async with aclosing(jobs.outcomes()) as outcomes:
            assert_type(await anext(outcomes), Outcome)
        async for outcome in jobs.outcomes(presses):
            read_outcome(outcome)
        async for job in jobs.jobs(JobState.OPEN, "unknown"):
            assert_type(job.press, ButtonPress | None)
            assert_type(job.item, ButtonPress | Prompt | SourcePrompt)
            assert_type(job.key, str | None)
            assert_type(job.state, JobState)
            assert_type(job.operation_id, str | None)
            assert_type(job.submitted_at, datetime)
            assert_type(job.ended_at, datetime | None)
            assert_type(job.outcome, Outcome | None)
            await jobs.resolve(job.item, retry=True)
        assert_type(await jobs.job(("an id", "U1")), Job | None)
        assert_type(await jobs.find(presses), list[Job])
        assert_type(await jobs.notify(event, correlation_id=None), bool)
        assert_type(await jobs.prune(timedelta(days=30)), int)
        counts = await jobs.status()
        assert_type((counts.open, counts.credits_lost), tuple[int, float])
        return counts


# --- the emulator ---


async def test_a_backend() -> None:
    async with Emulator(speed=200, prices={"upscale": 4}, used_button_codes=(1010, 1011)) as emulator:
        assert_type(emulator, Emulator)
        assert_type(emulator.faults, Faults)
        emulator.faults.script("create_by_button", Fault.reset("after"), None, Fault.status(502))
        emulator.faults.rate(0.1, Fault.throttle(datetime.now(UTC)), Fault.code(1005), endpoints=["get_token"], seed=1)
        emulator.prices["upscale"] = 4
        emulator.account_state = "unpaid"
        emulator.spend_elsewhere(3)
        emulator.advance(60)
        assert_type(emulator.add_image(buttons=["U1"]), str)
        assert_type(emulator.credits, int)
        assert_type(emulator.environment(), dict[str, str])
        async with emulator.session(timing=Timing(reconcile_gap=1).scaled(0.1)) as akool:
            assert_type(akool, AkoolSession)
            await akool.upscale(emulator.add_image(), 1)
        assert_type(await emulator.ledger.until(lambda ledger: ledger.accepted >= 1, timeout=5), bool)
        check_ledger(emulator.ledger)


def test_a_script() -> None:
    with Emulator() as emulator:
        assert_type(emulator, Emulator)
        check_ledger(emulator.ledger)


def check_ledger(ledger: Ledger) -> None:
    assert_type(ledger.posts, list[Post])
    assert_type(ledger.callbacks, list[Callback])
    assert_type(ledger.presses_accepted["an id", "U1"], int)
    assert_type(ledger.requests["get_token"], int)
    assert_type((ledger.accepted, ledger.charged, ledger.peak_upscales), tuple[int, int, int])
    assert_type(ledger.pressed_twice(), list[tuple[str, str]])


async def stream(akool: AkoolSession, image_id: str) -> AsyncIterator[str]:
    async for outcome in akool.fan_out([(image_id, button) for button in Button]):
        yield outcome.button or "prompt"
