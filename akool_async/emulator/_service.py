"""The service as a state machine: accounts, images, buttons, credits. No I/O, and no task per job: an image's status
follows from the clock when somebody asks.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from akool_async.emulator._faults import Fault
    from akool_async.emulator._ledger import Ledger

BUTTONS = ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4")
SCALES = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
LIFETIME = 7 * 86_400.0
PRICE = 2
QUEUEING_SHARE = 0.1
PACE = {"prompt": 1.0, "upscale": 1.3, "variation": 0.75}
QUEUEING, PROCESSING, COMPLETED, FAILED = 1, 2, 3, 4


class Refusal(Exception):  # noqa: N818 - an answer of the service, not a fault of ours
    """AKOOL's answer with a code other than 1000."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(code, msg)
        self.code = code
        self.msg = msg


@dataclass(slots=True)
class Image:
    """An accepted generation."""

    id: str
    kind: str
    accepted_at: float
    finished_at: float
    look: int
    """Seed of its pictures."""
    family: int
    """Seed shared with the image it was made from."""
    scale: str = "1:1"
    prompt: str = ""
    source_image: str | None = None
    source: Image | None = None
    button: str | None = None
    urls_at: float = 0.0
    failure: str | None = None
    webhook_url: str | None = None
    buttons: tuple[str, ...] = BUTTONS
    used: dict[str, float] = field(default_factory=dict)
    """Pressed buttons and when the press shows in ``used_buttons``."""

    def status(self, now: float) -> int:
        """image_status at ``now``."""
        if now >= self.finished_at:
            return FAILED if self.failure else COMPLETED
        waited = now - self.accepted_at
        duration = self.finished_at - self.accepted_at
        return QUEUEING if waited < QUEUEING_SHARE * duration and math.isfinite(duration) else PROCESSING


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
        self._clock = clock
        self._ledger = ledger
        self._speed = speed
        self._median = median_seconds
        self._sigma = sigma
        self._plan_concurrency = plan_concurrency
        self._token_lifetime = token_lifetime
        self._used_buttons_lag = used_buttons_lag
        self._failure_rate = failure_rate
        self._images: dict[str, Image] = {}
        self._tokens: dict[str, float] = {}
        self.credits = credit
        self.api_key = f"emulated-key-{self._dice.getrandbits(64):016x}"
        self.client_id = f"{self._dice.getrandbits(96):024x}"
        self.client_secret = f"{self._dice.getrandbits(96):024x}"

    # --- authentication ---

    def issue_token(self, client_id: object, client_secret: object) -> str:
        """Get Token."""
        if not client_id or not client_secret:
            raise Refusal(1003, "clientId and clientSecret are required")
        if (client_id, client_secret) != (self.client_id, self.client_secret):
            raise Refusal(1101, "invalid clientId or clientSecret")
        token = f"emulated-token-{self._dice.getrandbits(64):016x}"
        self._tokens[token] = math.inf if self._token_lifetime is None else self._clock() + self._token_lifetime
        self._ledger.tokens_issued += 1
        return token

    def expire_tokens(self) -> None:
        """End every token that was issued."""
        self._tokens.clear()

    def authenticate(self, authorization: str | None, api_key: str | None) -> None:
        """Authorization wins over x-api-key where both are sent."""
        if authorization and api_key:
            self._ledger.both_headers_sent += 1
        if authorization:
            if self._tokens.get(authorization.removeprefix("Bearer "), 0.0) <= self._clock():
                raise Refusal(1101, "invalid authorization or the token has expired")
        elif not api_key:
            raise Refusal(1102, "authorization cannot be empty")
        elif api_key != self.api_key:
            raise Refusal(1101, "invalid authorization")

    # --- images ---

    def add_image(self, buttons: tuple[str, ...]) -> str:
        """A finished image of a prompt, made before the account's story begins."""
        now = self._clock()
        look = self._dice.getrandbits(32)
        image = Image(self._new_id(), "prompt", now, now, look, look, prompt="emulated", buttons=buttons)
        self._images[image.id] = image
        return image.id

    def find(self, image_id: object) -> Image:
        """An image that exists and has not expired."""
        if not image_id or not isinstance(image_id, str):
            raise Refusal(1003, "parameter error: the image id is empty")
        image = self._images.get(image_id)
        if image is None or self._clock() >= image.accepted_at + LIFETIME:
            raise Refusal(1008, "the content does not exist")
        return image

    def press(self, body: dict[str, Any], fault: Fault | None) -> Image:
        """Create By Button."""
        button = body.get("button")
        source = self.find(body.get("_id"))
        if button not in BUTTONS:
            raise Refusal(1003, "parameter error: button")
        if source.status(self._clock()) != COMPLETED or source.kind == "upscale":
            raise Refusal(1010, "you can not operate this content: it is not a finished image with buttons")
        if button in source.used or button not in source.buttons:
            raise Refusal(1010, f"you can not operate this content: {button} is not available")
        kind = "upscale" if button.startswith("U") else "variation"
        look = source.look if kind == "upscale" else self._dice.getrandbits(32)
        self._check_room_and_credit(1)
        image = self._begin(kind, look, source.family, fault)
        image.source, image.button, image.scale = source, button, source.scale
        image.prompt, image.webhook_url = source.prompt, body.get("webhookUrl") or None
        source.used[button] = self._clock() + self._used_buttons_lag
        self._ledger.presses_accepted[source.id, button] += 1
        return image

    def create(self, body: dict[str, Any], fault: Fault | None, *, version: int) -> list[Image]:
        """Create By Prompt (3) and Create By Source Prompt (4)."""
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise Refusal(1003, "parameter error: prompt is empty")
        sources = body.get("source_images") or []
        scales = (*SCALES, "Original") if version == 4 and sources else SCALES  # noqa: PLR2004 - the page's version
        scale = body.get("scale", "1:1")
        batch = body.get("batch_quantity", 1) if version == 4 else 1  # noqa: PLR2004
        if scale not in scales:
            raise Refusal(1003, "parameter error: scale")
        if isinstance(batch, bool) or batch not in (1, 2, 3, 4):
            raise Refusal(1003, "parameter error: batch_quantity")
        self._check_room_and_credit(batch)
        images = []
        for _ in range(batch):
            look = self._dice.getrandbits(32)
            image = self._begin("prompt", look, look, fault)
            image.prompt, image.scale = prompt, "1:1" if scale == "Original" else scale
            image.source_image = body.get("source_image") or (sources[0] if sources else None)
            image.webhook_url = body.get("webhookurl" if version == 4 else "webhookUrl") or None  # noqa: PLR2004
            images.append(image)
        return images

    def _check_room_and_credit(self, images: int) -> None:
        if self._plan_concurrency is not None:
            running = self._ledger.generations.count(self._clock())
            if running + images > self._plan_concurrency:
                raise Refusal(1005, "operation is too frequent")
        if self.credits < PRICE * images:
            raise Refusal(1006, "your quota is not enough")

    def _begin(self, kind: str, look: int, family: int, fault: Fault | None) -> Image:
        now = self._clock()
        duration = self._dice.lognormvariate(math.log(self._median), self._sigma) * PACE[kind] / self._speed
        image = Image(self._new_id(), kind, now, now + duration, look, family)
        if self._dice.random() < self._failure_rate:
            image.failure = "generation failed"
        if fault is not None and fault.kind == "fails":
            image.failure = fault.text
        if fault is not None and fault.kind == "stuck":
            image.finished_at = math.inf
        image.urls_at = image.finished_at + (fault.number if fault is not None and fault.kind == "late_urls" else 0)
        if kind == "upscale":
            image.buttons = ()
            self._ledger.upscales.add(now, image.finished_at)
        self._ledger.generations.add(now, image.finished_at)
        self._images[image.id] = image
        self.credits -= PRICE
        self._ledger.charged += PRICE
        self._ledger.accepted += 1
        return image

    def _new_id(self) -> str:
        return f"{self._dice.getrandbits(96):024x}"

    # --- what the wire shows ---

    def show(self, image: Image, pictures_url: str) -> dict[str, Any]:
        """The image as ``data`` has it, field for field of the documented replies."""
        now = self._clock()
        status = image.status(now)
        shown: dict[str, Any] = {
            "faceswap_quality": 2,
            "deduction_credit": PRICE,
            "buttons": [],
            "used_buttons": [],
            "upscaled_urls": [],
            "_id": image.id,
            "create_time": int(image.accepted_at * 1000),
            "uid": 378337,
            "from": 1,
            "image_status": status,
        }
        if image.source is not None:
            shown["image_content_model_id"] = image.source.id
            shown["op_button"] = image.button
            shown["op_buttonMessageId"] = f"{image.look:020d}"
        if image.kind == "prompt":
            shown |= {"type": 4 if image.source_image else 3, "prompt": image.prompt, "origin_prompt": image.prompt}
            shown |= {"source_image": image.source_image} if image.source_image else {}
        if status == FAILED:
            shown["error_reasons"] = image.failure
        if status == COMPLETED:
            used = [button for button, shows_at in image.used.items() if now >= shows_at]
            shown["used_buttons"] = used
            shown["buttons"] = [button for button in image.buttons if button not in used]
            if now >= image.urls_at:
                shown["image"] = f"{pictures_url}/{image.id}/0.png"
                if image.kind != "upscale":
                    shown["upscaled_urls"] = [f"{pictures_url}/{image.id}/{index}.png" for index in (1, 2, 3, 4)]
        return shown
