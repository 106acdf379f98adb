"""The service on a real Ray node behind HAProxy, by HTTP alone."""

import json
import threading
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from llmrec_ray.generation.published import load_manifest
from llmrec_ray.storage.local import FolderStore
from tests.e2e.conftest import Live, wait_for
from tests.support.openapi import SNAPSHOT
from tests.support.readme import README, curls

pytestmark = pytest.mark.timeout(600)

JSON = {"Content-Type": "application/json"}
STREAM = {"Accept": "text/event-stream"}


def like(event: str, user: str, item: str) -> dict[str, str]:
    return {
        "event_id": event,
        "user_id": user,
        "item_id": item,
        "type": "like",
        "time": "2026-01-01T00:00:00Z",
    }


def recommend(http: httpx.Client, **body: object) -> httpx.Response:
    return http.post("/v1/recommendations", json=body)


def test_a_catalogue_ingested_beside_the_running_service_is_served(
    http: httpx.Client, live: Live
) -> None:
    generation = http.get("/readyz").json()["generation"]
    assert f"Generation {generation}" in live.ingested
    answer = http.post("/v1/search", json={"query": "robots at sea", "limit": 3}).json()
    assert answer["generation"] == generation
    assert len(answer["items"]) == 3


def test_ingestion_without_a_free_cpu_says_so_instead_of_waiting(live: Live) -> None:
    refused = live.ingest(LLMREC_EMBEDDING__WORKERS="99")
    assert refused.returncode == 1
    assert "needs 99 free logical CPU(s)" in refused.stdout


def test_a_review_pulls_by_what_it_says(http: httpx.Client) -> None:
    told = {"type": "review", "text": "I loved this: robots and a wonderful ocean."}
    posted = http.post("/v1/events", json=like("e2e-r", "e2e-r", "f06") | told).json()
    assert posted["user_versions"] == {"e2e-r": 2}  # stored, then read by the pool
    answer = recommend(http, user_id="e2e-r", evidence=True).json()
    session = [{"item_id": "f06", **told}]
    again = recommend(http, session=session, evidence=True).json()
    scores = [
        [(item["item_id"], item["score"]) for item in one["items"]] for one in (answer, again)
    ]
    assert scores[0] == scores[1]
    for item in answer["items"]:
        total = item["prior"] + sum(share["share"] for share in item["evidence"])
        assert total == pytest.approx(item["score"], rel=1e-6)


def test_an_event_changes_the_next_answer_and_is_its_evidence(http: httpx.Client) -> None:
    before = recommend(http, user_id="e2e-1").json()
    assert http.post("/v1/events", json=like("e2e-1", "e2e-1", "f06")).json()["accepted"] == 1
    after = recommend(http, user_id="e2e-1", evidence=True).json()
    assert after["items"][0]["item_id"] != before["items"][0]["item_id"]
    first = after["items"][0]
    assert "e2e-1" in {share["event_id"] for share in first["evidence"]}
    total = first["prior"] + sum(share["share"] for share in first["evidence"])
    assert total == pytest.approx(first["score"], rel=1e-6)


def test_the_readmes_requests_are_answered(http: httpx.Client) -> None:
    *asked, event = curls(README.read_text("utf-8"))
    for curl in asked:
        answer = http.post(curl.path, headers=curl.headers, json=curl.body)
        assert answer.status_code == 200
        assert len(answer.text) > 100
    known = http.post(event.path, headers=event.headers, json={**event.body, "item_id": "f01"})
    assert known.json()["accepted"] == 1


def test_the_language_model_explains_in_a_stream(http: httpx.Client) -> None:
    http.post("/v1/events", json=like("e2e-2", "e2e-2", "f06"))
    body = {"user_id": "e2e-2", "limit": 1, "explain": "llm"}
    names: list[str] = []
    explained: dict[str, str] = {}
    with http.stream("POST", "/v1/recommendations", json=body, headers=STREAM) as answer:
        for name, data in events_of(answer.iter_lines()):
            names.append(name)
            if name == "explanation":
                explained = data
    assert names[0] == "recommendations"
    assert names[-1] == "done"
    assert "piece" in names
    assert explained["source"] == "llm"


def test_the_model_speaks_on_after_clients_left_in_the_middle(http: httpx.Client) -> None:
    http.post("/v1/events", json=like("e2e-3", "e2e-3", "f06"))
    body = {"user_id": "e2e-3", "limit": 3, "explain": "llm"}
    for _ in range(3):
        with http.stream("POST", "/v1/recommendations", json=body, headers=STREAM) as answer:
            for name, _ in events_of(answer.iter_lines()):
                if name == "piece":
                    break
    answer = recommend(http, user_id="e2e-3", limit=1, explain="llm").json()
    assert answer["items"][0]["explanation"]["source"] == "llm"


