"""What a consumer counts, and the text in which Prometheus reads it."""

from dataclasses import dataclass
from typing import Literal, get_args

Part = Literal["broker", "event_store", "object_store", "generation", "embedder"]
PARTS: tuple[Part, ...] = get_args(Part)
STORES = PARTS[1:]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of `llmrec consume`; a counter's name is exported with `_total`."""

    name: str
    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    meaning: str


MESSAGES = Metric(
    "llmrec_consume_messages",
    "counter",
    ("outcome",),
    "Messages by what became of them: accepted, duplicate, dead_letter.",
)
LAG = Metric(
    "llmrec_consume_lag",
    "gauge",
    (),
    "Messages in the stream that are not applied and acked yet.",
)
WAITING = Metric(
    "llmrec_consume_waiting",
    "gauge",
    ("part",),
    "1 while the consumer waits for a part, else 0: broker, event_store; for items also"
    " object_store, generation, embedder.",
)
METRICS = (MESSAGES, LAG, WAITING)


class Meters:
    """Written by the consumer, read by the thread that answers scrapes."""

    def __init__(self) -> None:
        self.accepted = 0
        self.duplicates = 0
        self.dead_letters = 0
        self.lag: int | None = None
        self.waiting: dict[Part, bool] = dict.fromkeys(PARTS, False)

    def text(self) -> str:
        """The text exposition format; the lag is absent until it was measured once."""
        samples: dict[Metric, list[tuple[str, int]]] = {
            MESSAGES: [
                ('outcome="accepted"', self.accepted),
                ('outcome="duplicate"', self.duplicates),
                ('outcome="dead_letter"', self.dead_letters),
            ],
            LAG: [] if self.lag is None else [("", self.lag)],
            WAITING: [(f'part="{part}"', int(self.waiting[part])) for part in PARTS],
        }
        return "".join(_family(metric, samples[metric]) for metric in METRICS)


def _family(metric: Metric, samples: list[tuple[str, int]]) -> str:
    name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
    lines = [f"# HELP {name} {metric.meaning}", f"# TYPE {name} {metric.kind}"]
    lines += [
        f"{name}{{{labels}}} {value}" if labels else f"{name} {value}" for labels, value in samples
    ]
    return "\n".join(lines) + "\n"
