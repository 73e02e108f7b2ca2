"""The service as a state machine: images, buttons, credits. No I/O, and no task per job: an image's status follows from
the clock when somebody asks.
"""

from __future__ import annotations

import random
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
    from collections.abc import Callable

    from akool_async.emulator._faults import Fault
    from akool_async.emulator._ledger import Ledger
    from akool_async.emulator._options import Options
    from akool_async.emulator._parameters import Press, Prompt
    from akool_async.emulator._prices import Prices

LIFETIME = 7 * 86_400.0
PACE = {"prompt": 1.0, "upscale": 1.3, "variation": 0.75}
FULL_CIRCLE = 360
VARIATION_SHIFT = 14
"""Degrees of hue between a variation and its source, times the button's number."""


class Service:
    """One account, and what it has made."""

    def __init__(
        self,
        options: Options,
        *,
        clock: Callable[[], float],
        ledger: Ledger,
        prices: Prices,
        reported_prices: Prices,
    ) -> None:
        self._dice = random.Random(options.seed)  # noqa: S311 - durations and looks, nothing secret
        self.now = clock
        self.credits = options.credits
        self.account = Account(clock=clock, ledger=ledger, rng=self._dice, token_lifetime=options.token_lifetime)
        self._options = options
        self._ledger = ledger
        self._prices = prices
        self._reported_prices = reported_prices
        self._images: dict[str, Image] = {}
        self._object_ids = ObjectIds()
        self._used_button_codes = cycle(options.used_button_codes)
        self._plan_queue = PlanQueue(options.plan_concurrency if options.plan_queues else None)

    def add_image(self, buttons: tuple[str, ...]) -> str:
        """A finished image of a prompt, free of charge: it took the median time and was stored just now."""
        finished_at = self.now()
        started_at = finished_at - self._options.median_seconds / self._options.speed
        accepted_at = started_at - self._options.queue_median_seconds / self._options.speed
        image = self._new_image("prompt", "prompt", accepted_at, started_at, finished_at)
        image.prompt, image.buttons = "emulated", buttons
        return image.id

    def find(self, image_id: str | None) -> Image:
        """An image that exists and has not expired."""
        if not image_id:
            raise parameter_error("image id")
        image = self._images.get(image_id)
        if image is None or self.now() >= image.accepted_at + LIFETIME:
            raise Refusal(self._options.not_found_code, "the content does not exist")
        return image

    def press(self, press: Press, fault: Fault | None = None) -> Image:
        """Create By Button."""
        source, button = self.find(press.image_id), press.button
        if source.status(self.now()) != COMPLETED:
            raise Refusal(NOT_OPERABLE, "cannot operate this content: it is not completed")
        if button in source.used:
            raise self._refuse_used(button)
        if button not in source.buttons:
            raise Refusal(NOT_OPERABLE, f"cannot operate this content: {button} is not available")
        kind = "upscale" if button.startswith("U") else "variation"
        self._raise_if_it_cannot_begin(1, self._prices[kind])
        image = self._begin(kind, kind, source, fault)
        image.button, image.webhook_url = button, press.webhook_url
        if image.kind == "variation":
            image.hue = (source.hue + VARIATION_SHIFT * int(button[1])) % FULL_CIRCLE
        source.used[button] = self.now() + self._options.used_buttons_lag
        self._ledger.presses_accepted[source.id, button] += 1
        return image

    def create(self, prompt: Prompt, fault: Fault | None = None) -> list[Image]:
        """Create By Prompt and Create By Source Prompt: as many images as the batch has, or none."""
        priced_as = prompt.resolution or "prompt"
        self._raise_if_it_cannot_begin(prompt.batch_quantity, self._prices[priced_as])
        images = [self._begin("prompt", priced_as, None, fault) for _ in range(prompt.batch_quantity)]
        for image in images:
            image.prompt, image.scale = prompt.prompt, prompt.scale
            image.resolution, image.model_name = prompt.resolution, prompt.model_name
            image.source_image, image.webhook_url = prompt.source_image, prompt.webhook_url
        return images

    def _refuse_used(self, button: str) -> Refusal:
        code = next(self._used_button_codes)
        if code == ALREADY_OPERATED:
            return Refusal(code, "this content has been operated")
        return Refusal(code, f"cannot operate this content: {button} is not available")

    def _raise_if_it_cannot_begin(self, images: int, price: int) -> None:
        self.account.raise_if_it_may_not_spend()
        plan = self._options.plan_concurrency
        if plan is not None and not self._options.plan_queues:
            running = self._ledger.generations.count(self.now())
            if running + images > plan:
                raise Refusal(TOO_FREQUENT, "operation is too frequent")
        if self.credits < price * images:
            raise Refusal(QUOTA_NOT_ENOUGH, "your quota is not enough")

    def _begin(self, kind: str, priced_as: str, source: Image | None, fault: Fault | None) -> Image:
        """Accept a generation and charge for it."""
        now, price = self.now(), self._prices[priced_as]
        queued = self._draw_seconds(self._options.queue_median_seconds, self._options.queue_sigma)
        started_at = max(now + queued, self._plan_queue.has_room_at())
        finished_at = started_at + self._draw_seconds(self._options.median_seconds * PACE[kind], self._options.sigma)
        image = self._new_image(kind, priced_as, now, started_at, finished_at, source)
        if self._dice.random() < self._options.failure_rate:
            image.failure = "generation failed"
        if fault is not None:
            fault.strike_job(image)
        self._plan_queue.add(image.finished_at)
        self._ledger.accept(kind, now, image.finished_at, price)
        self.credits -= price
        return image

    def _draw_seconds(self, median: float, sigma: float) -> float:
        return median * self._dice.lognormvariate(0.0, sigma) / self._options.speed

    def _new_image(
        self,
        kind: str,
        priced_as: str,
        accepted_at: float,
        started_at: float,
        finished_at: float,
        source: Image | None = None,
    ) -> Image:
        look = self._dice.getrandbits(32)
        image = Image(
            self._object_ids.new(accepted_at),
            kind,
            accepted_at,
            started_at,
            finished_at,
            look,
            look % FULL_CIRCLE,
            self._reported_prices.get(priced_as, self._prices[priced_as]),
            self._options.picture_format,
            urls_at=finished_at,
        )
        if source is not None:
            image.source, image.hue = source, source.hue
            image.prompt, image.scale, image.resolution = source.prompt, source.scale, source.resolution
        if kind == "upscale" and source is not None:
            image.look, image.buttons = source.look, ()
        self._images[image.id] = image
        return image
