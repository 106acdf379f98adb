"""cluster.yaml on two real Ray nodes over S3 and PostgreSQL, seen by HTTP and by Serve's status.

One story, in the order of the file: `make two-nodes` tells it.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from llmrec_ray.generation.buckets import shard_of
from llmrec_ray.parts import load_embedder, open_events, open_objects
from llmrec_ray.settings import settings_of
from serve.up import CONFIG
from tests.e2e.conftest import wait_for
from tests.support.asking import Ask, asking
from tests.support.films import catalogue
from tests.support.in_process import recommended
from tests.support.journal import Journal
from tests.support.scaled_down import QUICKER, SHARDS, SMALLER, Config, scaled_down, scaling_of
from tests.support.two_nodes import TwoNodes, two_nodes

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

SLOW_S = 600.0
GROUP = [f"shard-{shard}" for shard in range(SHARDS)]
STREAM = {"Accept": "text/event-stream"}
RECOMMEND: Ask = lambda client: client.post(  # noqa: E731
    "/v1/recommendations", json={"user_id": "u1", "evidence": True}
)
EXPLAIN: Ask = lambda client: client.post(  # noqa: E731
    "/v1/recommendations", json={"user_id": "u1", "limit": 1, "explain": "llm"}
)
LOOK: Ask = lambda client: client.get("/v1/items/f01")  # noqa: E731


@pytest.fixture(scope="module")
def journal() -> Journal:
    return Journal()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, journal: Journal) -> Iterator[TwoNodes]:
    folder = tmp_path_factory.mktemp("nodes")
    journal.title("two nodes")
    with two_nodes(folder) as running:
        journal.say("SeaweedFS, PostgreSQL and a Ray head run, a second node joins")
        journal.say(f"`serve deploy` of cluster.yaml, smaller ({SMALLER}) and quicker ({QUICKER})")
        running.deploy(scaled_down(running.port))
        wait_for(lambda: len(running.roles()) == 2, SLOW_S)
        ingest = ("-m", "serve.ingest", str(catalogue(folder)), "--address", running.head.gcs)
        ingested = running.command(sys.executable, *ingest)
        journal.say(f"ingested on the cluster: {ingested.strip().splitlines()[-1]}")
        wait_for(lambda: running.settled() and ready(running.url), SLOW_S)
        journal.say("every deployment runs, /readyz is 200")
        yield running


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def counts(nodes: TwoNodes) -> list[int]:
    return [len(nodes.replicas(shard)) for shard in GROUP]


def replicas(nodes: TwoNodes) -> dict[str, set[str]]:
    return {name: set(nodes.replicas(name)) for name in nodes.deployments()}


def test_every_replica_lies_on_a_node_with_the_label_that_it_asks_for(
    nodes: TwoNodes, journal: Journal
) -> None:
    journal.title("where the replicas lie")
    roles = nodes.roles()
    assert sorted(roles.values()) == ["cpu", "gpu"]
    for deployment in nodes.deployments():
        lie_on = [roles[node] for node in nodes.replicas(deployment).values()]
        journal.say(f"{deployment}: {', '.join(lie_on)}")
        assert set(lie_on) == {"gpu" if deployment == "generator" else "cpu"}


def test_answers_are_those_of_the_local_config_to_the_last_bit(
    nodes: TwoNodes, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.title("the same answers")
    for name, value in nodes.environment.items():
        if name.startswith("LLMREC_"):
            monkeypatch.setenv(name, value)
    with httpx.Client(base_url=nodes.url, timeout=60) as client:
        likes = [like(f"e{n}", "newcomer", f"f{n:02}") for n in (3, 11, 28)]
        assert client.post("/v1/events", json={"events": likes}).json()["accepted"] == 3
    bodies: list[dict[str, Any]] = [
        *({"user_id": f"u{user}", "limit": 20, "evidence": True} for user in range(12)),
        {"user_id": "newcomer", "limit": 40, "evidence": True},
        {"user_id": "nobody", "evidence": True},
        {"session": ["f05", {"item_id": "f09", "weight": -1}], "evidence": True},
        {"user_id": "u3", "text": "robots at sea", "evidence": True},
    ]
    local = settings_of(yaml.safe_load(CONFIG.read_text("utf-8"))["applications"][0]["args"])
    events = open_events(local)
    expected = recommended(
        open_objects(local), events, load_embedder(local), bodies, shards=local.search.shards
    )
    events.close()
    for door in (nodes.url, nodes.worker.url):
        with httpx.Client(base_url=door, timeout=60) as client:
            answers = [client.post("/v1/recommendations", json=body).json() for body in bodies]
        assert [essence(one) for one in answers] == [essence(one) for one in expected]
        shares = sum(len(item["evidence"]) for one in answers for item in one["items"])
        journal.say(
            f"{door}: {len(bodies)} answers, {sum(len(one['items']) for one in answers)} scores and"
            f" {shares} shares equal those of local.yaml's library, bit by bit"
        )


def like(event: str, user: str, item: str) -> dict[str, str]:
    return {
        "event_id": event,
        "user_id": user,
        "item_id": item,
        "type": "like",
        "time": "2026-01-01T00:00:00Z",
    }


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is drawn or measured anew each time."""
    assert answer["degraded"] == []
    assert answer["items"]
    return {
        name: value
        for name, value in answer.items()
        if name not in {"recommendation_id", "took_ms", "coverage"}
    }


