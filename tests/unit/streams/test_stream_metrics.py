"""What a consumer counts, as a scrape reads it."""

import re
import socket
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.streams.meters import METRICS, Meters
from llmrec_ray.streams.scrapes import exposed


def test_a_scrape_has_every_metric_with_its_help_and_value() -> None:
    meters = Meters()
    meters.accepted, meters.dead_letters, meters.lag = 7, 2, 40
    meters.waiting["broker"] = True
    with exposed(meters.text, "127.0.0.1", 0) as port:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{port}/", timeout=10)
    lines = text.splitlines()
    assert 'llmrec_consume_messages_total{outcome="accepted"} 7' in lines
    assert 'llmrec_consume_messages_total{outcome="duplicate"} 0' in lines
    assert 'llmrec_consume_messages_total{outcome="dead_letter"} 2' in lines
    assert "llmrec_consume_lag 40" in lines
    assert 'llmrec_consume_waiting{part="broker"} 1' in lines
    assert 'llmrec_consume_waiting{part="event_store"} 0' in lines
    assert len(re.findall("^# TYPE", text, re.MULTILINE)) == len(METRICS)


def test_a_lag_that_nobody_measured_is_not_told() -> None:
    assert "\nllmrec_consume_lag " not in Meters().text()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(InvalidSettings, match=rf"127\.0\.0\.1:{port}.*streams\.metrics_port"),
            exposed(Meters().text, "127.0.0.1", port),
        ):
            pass
