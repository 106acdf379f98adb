"""Everything that the routes use, in one value."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llmrec_ray.api_keys import Keyring
from llmrec_ray.online.live import LiveItems
from llmrec_ray.online.recommender import Recommender
from llmrec_ray.settings import LimitSettings
from serve.http import answers
from serve.observe.meters import LocalMeters, Meters
from serve.watch import Component


class View(Protocol):
    """What an ingress replica knows of the service (`serve.watch.Watch`)."""

    def serving(self) -> str | None: ...

    def components(self) -> Sequence[Component]: ...


class Generations(Protocol):
    """The published generations (`serve.generations.StoredGenerations`)."""

    async def listed(self, serving: str | None) -> answers.GenerationsAnswer: ...

    async def activate(self, generation: str) -> answers.ActivationAnswer: ...


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that the routes use."""

    recommender: Recommender
    view: View
    generations: Generations
    limits: LimitSettings
    keys: Keyring = field(default_factory=Keyring)
    meters: Meters = field(default_factory=LocalMeters)
    items: LiveItems = field(kw_only=True)
