"""The OpenTelemetry adapter, against OpenTelemetry's own SDK."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from akool_async import ButtonPress, OutcomeUnknownError, events
from akool_async.emulator import Fault
from akool_async.opentelemetry import OpenTelemetryObserver
from tests.support.schedules import FAST


async def test_operations_become_spans_and_metrics(emulator):
    """Two operations, one of them failed, and a lost prompt: two spans with their ids, and counts that add up."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = OpenTelemetryObserver(
        tracer_provider=tracer_provider, meter_provider=MeterProvider(metric_readers=[reader])
    )
    async with emulator.session(polling=FAST, observer=observer) as akool:
        source = emulator.add_image()
        good = await akool.upscale(source, 1)
        emulator.faults.script("create_by_button", Fault.fails())
        bad = await akool.vary(source, 1)
        for operation in (good, bad):
            await operation.wait_until_complete(raise_on_failure=False)
        emulator.faults.script("create_by_prompt", Fault.reset("after"))
        with pytest.raises(OutcomeUnknownError):
            await akool.create_by_prompt("a fox")
    spans = {span.attributes["akool.operation_id"]: span for span in exporter.get_finished_spans()}
    assert {name: (span.name, span.status.is_ok) for name, span in spans.items()} == {
        good.id: ("akool upscale", True),
        bad.id: ("akool variation", False),
    }
    assert all(span.end_time > span.start_time for span in spans.values())
    sums = totals(reader.get_metrics_data())
    assert (sums["akool.operations"], sums["akool.credits"], sums["akool.unknown_outcomes"]) == (2, 4, 1)
    assert sums["akool.polls"] == emulator.ledger.requests["get_image_result"]
    assert sums["akool.operation.duration"] == sums["akool.operation.detection_delay"] == 2


def totals(data):
    """Return the sum of a counter, or the number of values in a histogram."""
    (resource,) = data.resource_metrics
    (scope,) = resource.scope_metrics
    return {
        metric.name: sum(getattr(point, "value", getattr(point, "count", 0)) for point in metric.data.data_points)
        for metric in scope.metrics
    }


def test_refusals_and_throttles_are_counted():
    """A press and a prompt that AKOOL refused, and a reply that asked for a slower pace."""
    reader = InMemoryMetricReader()
    observer = OpenTelemetryObserver(meter_provider=MeterProvider(metric_readers=[reader]))
    observer(events.Refused(press=ButtonPress("image-1", "U1"), error=None))
    observer(events.Refused(press=None, error=None))
    observer(events.Throttled(code=429, seconds=1.0))
    sums = totals(reader.get_metrics_data())
    assert (sums["akool.refusals"], sums["akool.throttles"]) == (2, 1)
