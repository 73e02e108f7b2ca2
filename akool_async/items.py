"""The inputs: buttons, presses and prompts, and `then`, which says what to press on their results.

.. include:: _fan_out/README.md
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Final, TypeAlias

from attrs import field, frozen

from akool_async import _validate

__all__ = [
    "RESOLUTIONS",
    "SCALES",
    "Branch",
    "Button",
    "ButtonPress",
    "Item",
    "Prompt",
    "SourcePrompt",
    "Then",
    "read_then",
    "write_then",
]

SCALES: Final = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
RESOLUTIONS: Final = ("1080p", "4k")
DEFAULT_RESOLUTION: Final = "4k"
MAX_BATCH: Final = 4
MAX_DEPTH: Final = 16
"""Maximum number of levels of ``then``."""
MAX_PRESSES: Final = 10_000
"""Maximum number of presses of one item."""
MAX_KEY_LENGTH: Final = 200
GROUPS: Final = {"U*": "U", "V*": "V", "*": ""}
_MAX_NESTING: Final = 2 * MAX_DEPTH
"""Each level may also be in brackets, or in a list."""
_TOO_DEEP: Final = f"at most {MAX_DEPTH} levels can be nested"


class Button(StrEnum):
    """A button of a finished image. Each can be pressed once per image."""

    U1 = "U1"
    U2 = "U2"
    U3 = "U3"
    U4 = "U4"
    V1 = "V1"
    V2 = "V2"
    V3 = "V3"
    V4 = "V4"

    @property
    def is_upscale(self) -> bool:
        """True for U1-U4, which make one 4K image; False for V1-V4, which make variations."""
        return self.startswith("U")

    @property
    def kind(self) -> str:
        """The kind of image that the button makes: "upscale" or "variation"."""
        return "upscale" if self.startswith("U") else "variation"

    @classmethod
    def parse(cls, value: str) -> Button:
        """Return the button of this name.

        Raises:
            ValueError: There is no such button; the message lists all eight.
        """
        try:
            return cls[value]
        except (KeyError, TypeError):
            raise ValueError(f"button must be one of {', '.join(cls)}, not {str(value)!r:.200}") from None

    @classmethod
    def unlisted(cls, name: str) -> Button:
        """Make a stand-in for a button that this version does not know, for outcomes. It cannot be pressed."""
        button = str.__new__(cls, name)
        button._name_ = button._value_ = name
        return button

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return Button if self.value in Button.__members__ else Button.unlisted, (self.value,)

    @classmethod
    def upscale(cls, index: int) -> Button:
        """Return U1-U4 for picture ``index``, 1 to 4.

        Raises:
            ValueError: ``index`` is something else.
        """
        return cls(f"U{_validate.count('index', index, at_most=4)}")

    @classmethod
    def vary(cls, index: int) -> Button:
        """Return V1-V4 for picture ``index``, 1 to 4.

        Raises:
            ValueError: ``index`` is something else.
        """
        return cls(f"V{_validate.count('index', index, at_most=4)}")


# --- ``then``: what to press on a result ---


@frozen
class Branch:
    """A button of an image that does not exist yet, and what to press on its result."""

    button: Button
    """The button."""
    then: tuple[Branch, ...] = ()
    """What to press on its result."""
    presses: int = field(init=False, repr=False, eq=False)
    """The number of presses in this branch, this one included."""
    upscales: int = field(init=False, repr=False, eq=False)
    """The number of upscales among them."""
    depth: int = field(init=False, repr=False, eq=False)
    """The number of levels, this one included."""

    @presses.default
    def _count(self) -> int:
        return 1 + sum(branch.presses for branch in self.then)

    @upscales.default
    def _count_upscales(self) -> int:
        return self.button.is_upscale + count_upscales(self.then)

    @depth.default
    def _count_levels(self) -> int:
        return 1 + max((branch.depth for branch in self.then), default=0)

    @presses.validator
    def _check_presses(self, _: object, presses: int) -> None:
        if presses > MAX_PRESSES:  # checked at each level, since the next one may multiply them
            raise ValueError(f"at most {MAX_PRESSES:,} presses are possible, not {presses:,}")

    @depth.validator
    def _check_depth(self, _: object, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)

    def __str__(self) -> str:
        return f"{self.button}>{_in_brackets(self.then)}" if self.then else str(self.button)


class _Branches(tuple[Branch, ...]):
    """Branches that :func:`read_then` has checked."""

    __slots__ = ()


Then: TypeAlias = "str | Branch | Mapping[str, Then] | Iterable[Then] | None"
"""What to press on a result: a text such as "U* V1>U2", a mapping from each button to what to press on its result, such
as ``{"U1": None, "V1": "U*"}``, or a list of these."""


def read_then(then: Then, name: str = "then") -> tuple[Branch, ...]:
    """Read what to press on a result. Each button comes once, in the order of first mention.

    Args:
        then: A text, a mapping or a list; see :data:`Then`.
        name: The argument's name, for error messages.

    Raises:
        ValueError: It cannot be read, has too many presses, or presses a button of an upscale, which has no buttons.
    """
    if isinstance(then, _Branches):  # checked already, for an item that is copied
        return then
    try:
        branches = _read_text(then) if isinstance(then, str) else _merge(_read(then, _MAX_NESTING))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return branches


def write_then(branches: Iterable[Branch]) -> str:
    """Return the text from which :func:`read_then` reads these branches."""
    return " ".join(map(str, branches))


def count_upscales(branches: Iterable[Branch]) -> int:
    """Count the upscales of some branches."""
    return sum(branch.upscales for branch in branches)


def _in_brackets(branches: tuple[Branch, ...]) -> str:
    return write_then(branches) if len(branches) == 1 else f"({write_then(branches)})"


@lru_cache(maxsize=256)  # most files of prompts repeat one text
def _read_text(text: str) -> tuple[Branch, ...]:
    if _GLUED.search(text):  # V1(U1) could mean V1>U1, or V1 and U1
        raise ValueError(f'write ">" or a space between a button and a bracket, in {text!r:.200}')
    tokens = deque(_TOKENS.findall(text))
    branches = _merge(_read_level(text, tokens, _MAX_NESTING))
    if tokens:
        raise ValueError(f'")" without "(", in {text!r:.200}')
    return branches


_TOKENS: Final = re.compile(r"[>()]|[^>()\s,;|+]+")
_GLUED: Final = re.compile(r"[^>()\s,;|+]\(|\)[^>()\s,;|+]")


def _read_level(text: str, tokens: deque[str], depth: int) -> list[Branch]:
    """Read branches up to a closing bracket, and remove their tokens."""
    branches: list[Branch] = []
    while tokens and tokens[0] != ")":
        branches += _read_branches(text, tokens, depth)
    return branches


def _read_branches(text: str, tokens: deque[str], depth: int) -> list[Branch]:
    """Read one name or bracket and what follows its ">", and remove their tokens."""
    if not depth:
        raise ValueError(_TOO_DEEP)
    name = tokens.popleft()
    if name == ">":
        raise ValueError(f'write a button before ">", such as V1>U2, in {text!r:.200}')
    if name == "(":
        found = _read_level(text, tokens, depth - 1)
        if not tokens:
            raise ValueError(f'"(" without ")", in {text!r:.200}')
        tokens.popleft()
    else:
        found = [Branch(button) for button in _expand(name)]
    if tokens and tokens[0] == ">":
        tokens.popleft()
        if not tokens or tokens[0] == ")":
            raise ValueError(f'write a button after ">", such as V1>U2, in {text!r:.200}')
        after = tuple(_read_branches(text, tokens, depth - 1))
        return [_follow(branch, after) for branch in found]
    return found


def _expand(name: object) -> list[Button]:
    """Return the buttons of one name: U1, or U*, V* or * for several."""
    wanted = name.upper() if isinstance(name, str) else ""
    if wanted in GROUPS:
        return [button for button in Button if button.startswith(GROUPS[wanted])]
    if wanted not in Button.__members__:
        raise ValueError(f"button must be one of {', '.join(Button)}, or U*, V* or *, not {name!r:.200}")
    return [Button[wanted]]


def _read(then: object, depth: int) -> list[Branch]:
    """Read the branches of a structure; a button may come twice."""
    if then is None:
        return []
    if not depth:
        raise ValueError(_TOO_DEEP)
    if isinstance(then, str):
        return list(_read_text(then))
    if isinstance(then, Branch):
        return [_follow(Branch(then.button), then.then)]
    if isinstance(then, Mapping):
        return [
            _follow(Branch(button), tuple(_read(after, depth - 1)))
            for names, after in then.items()
            for button in _expand(names)
        ]
    if isinstance(then, Iterable) and not isinstance(then, bytes):
        return [branch for each in then for branch in _read(each, depth - 1)]
    raise ValueError(f'pass a text such as "U* V1>U2", a mapping such as {{"V1": "U*"}}, or a list, not {then!r:.200}')


def _follow(branch: Branch, after: tuple[Branch, ...]) -> Branch:
    """Return the branch with more presses on its result."""
    if not after:
        return branch
    if branch.button.is_upscale:
        raise ValueError(f"nothing can be pressed on the result of {branch.button}: an upscale has no buttons")
    return Branch(branch.button, (*branch.then, *after))


def _merge(branches: Iterable[Branch]) -> tuple[Branch, ...]:
    """Join the branches of the same button."""
    merged: dict[Button, list[Branch]] = {}
    for branch in branches:
        merged.setdefault(branch.button, []).extend(branch.then)
    return _Branches(Branch(button, _merge(after)) for button, after in merged.items())


# --- presses and prompts ---


def _as_button(value: str) -> Button:
    return value if isinstance(value, Button) else Button.parse(value)


def _as_urls(value: Iterable[str]) -> tuple[str, ...]:
    return _validate.urls("source_images", value)


@frozen
class ButtonPress:
    """A press of one button of one image. It identifies an operation, since each button works once.

    Args:
        image_id: The ``_id`` of the finished image.
        button: U1-U4 or V1-V4.
        then: What a fan-out presses on the result of a variation, such as ``"U*"``. It does not count when presses are
            compared.

    Raises:
        ValueError: An argument is wrong.
    """

    image_id: str = field()
    button: Button = field(converter=_as_button)
    then: tuple[Branch, ...] = field(default=(), kw_only=True, eq=False, converter=read_then)

    images: ClassVar[int] = 1

    @image_id.validator
    def _check_image_id(self, _: object, value: str) -> None:
        _validate.image_id("image_id", value)

    @then.validator
    def _check_then(self, _: object, then: tuple[Branch, ...]) -> None:
        if then and self.button.is_upscale:
            raise ValueError(f"then: nothing can be pressed on the result of {self.button}: an upscale has no buttons")

    @property
    def kind(self) -> str:
        """The kind for which prices are learned: "upscale" or "variation"."""
        return self.button.kind

    def __str__(self) -> str:
        return f"{self.button} of image {self.image_id}"


@frozen
class Prompt:
    """A prompt for Create By Prompt (v3), which makes one image of four pictures.

    Args:
        text: The prompt's text.
        scale: Width to height: "1:1", "4:3", "3:4", "16:9", "9:16", "3:2" or "2:3".
        source_image: The URL of an image to start from.
        then: What a fan-out presses on the result, such as ``"U*"`` or ``"U1 V1>U*"``.
        key: Identifies the prompt in a durable store and in the output of ``akool fan-out``: a prompt whose key is
            recorded already is not sent again. Default: a hash of its content, numbered if the content repeats.

    Raises:
        ValueError: An argument is wrong.
    """

    text: str = field()
    scale: str = field(default="1:1", kw_only=True)
    source_image: str | None = field(default=None, kw_only=True)
    then: tuple[Branch, ...] = field(default=(), kw_only=True, eq=False, converter=read_then)
    key: str | None = field(default=None, kw_only=True)

    kind: ClassVar[str] = "prompt"
    images: ClassVar[int] = 1

    def __attrs_post_init__(self) -> None:
        _validate.text("text", self.text)
        _validate.one_of("scale", self.scale, SCALES)
        if self.source_image is not None:
            _validate.web_url("source_image", self.source_image)
        _check_key(self.key)

    def __str__(self) -> str:
        return f"prompt {_shortened(self.text)!r}"


@frozen
class SourcePrompt:
    """A prompt for Create By Source Prompt (v4), which makes up to four images.

    Args:
        text: The prompt's text.
        model_name: AKOOL's name of a model. None leaves the choice to AKOOL.
        source_images: URLs of images to start from.
        scale: A scale of :class:`Prompt`, or "Original" with ``source_images``. None is AKOOL's default.
        resolution: "1080p" or "4k". None is AKOOL's default, 4k.
        batch_quantity: How many images to make, 1 to 4. A fan-out yields an outcome for each.
        similar: AKOOL's ``similar``, 0 to 1. None is AKOOL's default, 0.5.
        negative_prompt: What the images must not show.
        then: What a fan-out presses on each image.
        key: See :class:`Prompt`.

    Raises:
        ValueError: An argument is wrong.
    """

    text: str = field()
    model_name: str | None = field(default=None, kw_only=True)
    source_images: tuple[str, ...] = field(default=(), kw_only=True, converter=_as_urls)
    scale: str | None = field(default=None, kw_only=True)
    resolution: str | None = field(default=None, kw_only=True)
    batch_quantity: int = field(default=1, kw_only=True)
    similar: float | None = field(default=None, kw_only=True)
    negative_prompt: str | None = field(default=None, kw_only=True)
    then: tuple[Branch, ...] = field(default=(), kw_only=True, eq=False, converter=read_then)
    key: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        _validate.text("text", self.text)
        if self.scale is not None:
            _validate.one_of("scale", self.scale, (*SCALES, "Original"))
            if self.scale == "Original" and not self.source_images:
                raise ValueError("scale 'Original' needs source_images: pass them, or another scale")
        if self.resolution is not None:
            _validate.one_of("resolution", self.resolution, RESOLUTIONS)
        if self.similar is not None:
            _validate.number_between("similar", self.similar, 0, 1)
        for name in ("model_name", "negative_prompt"):
            if getattr(self, name) is not None:
                _validate.text(name, getattr(self, name))
        _validate.count("batch_quantity", self.batch_quantity, at_most=MAX_BATCH)
        _check_key(self.key)

    @property
    def kind(self) -> str:
        """The kind for which prices are learned: "v4 4k" or "v4 1080p", since AKOOL charges by the resolution."""
        return f"v4 {self.resolution or DEFAULT_RESOLUTION}"

    @property
    def images(self) -> int:
        """The number of images to make."""
        return self.batch_quantity

    def __str__(self) -> str:
        return f"prompt {_shortened(self.text)!r}"


Item = ButtonPress | Prompt | SourcePrompt
"""A press or a prompt: what one paid POST asks for."""


def press_of(item: Item) -> ButtonPress | None:
    """Return the item if it is a press; None if it is a prompt."""
    return item if isinstance(item, ButtonPress) else None


def prompt_of(item: Item) -> Prompt | SourcePrompt | None:
    """Return the item if it is a prompt; None if it is a press."""
    return None if isinstance(item, ButtonPress) else item


def _check_key(key: str | None) -> None:
    if key is None:
        return
    _validate.text("key", key)
    if not key.isprintable() or len(key) > MAX_KEY_LENGTH:
        raise ValueError(f"key must be a printable text of at most {MAX_KEY_LENGTH} characters, not {key!r:.200}")


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


MAX_SHOWN: Final = 40
"""Characters of a prompt that messages show."""
