"""The items of a fan-out: what may be passed, read one by one as they are wanted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Mapping
from typing import TypeAlias

from akool_async.items import Button, ButtonPress, Item

AnyItem: TypeAlias = Item | tuple[str, str]
"""An item as a user may write it."""
Items: TypeAlias = Iterable[AnyItem] | AsyncIterable[AnyItem]


def check_items(items: Items, name: str = "items") -> None:
    """Raise a ``ValueError`` for what cannot be the items of a fan-out."""
    if not isinstance(items, Iterable | AsyncIterable) or isinstance(items, str | bytes | Item):
        raise ValueError(  # noqa: TRY004 - bad input is ValueError
            f"{name} must be an iterable of ButtonPress, (image_id, button) or Prompt, not {items!r:.200}"
        )
    if isinstance(items, Mapping):
        raise ValueError(f"{name} must be pairs (image_id, button); of a mapping of such, pass its items()")  # noqa: TRY004


def read_item(name: str, item: object) -> Item:
    """The press or the prompt that an item is. Its button may be one that this version does not know.

    Args:
        name: What the item is called in an error, such as ``items[3]``.
        item: A :class:`ButtonPress`, a pair (image id, button), or a prompt.

    Raises:
        ValueError: It is none of them.
    """
    if isinstance(item, Item):
        return item
    pair = tuple(item) if isinstance(item, tuple | list) else ()  # of a set, nobody knows which comes first
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
    """Each item as it is asked for. A generator is closed with this one."""
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
