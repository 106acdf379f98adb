"""Settings in, the Serve application out: the only file that binds deployments."""

# No `from __future__ import annotations` here: Serve validates `args` with the annotation of
# `build`, which must be a class.

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

from fastapi import FastAPI
from ray import serve
from ray.serve import Application
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from llmrec_ray.api_keys import Keyring, load_keys
from llmrec_ray.explain.explainer import Explainer
from llmrec_ray.feedback.log import ShownLog
from llmrec_ray.generation.follow import Follower
from llmrec_ray.generation.pinned import Pinned
from llmrec_ray.online.live import LiveItems
from llmrec_ray.online.recommender import Recommender
from llmrec_ray.parts import load_embedder, open_events, open_items, open_objects
from llmrec_ray.ports import EncoderInfo, Prompt
from llmrec_ray.settings import Settings
from serve.calls.generation import PoolGenerator
from serve.calls.handles import PoolEmbedder, PoolReader, ShardSearcher
from serve.calls.hedging import Hedged
from serve.calls.mailbox import Mailbox, Send, Sharing
from serve.calls.passages import PoolPassages
from serve.calls.waking import Waker
from serve.embedder import EmbedderReplica
from serve.erasures import follow_erasures
from serve.generations import StoredGenerations
from serve.generator import GeneratorReplica
from serve.http.access import follow_keys
from serve.http.admin import open_admin_port, serve_admin
from serve.http.api import create_admin_app, create_app
from serve.http.service import Service
from serve.observe.meters import meters
from serve.observe.requests import Gauges, counted_explanations
from serve.shards import Place, ShardReplica, ShardState
from serve.watch import PROBE_S, Probe, Probes, Told, Watch

T = TypeVar("T")

OTHERS_S = 120.0
"""How long a new ingress replica waits for shards and embedders that may be starting beside it."""

SHARD_CALL: dict[str, Any] = {
    "_by_reference": False,
    "request_serialization": "pickle",  # Serve's default, cloudpickle, asks Python about each value
    "response_serialization": "pickle",
}


def build(settings: Settings) -> Application:
    """One deployment per shard (`shard-0` …), `embedder`, `generator`, and the ingress `api`."""
    shards = [_shard(settings, shard) for shard in range(settings.search.shards)]
    return serve.deployment(name="api")(serve.ingress()(Ingress)).bind(
        settings, _embedder(settings), _generator(settings), *shards
    )


