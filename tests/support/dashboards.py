"""The dashboard and the alert rules in, the metric names in their queries out."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"


def queries() -> Iterator[str]:
    """Every PromQL expression in `deploy/observability/`."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def queried() -> set[str]:
    """Every metric name that is asked for: all of ours and of Ray's begin alike."""
    return {name for query in queries() for name in re.findall(r"\bray_\w+", query)}
