"""A process that writes to an event store: `python -m tests.support.event_writer URL NAME COUNT`.

It appends COUNT batches with an event for each of 30 users, in an order of its own, prints `stored`
once the last append returned, and then waits for its standard input to close.
"""

import sys
from datetime import UTC, datetime, timedelta

from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.types import Event

USERS = tuple(f"user-{number}" for number in range(30))
START = datetime(2026, 1, 1, tzinfo=UTC)


def batch(name: str, number: int) -> list[Event]:
    turn = number % len(USERS)
    return [
        Event(f"{name}-{number}-{user}", user, "item", "click", START + timedelta(seconds=number))
        for user in USERS[turn:] + USERS[:turn]
    ]


def main(url: str, name: str, batches: int) -> None:
    store = open_event_store(url, timeout_s=60, ttl_s=60)
    for number in range(batches):
        store.append(batch(name, number))
    sys.stdout.write("stored\n")
    sys.stdout.flush()
    sys.stdin.read()
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