class Ingress:
    """The deployment `api`: the library's `Recommender` over the other deployments, behind HTTP."""

    def __init__(
        self,
        settings: Settings,
        embedder: DeploymentHandle,
        generator: DeploymentHandle,
        *shards: DeploymentHandle,
    ) -> None:
        self._settings = settings
        self._keys = Keyring(load_keys())
        self._admin_port = open_admin_port(settings.http)
        self._embedder, self._generator, self._shards = (
            embedder.options(_by_reference=False),
            generator.options(_by_reference=False),
            [shard.options(**SHARD_CALL) for shard in shards],
        )
        self._store = open_objects(settings)
        self._events = open_events(settings)
        self._meters = meters()
        self._shown = ShownLog(self._events, capacity=settings.event_store.pending_recommendations)
        self._pinned = Pinned()
        self._watch = Watch(
            Follower(self._store), self._pinned, self._probes(), settings.search.poll_s
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        searcher = ShardSearcher([self._mailbox(shard) for shard in range(len(self._shards))])
        recommender = self._recommender(searcher)
        service = Service(
            items=LiveItems(self._events.items, self._pinned, searcher, self._passages()),
            recommender=recommender,
            view=self._watch,
            generations=StoredGenerations(self._store, lambda: self._watch.encoder),
            limits=self._settings.limits,
            keys=self._keys,
            meters=self._meters,
        )
        gauges = Gauges(self._meters, self._watch, self._shown)
        background = [
            self._watch.run(),
            gauges.run(self._settings.search.poll_s),
            follow_erasures(recommender, self._settings.search.poll_s),
            follow_keys(self._keys, load_keys),
        ]
        port = self._admin_port
        if port is not None:
            background.append(serve_admin(create_admin_app(service), port))
        return create_app(
            service,
            echoed=True,
            admin_apart=port is not None,
            before=self._watch.settle(OTHERS_S),
            background=background,
        )

    def _recommender(self, searcher: ShardSearcher) -> Recommender:
        settings = self._settings
        generator = PoolGenerator(
            _streamed(self._generator),
            runs=lambda: self._watch.runs("generator"),
            wake=Waker(_called(self._generator, "model")),
        )
        embedder = PoolEmbedder(
            _called(self._embedder, "embed"),
            deadline_s=settings.embedding.deadline_s,
            cached=settings.embedding.query_cache,
            runs=lambda: self._watch.runs("embedder"),
        )
        return Recommender(
            generations=self._pinned,
            searcher=searcher,
            embedder=embedder,
            events=self._events,
            objects=self._store,
            shown=self._shown,
            explainer=Explainer(
                generator,
                deadline_s=settings.explain.deadline_s,
                max_tokens=settings.explain.max_tokens,
                evidence=settings.explain.evidence,
                told=counted_explanations(self._meters),
            ),
            reader=PoolReader(
                _called(self._embedder, "read"),
                deadline_s=settings.embedding.deadline_s,
                runs=lambda: self._watch.runs("embedder"),
            ),
            history=settings.users.history,
            cached=settings.users.cached,
            items=self._events.items,
        )

    def _passages(self) -> PoolPassages:
        return PoolPassages(
            _called(self._embedder, "passages"),
            deadline_s=self._settings.items.deadline_s,
            runs=lambda: self._watch.runs("embedder"),
        )

    def _mailbox(self, shard: int) -> Mailbox:
        search = self._settings.search
        send: Send = Hedged(
            _called(self._shards[shard], "answer"),
            after_s=search.hedge_after_s,
            replicas=lambda: self._watch.replicas(shard),
        )
        sharing = Sharing(search.deadline_s, search.shared_call, search.pending)
        return Mailbox(send, sharing, runs=lambda: self._watch.runs(f"shard-{shard}"))

    def _probes(self) -> Probes:
        return Probes(
            shards=[_told(shard, "state", ShardState) for shard in self._shards],
            encoder=_told(self._embedder, "info", EncoderInfo),
            generator=_told(self._generator, "model", str),
            events=self._events.check,
        )


# ── one deployment each ──────────────────────────────────────────────────────────────────────────


def _shard(settings: Settings, shard: int) -> Application:
    search = settings.search
    place = Place(
        shard,
        search.shards,
        search.poll_s,
        settings.items.poll_s,
        index=search.index,
        originals=search.originals,
    )
    return serve.deployment(name=f"shard-{shard}")(ShardReplica).bind(
        partial(open_objects, settings), partial(open_items, settings), place
    )


def _embedder(settings: Settings) -> Application:
    embedding = settings.embedding
    return serve.deployment(name="embedder")(EmbedderReplica).bind(
        partial(load_embedder, settings), embedding.batch_tokens, embedding.batch_wait_s
    )


def _generator(settings: Settings) -> Application:
    return serve.deployment(name="generator")(GeneratorReplica).bind(settings.explain)


# ── handles as plain calls ───────────────────────────────────────────────────────────────────────


def _called(handle: DeploymentHandle, method: str) -> Callable[..., Awaitable[Any]]:
    remote = handle.options(method_name=method).remote

    async def call(*arguments: object) -> Any:
        return await remote(*arguments)

    return call


def _streamed(handle: DeploymentHandle) -> Callable[[Prompt], AsyncIterator[str]]:
    remote = handle.options(method_name="generate", stream=True).remote
    return lambda prompt: cast(AsyncIterator[str], remote(prompt))


def _told(handle: DeploymentHandle, method: str, kind: type[T]) -> Probe[T]:
    """What every replica says: a broadcast passes by the queues of those that are busy."""

    async def ask() -> Told[T]:
        broadcast = handle.broadcast(method)
        try:
            told = await broadcast.results_async(timeout_s=PROBE_S, return_exceptions=True)
        except DeploymentUnavailableError:
            return Told(0, [])
        return Told(len(told), [one for one in told if isinstance(one, kind)])

    return ask
