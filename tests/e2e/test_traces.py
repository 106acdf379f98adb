"""Traces of a service whose Serve config names our exporter, as a collector receives them."""

from collections import defaultdict
from pathlib import Path

import httpx
import pytest
import yaml

from serve.ray_process import free_ports
from serve.up import CONFIG, local_cluster
from tests.e2e.conftest import wait_for
from tests.support.collector import Collector


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_trace_leads_from_the_ingress_to_the_embedder_without_user_data(tmp_path: Path) -> None:
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    config["tracing_config"] = {
        "enabled": True,
        "exporter_import_path": "serve.tracing:exporter",
        "sampling_ratio": 1.0,
    }
    [port] = free_ports(1)
    with Collector() as collector:
        environment = {
            "LLMREC_OBJECT_STORE__URL": f"file://{tmp_path}/objects",
            "LLMREC_EVENT_STORE__URL": f"sqlite:///{tmp_path}/events.db",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        }
        with local_cluster(
            config, port=port, environment=environment, needs_generation=False, timeout_s=400
        ) as cluster:
            body = {"query": "a secret text"}
            with httpx.Client(base_url=cluster.url, timeout=60) as http:
                http.post("/v1/search", json=body, headers={"X-Request-Id": "traced"})
                http.delete("/v1/users/secret-user")

            def follows() -> bool:
                traces: dict[bytes, set[str]] = defaultdict(set)
                for span in list(collector.spans):
                    traces[span.trace_id].add(f"{span.name} {span.attributes}")
                return any(
                    len(spans) > 1 and any("embedder" in span for span in spans)
                    for spans in traces.values()
                )

            wait_for(follows, 60)
    exported = "\n".join(str(span) for span in collector.spans)
    assert "secret text" not in exported
    assert "secret-user" not in exported