def test_shards_scale_up_and_down_together_without_a_failed_request(
    nodes: TwoNodes, journal: Journal
) -> None:
    journal.title("scaling under load")
    wait_for(lambda: counts(nodes) == [2, 2], SLOW_S)
    item = next(f"f{n:02}" for n in range(30) if shard_of(f"f{n:02}", SHARDS) == 0)
    on_one_shard: dict[str, Ask] = {"look": lambda client: client.get(f"/v1/items/{item}")}
    with asking(nodes.url, {"recommend": RECOMMEND}, pause_s=0.1) as steady:
        with asking(nodes.url, on_one_shard, clients=8) as busy:
            wait_for(lambda: counts(nodes) == [3, 3], SLOW_S)
            journal.say(f"load on shard-0 alone: {dict(zip(GROUP, counts(nodes), strict=True))}")
        wait_for(lambda: counts(nodes) == [2, 2], SLOW_S)
        journal.say(f"the load has gone: {dict(zip(GROUP, counts(nodes), strict=True))}")
    journal.say(f"answers: {busy.said()}; {steady.said()}")
    assert not busy.failed() + steady.failed()
    assert set(steady.kinds("recommend")) == {(200, ())}


def test_changed_numbers_restart_nothing(nodes: TwoNodes, journal: Journal) -> None:
    journal.title("a changed number, deployed again")
    wait_for(lambda: nodes.settled() and counts(nodes) == [2, 2], SLOW_S)
    before = replicas(nodes)
    changed = scaled_down(nodes.port)
    scaling_of(changed, "api")["min_replicas"] = 3
    for shard in GROUP:
        scaling_of(changed, shard)["target_ongoing_requests"] = 2
    with asking(nodes.url, {"recommend": RECOMMEND, "look": LOOK}, pause_s=0.05) as seen:
        nodes.deploy(changed)
        wait_for(lambda: nodes.settled() and len(nodes.replicas("api")) == 3, SLOW_S)
    after = replicas(nodes)
    journal.say(f"api has {len(after['api'])} replicas, every one of before runs on")
    journal.say(f"answers: {seen.said()}")
    assert all(before[name] <= after[name] for name in before)
    assert not seen.failed()
    assert set(seen.kinds("recommend")) == {(200, ())}