def test_the_served_openapi_document_is_the_one_in_docs(http: httpx.Client) -> None:
    snapshot = json.loads(SNAPSHOT.read_text("utf-8"))
    assert http.get("/openapi.json").json() == snapshot, "run `python -m tests.support.openapi`"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "malformed_body"),
        (b'{"query": "\xff"}', 400, "malformed_body"),
        (b'{"query": ""}', 422, "invalid_input"),
        (b" " * 1_000_001, 413, "too_large"),
    ],
)
def test_a_bad_body_is_a_problem_behind_the_proxy_too(
    http: httpx.Client, content: bytes, status: int, code: str
) -> None:
    answer = http.post("/v1/search", content=content, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_without_a_length_is_cut_at_the_limit(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 50_000

    answer = http.post("/v1/search", content=chunks(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_an_id_with_a_slash_passes_the_proxy(http: httpx.Client) -> None:
    assert http.get("/v1/items/films%2Fa%20b").json()["item_id"] == "films/a b"


def test_a_request_has_one_id_in_header_and_problem(http: httpx.Client) -> None:
    answer = http.get("/v1/items/none", headers={"X-Request-Id": "trace-7"})
    assert answer.headers.get_list("x-request-id") == ["trace-7"]
    assert answer.json()["request_id"] == "trace-7"
    unnamed = http.get("/v1/items/none")
    assert unnamed.headers.get_list("x-request-id") == [unnamed.json()["request_id"]]


def test_a_new_generation_is_taken_up_without_a_failed_request(
    http: httpx.Client, live: Live
) -> None:
    store = FolderStore(live.objects)
    old = http.get("/v1/generations").json()["current"]
    manifest = load_manifest(store, old).model_copy(update={"generation": "g-again"})
    store.create("generations/g-again/manifest.json", manifest.model_dump_json().encode())
    seen: Counter[tuple[int, str]] = Counter()
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=live.url, timeout=60) as client:
            while not done.is_set():
                answer = recommend(client, user_id="u1")
                seen[answer.status_code, answer.json().get("generation", "")] += 1

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        assert http.post("/v1/generations/g-again:activate").status_code == 200
        wait_for(lambda: http.get("/readyz").json()["generation"] == "g-again")
        wait_for(lambda: seen[200, "g-again"] > 10)
    finally:
        done.set()
        for thread in asking:
            thread.join()
    assert set(seen) <= {(200, old), (200, "g-again")}


def test_a_killed_shard_degrades_answers_until_it_is_back(http: httpx.Client, live: Live) -> None:
    live.replica("shard-1").kill()
    answers = [recommend(http, user_id="u1") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert any(answer.json()["degraded"] == ["search"] for answer in answers)
    wait_for(lambda: recommend(http, user_id="u1").json()["degraded"] == [])


def test_without_the_embedder_users_are_served(http: httpx.Client, live: Live) -> None:
    live.replica("embedder").kill()
    assert recommend(http, user_id="u1").status_code == 200
    refused = http.post("/v1/search", json={"query": "never asked before"})
    assert (refused.status_code, refused.json()["code"]) == (503, "embedder_unavailable")
    assert refused.headers["retry-after"]
    wait_for(lambda: http.post("/v1/search", json={"query": "and now"}).status_code == 200)


def test_without_the_generator_templates_explain(http: httpx.Client, live: Live) -> None:
    live.replica("generator").kill()
    answer = recommend(http, user_id="u1", limit=1, explain="llm").json()
    assert answer["items"][0]["explanation"]["source"] == "template"
    assert answer["degraded"] == ["explain"]


def test_a_killed_replica_of_two_is_not_noticed(http: httpx.Client, live: Live) -> None:
    live.scale_shards(2)
    wait_for(lambda: all("on 2 replicas" in (has or "") for has in shards_have(http)))
    seen: Counter[tuple[int, str]] = Counter()
    done = threading.Event()

    def keep_asking() -> None:
        with httpx.Client(base_url=live.url, timeout=60) as client:
            while not done.is_set():
                answer = recommend(client, user_id="u1")
                told = answer.json()
                seen[answer.status_code, told.get("detail") or "".join(told["degraded"])] += 1

    asking = [threading.Thread(target=keep_asking) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        wait_for(lambda: seen.total() > 20)
        live.replica("shard-0").kill()
        wait_for(lambda: "on 1 replica" in (shards_have(http)[0] or ""))
        wait_for(lambda: "on 2 replicas" in (shards_have(http)[0] or ""))
    finally:
        done.set()
        for thread in asking:
            thread.join()
    assert set(seen) == {(200, "")}


def shards_have(http: httpx.Client) -> list[str | None]:
    components = http.get("/readyz").json()["components"]
    return [part.get("has") for part in components if part["name"].startswith("shard-")]


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, str]]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
