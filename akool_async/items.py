"""What is asked of AKOOL: buttons, presses, prompts, and what is to be pressed on their results.

.. include:: _fan_out/README.md
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from attrs import field, frozen

from akool_async import _validate

if TYPE_CHECKING:
    from typing import TypeAlias

SCALES: Final = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
RESOLUTIONS: Final = ("1080p", "4k")
DEFAULT_RESOLUTION: Final = "4k"
MAX_BATCH: Final = 4
MAX_DEPTH: Final = 16
"""Levels of ``then``."""
MAX_PRESSES: Final = 10_000
"""Presses that one branch may ask for."""
MAX_KEY_LENGTH: Final = 200
GROUPS: Final = {"U*": "U", "V*": "V", "*": ""}
_MAX_NESTING: Final = 2 * MAX_DEPTH
"""A level may be in brackets, or in a list."""
_TOO_DEEP: Final = f"at most {MAX_DEPTH} levels can be nested"


class Button(StrEnum):
    """What can be pressed on a finished image. Each can be pressed once per image."""

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
        """What the button makes: "upscale" or "variation"."""
        return "upscale" if self.startswith("U") else "variation"

    @classmethod
    def parse(cls, value: str) -> Button:
        """Read a button's name; a ``ValueError`` names the eight there are."""
        try:
            return cls[value]
        except (KeyError, TypeError):
            raise ValueError(f"button must be one of {', '.join(cls)}, not {value!r}") from None

    @classmethod
    def unlisted(cls, name: str) -> Button:
        """A stand-in that names a button which this version does not know, in an outcome. It cannot be pressed."""
        button = str.__new__(cls, name)
        button._name_ = button._value_ = name
        return button

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return Button if self.value in Button.__members__ else Button.unlisted, (self.value,)

    @classmethod
    def upscale(cls, index: int) -> Button:
        """U1-U4 from the image's place, 1 to 4."""
        return cls(f"U{_validate.count('index', index, at_most=4)}")

    @classmethod
    def vary(cls, index: int) -> Button:
        """V1-V4 from the image's place, 1 to 4."""
        return cls(f"V{_validate.count('index', index, at_most=4)}")


# --- what is pressed on a result ---


@frozen
class Branch:
    """A button of an image that is going to be made, and what is pressed on its own result."""

    button: Button
    then: tuple[Branch, ...] = ()
    presses: int = field(init=False, repr=False, eq=False)
    """How many presses it asks for, itself included."""
    upscales: int = field(init=False, repr=False, eq=False)
    """How many of them are upscales."""
    depth: int = field(init=False, repr=False, eq=False)
    """How many levels it has, its own included."""

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
        if presses > MAX_PRESSES:  # before it is used in another: each level may multiply them
            raise ValueError(f"at most {MAX_PRESSES:,} presses can be asked for, not {presses:,}")

    @depth.validator
    def _check_depth(self, _: object, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)

    def __str__(self) -> str:
        return f"{self.button}>{_in_brackets(self.then)}" if self.then else str(self.button)


class _Branches(tuple[Branch, ...]):
    """What :func:`read_then` has read."""

    __slots__ = ()


if TYPE_CHECKING:
    Then: TypeAlias = str | Branch | Mapping[str, "Then"] | Iterable["Then"] | None
    """What is pressed on a result: a text such as "U* V1>U2", a mapping from buttons to what is pressed on their
    results, such as ``{"U1": None, "V1": "U*"}``, or several of them."""


def read_then(then: Then, name: str = "then") -> tuple[Branch, ...]:
    """What is pressed on a result, each button once, in the order in which they are named first.

    Args:
        then: As a user writes it.
        name: What it is called in an error.

    Raises:
        ValueError: It cannot be read, asks for too much, or for a button of an upscale, which has none.
    """
    if isinstance(then, _Branches):  # of another item, such as the one that this is a copy of
        return then
    try:
        branches = _read_text(then) if isinstance(then, str) else _merge(_read(then, _MAX_NESTING))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return branches


def write_then(branches: Iterable[Branch]) -> str:
    """The text from which :func:`read_then` reads these branches."""
    return " ".join(map(str, branches))


def count_upscales(branches: Iterable[Branch]) -> int:
    """How many presses of U1-U4 they ask for."""
    return sum(branch.upscales for branch in branches)


def _in_brackets(branches: tuple[Branch, ...]) -> str:
    return write_then(branches) if len(branches) == 1 else f"({write_then(branches)})"


@lru_cache(maxsize=256)  # a file of prompts mostly repeats one text
def _read_text(text: str) -> tuple[Branch, ...]:
    if _GLUED.search(text):  # V1(U1) could be V1>U1 as well as V1 and U1, which cost the same and are different presses
        raise ValueError(f'between a button and a bracket must be ">" or a blank, in {text!r:.200}')
    tokens = deque(_TOKENS.findall(text))
    branches = _merge(_read_level(text, tokens, _MAX_NESTING))
    if tokens:
        raise ValueError(f"a bracket is closed that was not opened, in {text!r:.200}")
    return branches


