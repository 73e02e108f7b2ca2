"""The service as a state machine: images, buttons and credits.

It does no I/O and has no tasks: each request computes an image's status from the clock.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from akool_async.emulator._account import Account
from akool_async.emulator._images import COMPLETED, Image
from akool_async.emulator._object_ids import ObjectIds
from akool_async.emulator._plan_queue import PlanQueue
from akool_async.emulator._refusals import (
    ALREADY_OPERATED,
    NOT_OPERABLE,
    QUOTA_NOT_ENOUGH,
    TOO_FREQUENT,
    Refusal,
    parameter_error,
)

if TYPE_CHECKING:
    from akool_async.emulator._clock import Clock
    from akool_async.emulator._faults import Fault
    from akool_async.emulator._ledger import Ledger
    from akool_async.emulator._options import Options
    from akool_async.emulator._parameters import Press, Prompt
    from akool_async.emulator._prices import Prices

LIFETIME = 7 * 86_400.0
RELATIVE_DURATIONS = {"prompt": 1.0, "upscale": 1.3, "variation": 0.75}
FULL_CIRCLE = 360
VARIATION_SHIFT = 14
"""Degrees of hue between a variation and its source, times the button's number."""


@dataclass(frozen=True, slots=True)
class JobTimes:
    """The times of a job, in seconds since the epoch by the service's clock."""

    accepted_at: float
    started_at: float
    finished_at: float


class Service:
    """One account and its images."""

    def __init__(
        self, options: Options, *, clock: Clock, ledger: Ledger, prices: Prices, reported_prices: Prices
    ) -> None:
        self._rng = random.Random(options.seed)  # noqa: S311 - for tests
        self.options = options
        self.now = clock.now
        self.ledger = ledger
        self.credits = options.credits
        self.account = Account(clock=clock, ledger=ledger, rng=self._rng, token_lifetime=options.token_lifetime)
        self._prices = prices
        self._reported_prices = reported_prices
        self._images: dict[str, Image] = {}
        self._object_ids = ObjectIds()
        self._used_button_codes = cycle(options.used_button_codes)
        self._plan_queue = PlanQueue(options.plan_concurrency if options.plan_queues else None)

    def add_image(self, buttons: tuple[str, ...]) -> str:
        """Add a finished image of a prompt, free of charge. It took the median time and has just been stored."""
        finished_at = self.now()
        started_at = finished_at - self.options.median_seconds / self.options.speed
        accepted_at = started_at - self.options.queue_median_seconds / self.options.speed
        image = self._new_image("prompt", "prompt", JobTimes(accepted_at, started_at, finished_at))
        image.prompt, image.buttons = "emulated", buttons
        return image.id

    def find(self, image_id: str | None) -> Image:
        """Return an image that has not expired, or raise a Refusal."""
        if not image_id:
            raise parameter_error("image id")
        image = self._images.get(image_id)
        if image is None or self.now() >= image.accepted_at + LIFETIME:
            raise Refusal(self.options.not_found_code, "the content does not exist")
        return image

    def press(self, press: Press, fault: Fault | None = None) -> Image:
        """Create By Button."""
        source, button = self.find(press.image_id), press.button
        if source.status(self.now()) != COMPLETED:
            raise Refusal(NOT_OPERABLE, "cannot operate this content: it is not completed")
        if button in source.used:
            raise self._used_refusal(button)
        if button not in source.buttons:
            raise Refusal(NOT_OPERABLE, f"cannot operate this content: {button} is not available")
        kind = "upscale" if button.startswith("U") else "variation"
        self._raise_unless_it_can_begin(1, self._prices[kind])
        image = self._begin(kind, kind, source, fault)
        image.button, image.webhook_url = button, press.webhook_url
        if image.kind == "variation":
            image.hue = (source.hue + VARIATION_SHIFT * int(button[1])) % FULL_CIRCLE
        source.used[button] = self.now() + self.options.used_buttons_lag
        self.ledger.presses_accepted[source.id, button] += 1
        return image

    def create(self, prompt: Prompt, fault: Fault | None = None) -> list[Image]:
        """Create By Prompt and Create By Source Prompt: accept all images of the batch, or refuse."""
        priced_as = prompt.resolution or "prompt"
        self._raise_unless_it_can_begin(prompt.batch_quantity, self._prices[priced_as])
        images = [self._begin("prompt", priced_as, None, fault) for _ in range(prompt.batch_quantity)]
        for image in images:
            image.prompt, image.scale = prompt.prompt, prompt.scale
            image.resolution, image.model_name = prompt.resolution, prompt.model_name
            image.source_image, image.webhook_url = prompt.source_image, prompt.webhook_url
        return images

    def _used_refusal(self, button: str) -> Refusal:
        code = next(self._used_button_codes)
        if code == ALREADY_OPERATED:
            return Refusal(code, "this content has been operated")
        return Refusal(code, f"cannot operate this content: {button} is not available")

    def _raise_unless_it_can_begin(self, images: int, price: int) -> None:
        self.account.raise_unless_it_may_spend()
        plan = self.options.plan_concurrency
        if plan is not None and not self.options.plan_queues:
            running = self.ledger.generations.count(self.now())
            if running + images > plan:
                raise Refusal(TOO_FREQUENT, "operation is too frequent")
        if self.credits < price * images:
            raise Refusal(QUOTA_NOT_ENOUGH, "your quota is not enough")

    def _begin(self, kind: str, priced_as: str, source: Image | None, fault: Fault | None) -> Image:
        """Accept a job and charge for it."""
        now, price = self.now(), self._prices[priced_as]
        queued = self._draw_seconds(self.options.queue_median_seconds, self.options.queue_sigma)
        started_at = max(now + queued, self._plan_queue.next_start())
        median = self.options.median_seconds * RELATIVE_DURATIONS[kind]
        finished_at = started_at + self._draw_seconds(median, self.options.sigma)
        image = self._new_image(kind, priced_as, JobTimes(now, started_at, finished_at), source)
        if self._rng.random() < self.options.failure_rate:
            image.failure = "generation failed"
        if fault is not None:
            _inject(fault, image)
        self._plan_queue.add(image.finished_at)
        self.ledger.accept(kind, now, image.finished_at, price)
        self.credits -= price
        return image

    def _draw_seconds(self, median: float, sigma: float) -> float:
        return median * self._rng.lognormvariate(0.0, sigma) / self.options.speed

    def _new_image(self, kind: str, priced_as: str, times: JobTimes, source: Image | None = None) -> Image:
        seed = self._rng.getrandbits(32)
        image = Image(
            id=self._object_ids.new(times.accepted_at),
            kind=kind,
            accepted_at=times.accepted_at,
            started_at=times.started_at,
            finished_at=times.finished_at,
            picture_seed=seed,
            hue=seed % FULL_CIRCLE,
            reported_price=self._reported_prices.get(priced_as, self._prices[priced_as]),
            picture_format=self.options.picture_format,
            urls_at=times.finished_at,
        )
        if source is not None:
            image.source, image.hue = source, source.hue
            image.prompt, image.scale, image.resolution = source.prompt, source.scale, source.resolution
            if kind == "upscale":
                image.picture_seed, image.buttons = source.picture_seed, ()
        self._images[image.id] = image
        return image


def _inject(fault: Fault, image: Image) -> None:
    """Change an accepted job, if the fault is one that concerns jobs and not replies."""
    if fault.kind == "fails":
        image.failure = fault.text
    elif fault.kind == "stuck":
        image.finished_at = math.inf
    elif fault.kind == "late_urls":
        image.urls_at = image.finished_at + fault.number
