"""The sections of a page: a source image, and a card for each of its buttons."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from akool_async import AkoolError, Button, ButtonPress, ImageResult, ImageStatus, NotFoundError
from akool_async.cli.gallery.pictures import GONE, Picture
from akool_async.cli.messages import reason_of
from akool_async.cli.output.stderr import amount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from akool_async.cli.gallery.pictures import Pictures
    from akool_async.cli.outcomes.line import OutcomeLine

NO_IMAGE: Final = "AKOOL has no such image"


@frozen(kw_only=True)
class Contents:
    """What a gallery shows."""

    title: str
    image_ids: Sequence[str]
    """The source images, in this order."""
    sources: Mapping[str, ImageResult] = field(factory=dict)
    """Those that were read already."""
    files: Mapping[str, Path] = field(factory=dict)
    """Pictures of source images that are on disk."""
    lines: Mapping[ButtonPress, OutcomeLine]
    seconds: Mapping[str, float]
    """How long each operation took, if that is known."""

    @property
    def pictures(self) -> int:
        """How many pictures it shows, or explains the lack of."""
        return len(self.image_ids) + sum(line.status == ImageStatus.COMPLETED for line in self.lines.values())


@frozen(kw_only=True)
class ButtonCard:
    """One button."""

    button: str
    state: str = "free"
    """For the style of the card."""
    caption: str = ""
    picture: Picture
    id: str | None = None
    facts: str = ""
    error: str | None = None


@frozen(kw_only=True)
class ImageSection:
    """One source image."""

    id: str
    cards: Sequence[ButtonCard]
    picture: Picture
    prompt: str | None = None


async def make_section(image_id: str, contents: Contents, pictures: Pictures) -> ImageSection:
    """Read a source image if it was not read yet, and draw its pictures."""
    try:
        source = contents.sources.get(image_id) or await pictures.read(image_id)
    except AkoolError as error:
        cards = await _make_cards(image_id, None, contents, pictures)
        was_there = any(card.id is not None for card in cards)
        pictures.count()
        reason = (GONE if was_there else NO_IMAGE) if isinstance(error, NotFoundError) else reason_of(error)
        return ImageSection(id=image_id, cards=cards, picture=Picture(reason=reason))
    return ImageSection(
        id=image_id,
        cards=await _make_cards(image_id, source, contents, pictures),
        prompt=source.prompt,
        picture=await pictures.show(source, contents.files.get(image_id)),
    )


async def _make_cards(
    image_id: str, source: ImageResult | None, contents: Contents, pictures: Pictures
) -> Sequence[ButtonCard]:
    used = () if source is None else source.used_buttons
    presses = [ButtonPress(image_id, button) for button in Button]
    return await asyncio.gather(*(_make_card(press, used, contents, pictures) for press in presses))


async def _make_card(
    press: ButtonPress, used_buttons: Sequence[str], contents: Contents, pictures: Pictures
) -> ButtonCard:
    line = contents.lines.get(press)
    if line is None:
        reason = "used before" if press.button in used_buttons else "not pressed"
        return ButtonCard(button=press.button, picture=Picture(reason=reason))
    if not line.is_settled:
        return _card_without_id(line, "running", "its id is not known")
    if line.id is None:
        state = "free" if line.code is None else "failed"  # AKOOL refused it
        return _card_without_id(line, state, "nothing came of it")
    if line.status == ImageStatus.COMPLETED:
        state, caption = "completed", "completed"
        file = Path(line.files[-1]) if line.files else None
        picture = await pictures.show(ImageResult(id=line.id, image=line.urls[-1] if line.urls else None), file)
    elif line.status == ImageStatus.FAILED:
        state, caption, picture = "failed", "failed", Picture(reason="AKOOL could not make it")
    else:
        state, caption, picture = "running", "not finished", Picture(reason="runs on at AKOOL")
    return ButtonCard(
        button=press.button,
        state=state,
        caption=caption,
        id=line.id,
        facts=_facts(line, contents.seconds.get(line.id)),
        error=line.error,
        picture=picture,
    )


def _card_without_id(line: OutcomeLine, state: str, reason: str) -> ButtonCard:
    return ButtonCard(
        button=line.button, state=state, caption=line.state, error=line.error, picture=Picture(reason=reason)
    )


def _facts(line: OutcomeLine, seconds: float | None) -> str:
    facts = [] if seconds is None else [f"{seconds:.1f} s"]
    facts += [] if line.credits is None else [f"{amount(line.credits)} credits"]
    return " \N{MIDDLE DOT} ".join(facts)
