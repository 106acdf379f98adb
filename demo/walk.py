"""`python -m demo.walk`: ingest a film catalogue, serve it here, and walk through it by HTTP."""

import sys
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from demo import draw
from demo.prepare import prepare
from llmrec_ray.errors import LLMRecError
from serve.ray_process import free_ports, on_terminate_raise, port_is_free
from serve.up import drawn, local_cluster

PORT = 8000
USER = "1"
"""A user of MovieLens 100K."""


class Walk:
    """One visitor of the service, who says what is asked and shows what is answered."""

    def __init__(self, url: str, console: Console) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)
        self._say = console.print

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json()

    def _title(self, number: int, text: str) -> None:
        self._say(f"\n[bold]{number}. {text}[/]\n")

    def _recommend(self, **body: object) -> dict[str, Any]:
        return self._ask("POST", "/v1/recommendations", {"evidence": True, **body})

    def _show(self, answer: dict[str, Any]) -> None:
        self._say(draw.shares(answer))
        self._say(draw.legend(answer))

    def recommend(self) -> dict[str, Any]:
        """What a user should see next, with each past event's share, and why in words."""
        self._title(1, f"Recommend for user {USER}, with reasons")
        answer = self._recommend(user_id=USER, limit=5, explain="llm")
        self._show(answer)
        self._say()
        for item in answer["items"]:
            why = item["explanation"]
            self._say(f"[bold]{item['title']}[/]: {why['text']} [dim](source: {why['source']})[/]")
            cited = ", ".join(
                f"{draw.did(share)} {share['share']:+.4f}" for share in item["evidence"][:3]
            )
            self._say(f"   [dim]evidence: {cited} …[/]")
        self._say(
            f"[dim]generation {answer['generation']}, user version {answer['user_version']},"
            f" {answer['coverage']['shards_ok']} of {answer['coverage']['shards_total']} shards,"
            f" {answer['took_ms']:.0f} ms with the reasons[/]"
        )
        return answer

    def similar(self, item: dict[str, Any]) -> None:
        """Items whose text is nearest to an item's."""
        self._title(2, f"Similar to {item['title']}")
        self._say(draw.ranked(self._ask("GET", f"/v1/items/{item['item_id']}/similar?limit=5")))

    def search(self) -> None:
        """Items nearest to a text."""
        query = "a western with Clint Eastwood"
        self._title(3, f"Search for “{query}”")
        answer = self._ask("POST", "/v1/search", {"query": query, "limit": 5})
        self._say(draw.ranked(answer))

    def click(self, before: dict[str, Any]) -> None:
        """A click on what was recommended first, and what it moves."""
        clicked = before["items"][0]
        self._title(4, f"User {USER} clicks on {clicked['title']}")
        event = self._event(USER, clicked["item_id"], "click")
        event["recommendation_id"] = before["recommendation_id"]
        stored = self._ask("POST", "/v1/events", event)
        self._say(f"stored, user version {stored['user_versions'][USER]}; the next answer:\n")
        after = self._recommend(user_id=USER, limit=10)
        self._show({**after, "items": after["items"][:5]})
        was = {item["item_id"]: item["rank"] for item in before["items"]}
        moved = [
            (share["share"], item)
            for item in after["items"]
            for share in item["evidence"]
            if share["event_id"] == event["event_id"] and was.get(item["item_id"]) != item["rank"]
        ]
        share, item = max(moved, key=lambda pair: pair[0])
        old = was.get(item["item_id"])
        self._say(
            f"\n[bold]{item['title']}[/] moved from"
            f" {f'rank {old}' if old else 'below rank 5'} to rank {item['rank']}:"
            f" the click on {clicked['title']} is evidence of it, with a share of {share:+.4f}."
        )

    def newcomer(self, liked: dict[str, Any]) -> None:
        """A user without a history, before and after a first like."""
        name = f"new-{uuid4().hex[:8]}"
        self._title(5, f"A brand-new user: {name}")
        self._show(self._recommend(user_id=name, limit=3))
        self._say(f"\n{name} likes {liked['title']}:\n")
        self._ask("POST", "/v1/events", self._event(name, liked["item_id"], "like"))
        self._show(self._recommend(user_id=name, limit=3))
        receipt = self._ask("DELETE", f"/v1/users/{name}")
        self._say(
            f"\nforgotten: {receipt['events']} event and {receipt['recommendations']}"
            f" recommendations; the user version is {receipt['user_version']} now."
        )

    @staticmethod
    def _event(user: str, item: str, kind: str) -> dict[str, Any]:
        return {
            "event_id": uuid4().hex,
            "user_id": user,
            "item_id": item,
            "type": kind,
            "time": datetime.now(UTC).isoformat(),
        }


def walk(url: str, console: Console) -> None:
    """The whole loop, step by step."""
    visitor = Walk(url, console)
    recommended = visitor.recommend()
    visitor.similar(recommended["items"][0])
    visitor.search()
    visitor.click(recommended)
    visitor.newcomer(recommended["items"][-1])


def main() -> int:
    """The demo; 0 when every step was answered."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a log has no width of its own
        console = Console(highlight=False, width=110)
    on_terminate_raise()
    if (failed := prepare(console)) != 0:
        return failed
    port = PORT if port_is_free(PORT) else free_ports(1)[0]
    try:
        with (
            Live(Spinner("dots", "Ray starts"), console=console, transient=True) as live,
            local_cluster(port=port, told=lambda parts: live.update(drawn(parts))) as cluster,
        ):
            live.stop()
            console.print(f"Serving on {cluster.url}")
            walk(cluster.url, console)
            console.print("\nStopping …")
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    except LLMRecError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    console.print("Stopped cleanly. `make serve` keeps it up.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
