"""Prometheus' text format in, the series by name out."""

import re
from collections import defaultdict

import httpx

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

Labels = dict[str, str]


def scraped(url: str) -> dict[str, list[tuple[Labels, float]]]:
    """Every series that an endpoint exports now: its labels and its value."""
    series: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
    for line in httpx.get(url, timeout=10).text.splitlines():
        if sample := _SAMPLE.match(line):
            labels = dict(_LABEL.findall(sample["labels"] or ""))
            series[sample["name"]].append((labels, float(sample["value"])))
    return series
