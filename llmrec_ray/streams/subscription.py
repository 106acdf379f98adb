"""What a stream is opened with: the subjects that are read, and how long is waited for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which subjects, under which durable name, where poison goes; `stream` is NATS' alone."""

    url: str
    stream: str
    subjects: tuple[str, ...]
    consumer: str
    dead_letters: str


@dataclass(frozen=True, slots=True)
class Waits:
    """How long one call may take, how long a message may stay without its ack, how many may."""

    timeout_s: float
    ack_s: float
    unacked: int
