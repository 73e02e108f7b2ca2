"""A row of a file: a prompt or presses of an image, and the presses on their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from akool_async import ButtonPress, Prompt, SourcePrompt, _validate
from akool_async.cli.batch.names import check_name, short_name
from akool_async.cli.output.stderr import plain
from akool_async.items import read_then

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from akool_async.items import Branch, Item

PRESS_COLUMNS: Final = ("image_id", "button")
V4_COLUMNS: Final = ("resolution", "model_name", "negative_prompt", "batch_quantity", "similar")
"""Columns of Create By Source Prompt (v4). A prompt with any of them is sent there."""
PROMPT_COLUMNS: Final = ("scale", "source_image", *V4_COLUMNS)
"""Columns of prompts alone."""
COLUMNS: Final = ("prompt", *PRESS_COLUMNS, "then", "name", "key", *PROMPT_COLUMNS)
KINDS_OF_ROWS: Final = ("prompt", *PRESS_COLUMNS)
"""Columns that decide whether a row is a prompt or asks for presses."""


@frozen
class Asked:
    """A prompt or a press of a row."""

    item: Item
    name: str | None
    """The name for people; None for a press without one."""


def read_row(fields: Mapping[str, Any], default: tuple[Branch, ...]) -> list[Asked]:
    """Return the prompt or the presses of a row.

    Args:
        fields: The values of the row by column. Unknown columns are ignored.
        default: The buttons to press on results if the row has no ``then``.

    Raises:
        ValueError: The row cannot be read.
    """
    row = {column: fields[column] for column in COLUMNS if _is_filled(fields.get(column))}
    name = check_name(row["name"]) if "name" in row else None
    missing = [column for column in PRESS_COLUMNS if column not in row]
    if "prompt" not in row:
        if "prompt" in fields and len(missing) == len(PRESS_COLUMNS):
            raise ValueError("prompt is empty")
        if missing:
            raise ValueError(f"{' and '.join(missing)} missing" + (", or a prompt" if len(missing) > 1 else ""))
        return [Asked(press, name) for press in _presses(row, default)]
    if len(missing) < len(PRESS_COLUMNS):
        given = next(column for column in PRESS_COLUMNS if column in row)
        raise ValueError(f"prompt and {given} are in one row: write the prompt and the presses into separate rows")
    _validate.text("prompt", row["prompt"])
    if isinstance(key := row.get("key"), str) and plain(key) != key:
        raise ValueError(f"key must not hold invisible characters, as {key!r:.200} does")
    prompt = _prompt(row, read_then(row["then"]) if "then" in row else default)
    return [Asked(prompt, name or short_name(prompt.text))]


def read_buttons(value: object) -> tuple[Branch, ...]:
    """Read one button, several, or a nested "V1>U*".

    Raises:
        ValueError: The value cannot be read.
    """
    try:
        return read_then(value, "button")  # type: ignore[arg-type]  # read_then checks the type
    except ValueError as error:
        raise ValueError(str(error).replace("button: button must", "button must", 1)) from None


def _is_filled(value: object) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None and value != []


# --- presses ---


def _presses(row: Mapping[str, Any], default: tuple[Branch, ...]) -> Iterator[ButtonPress]:
    for column in PROMPT_COLUMNS:
        if column in row:
            raise ValueError(f"{column} is only for prompts: leave it empty in a row of presses")
    branches = read_buttons(row["button"])
    own = read_then(row["then"]) if "then" in row else ()
    if own and all(branch.button.is_upscale for branch in branches):
        raise ValueError(
            f"then: nothing can be pressed on the result of {branches[0].button}: an upscale has no buttons"
        )
    for branch in branches:
        then = () if branch.button.is_upscale else (*branch.then, *own) or default
        yield ButtonPress(row["image_id"], branch.button, then=then)


# --- prompts ---


def _prompt(row: Mapping[str, Any], then: tuple[Branch, ...]) -> Prompt | SourcePrompt:
    if not any(column in row for column in V4_COLUMNS):
        return Prompt(
            row["prompt"],
            scale=row.get("scale", "1:1"),
            source_image=_one_source_image(row.get("source_image")),
            then=then,
            key=row.get("key"),
        )
    return SourcePrompt(
        row["prompt"],
        source_images=_source_images(row.get("source_image")),
        batch_quantity=_whole_number(row.get("batch_quantity", 1)),
        similar=_number(row.get("similar")),
        then=then,
        **{name: row.get(name) for name in ("model_name", "scale", "resolution", "negative_prompt", "key")},
    )


def _source_images(value: Any) -> list[str]:  # noqa: ANN401 - as JSON holds it
    """Return the URLs of a list, or of a text in which spaces separate them."""
    if value is None:
        return []
    urls = value.split() if isinstance(value, str) else value if isinstance(value, list) else [value]
    return [_validate.web_url("source_image", url) for url in urls]


def _one_source_image(value: object) -> str | None:
    urls = _source_images(value)
    if len(urls) > 1:
        raise ValueError(
            f"source_image must be one URL, not {len(urls)}: several need a v4 column as well, such as resolution"
        )
    return urls[0] if urls else None


def _whole_number(value: Any) -> Any:  # noqa: ANN401 - SourcePrompt refuses other values, with the name of the column
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


def _number(value: Any) -> Any:  # noqa: ANN401
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
