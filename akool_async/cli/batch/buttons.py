"""Names of one button or of several."""

from __future__ import annotations

import re
from typing import Final

from akool_async import Button

GROUPS: Final = {"U*": "U", "V*": "V", "*": ""}


def expand(names: object) -> list[Button]:
    """The buttons of a list, or of a text that may hold several names."""
    if isinstance(names, str):
        names = re.split(r"[\s,;|+]+", names.strip())
    return [button for name in (names if isinstance(names, list) else [names]) for button in _expand_one(name)]


def _expand_one(name: object) -> list[Button]:
    """The buttons of one name: U1, or U*, V* or * for several."""
    if not isinstance(name, str):
        raise ValueError(f"button must be a text such as U1, U* or *, not {name!r}")  # noqa: TRY004 - bad input is ValueError
    if name in GROUPS:
        return [button for button in Button if button.startswith(GROUPS[name])]
    try:
        return [Button.parse(name.upper())]
    except ValueError:
        raise ValueError(f"button must be one of {', '.join(Button)}, or U*, V* or *, not {name!r}") from None
