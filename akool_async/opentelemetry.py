"""An observer that reports to OpenTelemetry: a span for each operation, and metrics of counts and durations.

Install the extra ``otel``, and pass the observer to a session::

    AkoolSession(observer=OpenTelemetryObserver())

Units are written as OpenTelemetry's conventions say: seconds as ``s``, counts in braces.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from akool_async import ImageStatus, _validate, events

try:
    from opentelemetry import metrics, trace
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(_validate.install_hint("OpenTelemetry", "otel")) from error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider


__all__ = ["OpenTelemetryObserver"]

SCOPE: Final = "akool_async"
NANOSECONDS: Final = 1_000_000_000


class OpenTelemetryObserver:
    """The ``observer`` of one session or several.

    Args:
        tracer_provider: Makes the tracer. None is OpenTelemetry's global provider.
        meter_provider: Makes the meter. None is OpenTelemetry's global provider.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._accepted = meter.create_counter("akool.operations", "{operation}", "Operations that AKOOL accepted")
        self._credits = meter.create_counter(
            "akool.credits", "{credit}", "Credits charged, as far as AKOOL reported them"
        )
        self._polls = meter.create_counter("akool.polls", "{request}", "Replies of Get Image Result")
        self._refused = meter.create_counter(
            "akool.refusals", "{request}", "Presses and prompts that were not accepted"
        )
        self._unknown = meter.create_counter("akool.unknown_outcomes", "{request}", "Paid POSTs of unknown outcome")
        self._throttled = meter.create_counter("akool.throttles", "{request}", "Replies that asked for fewer requests")
        self._duration = meter.create_histogram(
            "akool.operation.duration", "s", "From acceptance to the poll that saw the end"
        )
        self._detection_delay = meter.create_histogram(
            "akool.operation.detection_delay", "s", "From the end to the poll that saw it"
        )

    def __call__(self, event: events.Event) -> None:
        """Record one event."""
        match event:
            case events.Accepted():
                self._accepted.add(1, _attributes_of(event))
                self._credits.add(event.credits or 0)
            case events.Polled():
                self._polls.add(1)
            case events.Refused():
                self._refused.add(1, _attributes_of(event))
            case events.OutcomeUnknown():
                self._unknown.add(1, {"akool.charged": str(event.charged)})
            case events.Throttled():
                self._throttled.add(1, {"akool.code": event.code})
            case events.Finished():
                self._finish(event)

    def _finish(self, event: events.Finished) -> None:
        kind = event.kind or "unknown"
        attributes: dict[str, str | int] = {"akool.kind": kind, "akool.status": int(event.status or 0)}
        self._duration.record(event.seconds, attributes)
        self._detection_delay.record(event.detection_delay, attributes)
        # The span is started and ended here: most operations outlive the code that submitted them.
        now = time.time_ns()
        span = self._tracer.start_span(
            f"akool {kind}",
            start_time=now - int(event.seconds * NANOSECONDS),
            attributes={**attributes, "akool.operation_id": event.operation_id, "akool.polls": event.polls},
        )
        if event.status == ImageStatus.FAILED:
            span.set_status(trace.StatusCode.ERROR, "image_status 4")
        span.end(now)


def _attributes_of(event: events.Accepted | events.Refused) -> dict[str, str]:
    """Return the kind of the press or prompt; a press whose source image was not made has none."""
    if event.press is not None:
        return {"akool.kind": event.press.button.kind}
    return {"akool.kind": "unknown" if event.prompt is None else "prompt"}
