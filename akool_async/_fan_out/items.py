"""Reads the items of a fan-out, one by one as they are wanted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Mapping
from typing import TypeAlias

from akool_async.items import Button, ButtonPress, Item

AnyItem: TypeAlias = Item | tuple[str, str]
"""An item, or a pair (image id, button)."""
Items: TypeAlias = Iterable[AnyItem] | AsyncIterable[AnyItem]
"""The input of a fan-out."""


def check_items(items: Items, name: str = "items") -> None:
    """Check that ``items`` can be the input of a fan-out.

    Args:
        items: The argument.
        name: Its name, for error messages.

    Raises:
        ValueError: It cannot.
    """
    if not isinstance(items, Iterable | AsyncIterable) or isinstance(items, str | bytes | Item):
        raise ValueError(  # noqa: TRY004 - bad input is ValueError
            f"{name} must be an iterable of ButtonPress, (image_id, button) or Prompt, not {items!r:.200}"
        )
    if isinstance(items, Mapping):
        raise ValueError(f"{name} must not be a mapping; pass its items() if they are (image_id, button)")  # noqa: TRY004


def read_item(name: str, item: object) -> Item:
    """Read one item. Its button may be one that this version does not know.

    Args:
        name: The item's name in error messages, such as ``items[3]``.
        item: A :class:`ButtonPress`, a pair (image id, button), or a prompt.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(item, Item):
        return item
    pair = tuple(item) if isinstance(item, tuple | list) else ()  # not a set, which has no order
    if len(pair) != 2:  # noqa: PLR2004 - a pair
        raise ValueError(
            f"{name} must be a Prompt, a ButtonPress or a pair (image_id, button), such as "
            f"('65d3206b83ccf5ab7d46cdc6', 'U1'), not {item!r:.200}"
        )
    image_id, button = pair
    try:
        is_unlisted = isinstance(button, str) and button not in set(Button)
        return ButtonPress(image_id, Button.unlisted(button) if is_unlisted else button)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


async def pull(items: Items) -> AsyncGenerator[object, None]:
    """Yield each item. If ``items`` is a generator, it is closed together with this one."""
    try:
        if isinstance(items, AsyncIterable):
            async for item in items:
                yield item
        else:
            for item in items:
                yield item
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
        elif isinstance(items, Generator):
            items.close()
