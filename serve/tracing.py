"""OpenTelemetry's own environment variables in, the span processors that Serve asks for out.

Named as `exporter_import_path: serve.tracing:exporter` in a Serve config's `tracing_config`;
docs/observability.md says how.
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def exporter() -> list[SpanProcessor]:
    """Spans in batches to the OTLP/HTTP collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names."""
    return [BatchSpanProcessor(OTLPSpanExporter())]
