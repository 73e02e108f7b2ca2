"""The service as a state machine: credentials, images, buttons, credits. No I/O, and no task per job: an image's
status follows from the clock when somebody asks.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from akool_async.emulator._images import COMPLETED, PRICE, Image
from akool_async.emulator._refusals import (
    AUTHORIZATION_EMPTY,
    AUTHORIZATION_INVALID,
    NOT_EXISTING,
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
    from akool_async.emulator._parameters import Press, Prompt

LIFETIME = 7 * 86_400.0
PACE = {"prompt": 1.0, "upscale": 1.3, "variation": 0.75}
FULL_CIRCLE = 360
VARIATION_SHIFT = 14
"""Degrees of hue between a variation and its source, times the button's number."""


class Service:
    """One account."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        ledger: Ledger,
        seed: int,
        speed: float,
        median_seconds: float,
        sigma: float,
        credit: int,
        plan_concurrency: int | None,
        token_lifetime: float | None,
        used_buttons_lag: float,
        failure_rate: float,
    ) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - durations and ids, nothing secret
        self.now = clock
        self._ledger = ledger
        self._speed = speed
        self._median = median_seconds
        self._sigma = sigma
        self._plan_concurrency = plan_concurrency
        self._token_lifetime = math.inf if token_lifetime is None else token_lifetime
        self._used_buttons_lag = used_buttons_lag
        self._failure_rate = failure_rate
        self._images: dict[str, Image] = {}
        self._token_ends: dict[str, float] = {}
        self.credits = credit
        self.api_key = f"emulated-key-{self._dice.getrandbits(64):016x}"
        self.client_id = self._new_id()
        self.client_secret = self._new_id()

    # --- authentication ---

    def issue_token(self, client_id: object, client_secret: object) -> str:
        """Get Token."""
        if not client_id or not client_secret:
            raise parameter_error("clientId and clientSecret")
        if (client_id, client_secret) != (self.client_id, self.client_secret):
            raise Refusal(AUTHORIZATION_INVALID, "clientId or clientSecret is invalid")
        token = f"emulated-token-{self._dice.getrandbits(64):016x}"
        self._token_ends[token] = self.now() + self._token_lifetime
        self._ledger.tokens_issued += 1
        return token

    def expire_tokens(self) -> None:
        """End every token that was issued."""
        self._token_ends.clear()

    def authenticate(self, authorization: str | None, api_key: str | None) -> None:
        """Authorization wins over x-api-key where both are sent."""
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or self.now() >= self._token_ends.get(token, 0.0):
                raise Refusal(AUTHORIZATION_INVALID, "authorization is invalid or the token has expired")
        elif not api_key:
            raise Refusal(AUTHORIZATION_EMPTY, "authorization cannot be empty")
        elif api_key != self.api_key:
            raise Refusal(AUTHORIZATION_INVALID, "authorization is invalid")

    # --- images ---

    def add_image(self, buttons: tuple[str, ...]) -> str:
        """A finished image of a prompt, free of charge."""
        now = self.now()
        image = self._new_image("prompt", now, now, None)
        image.prompt, image.buttons = "emulated", buttons
        return image.id

    def find(self, image_id: str | None) -> Image:
        """An image that exists and has not expired."""
        if not image_id:
            raise parameter_error("image id")
        image = self._images.get(image_id)
        if image is None or self.now() >= image.accepted_at + LIFETIME:
            raise Refusal(NOT_EXISTING, "the content does not exist")
        return image

    def press(self, press: Press, fault: Fault | None = None) -> Image:
        """Create By Button."""
        source, button = self.find(press.image_id), press.button
        if source.status(self.now()) != COMPLETED:
            raise Refusal(NOT_OPERABLE, "cannot operate this content: it is not completed")
        if button in source.used or button not in source.buttons:
            raise Refusal(NOT_OPERABLE, f"cannot operate this content: {button} is not available")
        self._check_room_and_credit(1)
        image = self._begin("upscale" if button.startswith("U") else "variation", source, fault)
        image.button, image.webhook_url = button, press.webhook_url
        if image.kind == "variation":
            image.hue = (source.hue + VARIATION_SHIFT * int(button[1])) % FULL_CIRCLE
        source.used[button] = self.now() + self._used_buttons_lag
        self._ledger.presses_accepted[source.id, button] += 1
        return image

    def create(self, prompt: Prompt, fault: Fault | None = None) -> list[Image]:
        """Create By Prompt and Create By Source Prompt: as many images as the batch has, or none."""
        self._check_room_and_credit(prompt.batch_quantity)
        images = [self._begin("prompt", None, fault) for _ in range(prompt.batch_quantity)]
        for image in images:
            image.prompt, image.scale = prompt.prompt, prompt.scale
            image.source_image, image.webhook_url = prompt.source_image, prompt.webhook_url
        return images

    def _check_room_and_credit(self, images: int) -> None:
        if self._plan_concurrency is not None:
            running = self._ledger.generations.count(self.now())
            if running + images > self._plan_concurrency:
                raise Refusal(TOO_FREQUENT, "operation is too frequent")
        if self.credits < PRICE * images:
            raise Refusal(QUOTA_NOT_ENOUGH, "your quota is not enough")

    def _begin(self, kind: str, source: Image | None, fault: Fault | None) -> Image:
        """Accept a generation and charge for it."""
        now = self.now()
        duration = self._dice.lognormvariate(math.log(self._median), self._sigma) * PACE[kind] / self._speed
        image = self._new_image(kind, now, now + duration, source)
        if self._dice.random() < self._failure_rate:
            image.failure = "generation failed"
        if fault is not None:
            fault.strike_job(image)
        self._ledger.accept(kind, now, image.finished_at, PRICE)
        self.credits -= PRICE
        return image

    def _new_image(self, kind: str, accepted_at: float, finished_at: float, source: Image | None) -> Image:
        look = self._dice.getrandbits(32)
        image = Image(self._new_id(), kind, accepted_at, finished_at, look, look % FULL_CIRCLE, urls_at=finished_at)
        if source is not None:
            image.source, image.hue = source, source.hue
            image.prompt, image.scale = source.prompt, source.scale
        if kind == "upscale" and source is not None:
            image.look, image.buttons = source.look, ()
        self._images[image.id] = image
        return image

    def _new_id(self) -> str:
        return f"{self._dice.getrandbits(96):024x}"
