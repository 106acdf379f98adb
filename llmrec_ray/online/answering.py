"""One question and one generation in, a ranked answer with its evidence out.

Reads as a request runs: user state, gather, score, evidence.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from llmrec_ray.errors import ItemNotFound, SearchUnavailable
from llmrec_ray.feedback.user import session, session_reviews
from llmrec_ray.generation.manifest import Manifest
from llmrec_ray.online.shares import Pull, Spoken, part, prior_factor, taken_apart
from llmrec_ray.online.users import Asker, Users
from llmrec_ray.ports import QueryEmbedder, Searcher
from llmrec_ray.search.exact import text_addend
from llmrec_ray.search.filters import validate_filter
from llmrec_ray.search.opinions import opinion_shares
from llmrec_ray.timing import stage
from llmrec_ray.types import (
    Coverage,
    Evidence,
    Filter,
    Found,
    Question,
    Reading,
    Recommendations,
    Recommended,
    RecommendRequest,
    Scope,
    ScoreQuery,
    Shown,
)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where an answer's users and texts come from: the stores of now, or what was kept of then."""

    users: Users
    embedder: QueryEmbedder
    read: Callable[[Mapping[str, str]], Awaitable[Mapping[str, Reading]]]
    history: int


class Answering:
    """Answers questions from the generation and the inputs that it is given."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    async def answer(
        self, request: RecommendRequest, manifest: Manifest, inputs: Inputs, again: bool = False
    ) -> Shown:
        """Raises `InvalidFilter`, `GenerationMissing`, `SearchUnavailable`, `EmbedderUnavailable`.

        `again`: live changes between two steps were met before, and are not looked for any more.
        """
        check_filter(request.filter, manifest)
        asker = await inputs.users.of(request.user_id, manifest)
        told = session_reviews(request.session)
        read = await inputs.read(told)
        visit = await inputs.users.gather(
            session(request.session, manifest.weights, read), manifest
        )
        pull = await self._pull(request, (asker, visit), inputs.embedder, manifest)
        seen = asker.state.seen | visit.state.seen
        exclude = request.exclude_ids | seen if request.exclude_seen else request.exclude_ids
        query = ScoreQuery(
            events=pull.events,
            vector=pull.vector,
            prior=prior_factor(pull, manifest.mix),
            scope=Scope(request.limit, request.filter, exclude),
            with_parts=request.evidence,
        )
        with stage("search"):
            found = await self._searcher.score(manifest.generation, query)
        if request.user_id is not None and asker.behind(found.coverage) and not again:
            current = await inputs.users.unmoved(request.user_id, asker, manifest)
            if current is None:
                return await self.answer(request, manifest, inputs, again=True)
            pull = replace(pull, coverages=_coverages(current, visit))
        found = replace(found, coverage=reduce(Coverage.__and__, pull.coverages, found.coverage))
        evidence: dict[str, Evidence] = {}
        version = asker.state.user_version if request.user_id is not None else None
        with stage("rank"):
            if request.evidence:
                evidence = await self._evidence(found, pull, manifest)
            lost = asker.degraded if len(read) == len(told) else (*asker.degraded, "embed")
            answer = answer_of(found, manifest, evidence, user_version=version, degraded=lost)
        vector = pull.spoken.vector.tobytes() if pull.spoken else None
        return Shown(request.user_id, answer, Question(request, inputs.history, vector, read))

    async def _pull(
        self,
        request: RecommendRequest,
        askers: tuple[Asker, Asker],
        embedder: QueryEmbedder,
        manifest: Manifest,
    ) -> Pull:
        """Everything that pulls: the user's events, the session's, and the text."""
        user, visit = askers
        vector = user.vector + visit.vector
        spoken = None
        if request.text is not None:
            with stage("embed"):
                embedded = await embedder.embed(request.text)
            mix = manifest.mix
            addend = text_addend(embedded, mix.query, mix, manifest.taste_dim)
            spoken = Spoken(request.text, embedded, addend)
            vector = vector + spoken.addend
        return Pull(
            (*user.state.events, *visit.state.events),
            (*user.opinions, *visit.opinions),
            vector,
            spoken,
            _coverages(*askers),
        )

    async def _evidence(self, found: Found, pull: Pull, manifest: Manifest) -> dict[str, Evidence]:
        """Take each candidate's score apart, event by event."""
        if not found.candidates:
            return {}
        targets = np.stack([part(candidate.vector) for candidate in found.candidates])
        ids = list(dict.fromkeys(event.item_id for event in pull.events))
        shares, looked = await asyncio.gather(
            self._searcher.shares(manifest.generation, pull.events, targets),
            self._searcher.lookup(manifest.generation, ids),
        )
        by_vectors = shares.by_vectors + opinion_shares(
            pull.opinions, pull.events, targets, manifest.mix, manifest.taste_dim
        )
        titles = {item_id: item.title for item_id, item in looked.items.items()}
        return {
            candidate.item_id: taken_apart(candidate, pull, by_vectors[:, at], titles)
            for at, candidate in enumerate(found.candidates)
        }


def _coverages(*askers: Asker) -> list[Coverage]:
    return [one.coverage for one in askers if one.coverage is not None]


def check_filter(condition: Filter | None, manifest: Manifest) -> None:
    """Raise `InvalidFilter` where a condition does not fit the generation's fields."""
    if condition is not None:
        validate_filter(condition, {name: spec.kind for name, spec in manifest.fields.items()})


def no_item(item_id: str, coverage: Coverage) -> ItemNotFound | SearchUnavailable:
    """Why an item was not found: there is none, or its shard did not answer."""
    if coverage.complete:
        return ItemNotFound(f"the catalogue has no item {item_id!r}.", item_id=item_id)
    return SearchUnavailable(
        f"item {item_id!r} may be on a shard that does not answer now; try again shortly."
    )


def answer_of(
    found: Found,
    manifest: Manifest,
    evidence: Mapping[str, Evidence] | None = None,
    *,
    user_version: int | None = None,
    degraded: tuple[str, ...] = (),
) -> Recommendations:
    """Candidates, the best first, as an answer with an id of its own."""
    items = tuple(
        Recommended(
            candidate.item_id,
            candidate.title,
            candidate.score,
            rank,
            (evidence or {}).get(candidate.item_id),
        )
        for rank, candidate in enumerate(found.candidates, start=1)
    )
    lost = () if found.coverage.complete else ("search",)
    return Recommendations(
        recommendation_id=uuid.uuid4().hex,
        generation=manifest.generation,
        user_version=user_version,
        items=items,
        coverage=found.coverage,
        degraded=lost + degraded,
    )
