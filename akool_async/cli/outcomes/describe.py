"""The lines and the JSON that commands print for outcomes, operations and images."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from akool_async import APIError, BudgetError, ImageStatus, Outcome, OutcomeUnknownError
from akool_async.cli.messages import reason_of
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.cli.output.times import utc
from akool_async.items import prompt_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from akool_async import ImageResult, Operation
    from akool_async.durable import Job

UNSAVED: Final = "interrupted before its pictures were saved"


def line_of_outcome(
    outcome: Outcome, *, files: Sequence[Path] = (), download_error: Exception | None = None
) -> OutcomeLine:
    """Return the line of an outcome.

    Args:
        outcome: The outcome.
        files: The pictures that were saved.
        download_error: The reason why they could not be saved.
    """
    line = OutcomeLine(
        image_id=None if outcome.press is None else outcome.press.image_id,
        button=None if outcome.button is None else str(outcome.button),
    )
    return with_outcome(line, outcome, files=files, download_error=download_error)


def with_outcome(
    line: OutcomeLine, outcome: Outcome, *, files: Sequence[Path] = (), download_error: Exception | None = None
) -> OutcomeLine:
    """Return the line of a node, completed with its outcome. The arguments are those of ``line_of_outcome``."""
    error = outcome.error or download_error
    line = evolve(
        line,
        ok=error is None,
        id=None if outcome.operation is None else outcome.operation.id,
        files=tuple(map(str, files)),
    )
    latest = outcome.result or (None if outcome.operation is None else outcome.operation.latest)
    return with_error(with_image(line, latest), error)


def with_running(line: OutcomeLine, operation: Operation, *, is_recorded: bool) -> OutcomeLine:
    """Return the line of a node that AKOOL accepted and that this run no longer waits for.

    Args:
        line: The line of the node.
        operation: Its operation.
        is_recorded: True if the same command finds the id when it is run again.
    """
    reason = explain_running(None if is_recorded else operation.id)
    return with_image(evolve(line, id=operation.id, error=reason), operation.latest)


def fields_of_prompt(prompt: str, line: OutcomeLine, result: ImageResult | None) -> dict[str, Any]:
    """Return the JSON of a prompt: like that of a press, with the buttons that its image offers."""
    fields = line.fields()
    del fields["image_id"], fields["button"]
    return {"prompt": prompt, **fields, "buttons": () if result is None else result.buttons}


def fields_of_job(job: Job) -> dict[str, Any]:
    """Return the JSON of a recorded press or prompt: like a line of an output, with the state of the job."""
    line = line_of_outcome(job.outcome or Outcome(job.press))
    prompt = prompt_of(job.item)
    return {
        **evolve(line, prompt=None if prompt is None else prompt.text, key=job.key).fields(),
        "ok": job.outcome is not None and job.outcome.ok,
        "id": job.operation_id,
        "state": job.state,
        "submitted_at": utc(job.submitted_at),
        "ended_at": None if job.ended_at is None else utc(job.ended_at),
    }


def fields_of_image(image: ImageResult, files: Sequence[Path], error: Exception | None) -> dict[str, Any]:
    """Return the JSON of an image that AKOOL shows."""
    return {
        "id": image.id,
        "ok": image.status == ImageStatus.COMPLETED,
        "status": image.status,
        "prompt": image.prompt,
        "source_image_id": image.source_image_id,
        "button": image.op_button,
        "buttons": image.buttons,
        "used_buttons": image.used_buttons,
        "urls": image.urls,
        "files": [str(file) for file in files],
        "credits": image.deduction_credit,
        "created_at": None if image.created_at is None else image.created_at.isoformat(),
        "expires_at": None if image.expires_at is None else image.expires_at.isoformat(),
        "error": None if error is None else reason_of(error),
    }


def with_image(line: OutcomeLine, image: ImageResult | None) -> OutcomeLine:
    """Return the line with the facts that AKOOL shows about its image."""
    if image is None:
        return line
    status = None if image.status is None else int(image.status)
    return evolve(line, status=status, urls=image.urls, credits=image.deduction_credit)


def with_error(line: OutcomeLine, error: Exception | None) -> OutcomeLine:
    """Return the line with an error."""
    if error is None:
        return line
    return evolve(
        line,
        error=reason_of(error),
        code=error.code if isinstance(error, APIError) else None,
        charged=error.charged if isinstance(error, OutcomeUnknownError) and line.id is None else False,
        over_budget=isinstance(error, BudgetError),
    )


def explain_running(operation_id: str | None) -> str:
    """Return a sentence about an operation that is still running, and how to fetch it.

    Args:
        operation_id: The id to fetch it by; None if the same command fetches it.
    """
    if operation_id is None:
        remedy = "run the same command again to fetch it"
    else:
        remedy = f"akool result {shlex.quote(operation_id)} --wait fetches it"
    return f"interrupted; it runs on at AKOOL and is paid for: {remedy}"