def test_changed_args_roll_every_replica_without_a_failed_request(
    nodes: TwoNodes, journal: Journal
) -> None:
    journal.title("changed args, deployed again")
    before = replicas(nodes)
    changed: Config = scaled_down(nodes.port)
    changed["applications"][0]["args"]["limits"] = {"limit": 50}
    eighty = {"user_id": "u1", "limit": 80}
    assert httpx.post(f"{nodes.url}/v1/recommendations", json=eighty).status_code == 200
    asks: dict[str, Ask] = {"recommend": RECOMMEND, "look": LOOK, "events": Events()}
    with asking(nodes.url, asks, pause_s=0.1) as seen:
        nodes.deploy(changed)
        journal.say("sent: limits.limit 100 → 50")
        wait_for(lambda: rolled(before, replicas(nodes)), SLOW_S)
        journal.say("every replica is a new one; the generator's loads its model")
    journal.say(f"answers: {seen.said()}")
    refused = httpx.post(f"{nodes.url}/v1/recommendations", json=eighty)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    assert not seen.failed()
    assert set(seen.kinds("recommend")) == {(200, ())}


class Events:
    """Posts an event, each time another one."""

    def __init__(self) -> None:
        self._posted = 0

    def __call__(self, client: httpx.Client) -> httpx.Response:
        self._posted += 1
        return client.post("/v1/events", json=like(f"roll-{id(client)}-{self._posted}", "v", "f02"))


def rolled(before: dict[str, set[str]], after: dict[str, set[str]]) -> bool:
    """Whether the old replicas have gone, and new ones run where templates cannot stand in."""
    gone = all(not before[name] & after.get(name, set()) for name in before)
    return gone and all(after.get(name) or name == "generator" for name in before)


def test_a_lost_node_takes_the_language_model_alone_and_a_new_one_brings_it_back(
    nodes: TwoNodes, journal: Journal
) -> None:
    journal.title("a lost node")
    wait_for(lambda: explained_by(nodes) == "llm", SLOW_S)
    journal.say("the language model explains")
    with (
        asking(nodes.url, {"recommend": RECOMMEND, "look": LOOK}, pause_s=0.1) as seen,
        asking(nodes.url, {"explain": EXPLAIN}, clients=1) as explained,
    ):
        ending = stream_while(nodes)
        journal.say(f"the gpu node lost in the middle of a stream, which ended: {ending}")
        wait_for(lambda: list(nodes.roles().values()) == ["cpu"], SLOW_S)
        wait_for(lambda: not nodes.replicas("generator"), SLOW_S)
        journal.say("Ray says so too")
        assert explained_by(nodes) == "template"
        assert ready(nodes.url)
    journal.say(f"answers: {seen.said()}; {explained.said()}")
    assert not seen.failed() + explained.failed()
    assert set(seen.kinds("recommend")) == {(200, ())}
    assert ending["degraded"] == ["explain"]

    nodes.join_worker()
    wait_for(lambda: len(nodes.replicas("generator")) == 1, SLOW_S)
    wait_for(lambda: explained_by(nodes) == "llm", SLOW_S)
    [home] = nodes.replicas("generator").values()
    assert nodes.roles()[home] == "gpu"
    journal.say("a new gpu node has joined, and the language model explains again")


def explained_by(nodes: TwoNodes) -> str:
    with httpx.Client(base_url=nodes.url, timeout=60) as client:
        answer = EXPLAIN(client).json()
    source = answer["items"][0]["explanation"]["source"]
    assert answer["degraded"] == (["explain"] if source == "template" else [])
    return source


def stream_while(nodes: TwoNodes) -> dict[str, Any]:
    """What a stream of explanations says at its end, when the node goes at its first piece."""
    body = {"user_id": "u2", "limit": 20, "explain": "llm"}
    event, lost = "", False
    with httpx.stream(
        "POST", f"{nodes.url}/v1/recommendations", json=body, headers=STREAM, timeout=60
    ) as answer:
        for line in answer.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            if event == "piece" and not lost:
                lost = True
                nodes.worker.lose()
            if line.startswith("data: ") and event == "done":
                return json.loads(line.removeprefix("data: "))
    raise AssertionError(f"the stream ended after {event!r}")
