"""Checks whether a press, or a prompt (None), can have made an image: replies, webhooks and people can mix ids up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from akool_async.items import ButtonPress
    from akool_async.models import ImageResult


def contradiction(image: ImageResult, press: ButtonPress | None) -> str | None:
    """Return why a POST cannot have made the image in its reply; None if it can.

    A different ``source_image_id`` alone proves nothing: the sample reply on AKOOL's page Create By Button has one.
    """
    if press is not None and image.id == press.image_id:
        return f"a reply with the id of the source image itself, {image.id}"
    expected = None if press is None else press.button
    if image.op_button not in (None, expected):
        return f"a reply about {image.op_button} (image {image.id}), not about {expected or 'a prompt'}"
    return None


def has_other_origin(image: ImageResult, press: ButtonPress | None) -> bool:
    """Return True if a press cannot have made an image whose id was reported. Its source image must match as well."""
    source = None if press is None else press.image_id
    return contradiction(image, press) is not None or image.source_image_id not in (None, source)


def made_by(image: ImageResult) -> str:
    """Describe what made an image, as Get Image Result shows it."""
    if image.op_button is None and image.source_image_id is None:
        return "an image that no press made"
    source = "" if image.source_image_id is None else f" of {image.source_image_id}"
    return (image.op_button or "an operation") + source