_TOKENS: Final = re.compile(r"[>()]|[^>()\s,;|+]+")
_GLUED: Final = re.compile(r"[^>()\s,;|+]\(|\)[^>()\s,;|+]")


def _read_level(text: str, tokens: deque[str], depth: int) -> list[Branch]:
    """Take branches off the tokens, up to a closing bracket."""
    branches: list[Branch] = []
    while tokens and tokens[0] != ")":
        branches += _read_branches(text, tokens, depth)
    return branches


def _read_branches(text: str, tokens: deque[str], depth: int) -> list[Branch]:
    """Take one name, or brackets, and what follows ">", off the tokens."""
    if not depth:
        raise ValueError(_TOO_DEEP)
    name = tokens.popleft()
    if name == ">":
        raise ValueError(f'before ">" must be a button, such as V1>U2, in {text!r:.200}')
    if name == "(":
        found = _read_level(text, tokens, depth - 1)
        if not tokens:
            raise ValueError(f"a bracket is not closed, in {text!r:.200}")
        tokens.popleft()
    else:
        found = [Branch(button) for button in _expand(name)]
    if tokens and tokens[0] == ">":
        tokens.popleft()
        if not tokens or tokens[0] == ")":
            raise ValueError(f'after ">" must be a button, such as V1>U2, in {text!r:.200}')
        after = tuple(_read_branches(text, tokens, depth - 1))
        return [_follow(branch, after) for branch in found]
    return found


def _expand(name: object) -> list[Button]:
    """The buttons of one name: U1, or U*, V* or * for several."""
    wanted = name.upper() if isinstance(name, str) else ""
    if wanted in GROUPS:
        return [button for button in Button if button.startswith(GROUPS[wanted])]
    if wanted not in Button.__members__:
        raise ValueError(f"button must be one of {', '.join(Button)}, or U*, V* or *, not {name!r:.200}")
    return [Button[wanted]]


def _read(then: object, depth: int) -> list[Branch]:
    """The branches of a structure, in which a button may be there twice."""
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
    """The branch, with more that is pressed on its result."""
    if not after:
        return branch
    if branch.button.is_upscale:
        raise ValueError(f"nothing can be pressed on the result of {branch.button}: an upscale has no buttons")
    return Branch(branch.button, (*branch.then, *after))


def _merge(branches: Iterable[Branch]) -> tuple[Branch, ...]:
    """Each button once."""
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
    """A button of an image: the natural name of an operation, since each can be pressed once.

    Args:
        image_id: The id of the finished image.
        button: U1-U4 or V1-V4.
        then: What a fan-out presses on the result of a variation, such as ``"U*"``. Two presses of the same button are
            equal, whatever comes then.
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
        """What its price is learned for: "upscale" or "variation"."""
        return self.button.kind

    def __str__(self) -> str:
        return f"{self.button} of image {self.image_id}"


@frozen
class Prompt:
    """A prompt for Create By Prompt (v3), which makes four pictures of it in one image.

    Args:
        text: The prompt.
        scale: "1:1", "4:3", "3:4", "16:9", "9:16", "3:2" or "2:3".
        source_image: The URL of an image to start from.
        then: What a fan-out presses on the result, such as ``"U*"`` or ``"U1 V1>U*"``.
        key: Its identity where prompts are recorded: a prompt with a key that is recorded already is the same one.
            Default: its content, and how often that came before.
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
    """A prompt for Create By Source Prompt (v4), which makes up to four images of it.

    Args:
        text: The prompt.
        model_name: AKOOL's name of a model.
        source_images: URLs of images to start from.
        scale: As of :class:`Prompt`, or "Original" with ``source_images``. Default: AKOOL's.
        resolution: "1080p" or "4k", AKOOL's default.
        batch_quantity: How many images to make, 1 to 4. A fan-out has an outcome for each.
        similar: 0 to 1. Default: AKOOL's, 0.5.
        negative_prompt: What the images shall not show.
        then: What a fan-out presses on each image.
        key: As of :class:`Prompt`.
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
                raise ValueError("scale 'Original' is for image to image: pass source_images, or another scale")
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
        """What its price is learned for: AKOOL charges by the resolution."""
        return f"v4 {self.resolution or DEFAULT_RESOLUTION}"

    @property
    def images(self) -> int:
        """How many images it asks for."""
        return self.batch_quantity

    def __str__(self) -> str:
        return f"prompt {_shortened(self.text)!r}"


Item = ButtonPress | Prompt | SourcePrompt
"""What one paid POST is for."""


def press_of(item: Item) -> ButtonPress | None:
    """The press that an item is; None for a prompt."""
    return item if isinstance(item, ButtonPress) else None


def prompt_of(item: Item) -> Prompt | SourcePrompt | None:
    """The prompt that an item is; None for a press."""
    return None if isinstance(item, ButtonPress) else item


def _check_key(key: str | None) -> None:
    if key is None:
        return
    _validate.text("key", key)
    if not key.isprintable() or len(key) > MAX_KEY_LENGTH:
        raise ValueError(f"key must be a printable text of at most {MAX_KEY_LENGTH} characters, not {key!r:.200}")


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


MAX_SHOWN: Final = 60
"""Letters of a prompt that are shown where it is named."""
