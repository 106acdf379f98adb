"""Erasures that other replicas made in; what this ingress replica remembers of these users out."""

import asyncio
import logging
from typing import Protocol

from llmrec_ray.errors import LLMRecError

log = logging.getLogger("ray.serve")


class Remembering(Protocol):
    """What has caches of users (`llmrec_ray.online.recommender.Recommender`)."""

    async def follow_erasures(self) -> None: ...


async def follow_erasures(recommender: Remembering, every_s: float) -> None:
    """Look until cancelled; while the event store is away there is nothing to follow."""
    while True:
        try:
            await recommender.follow_erasures()
        except LLMRecError as error:
            log.warning("erasures_unknown code=%s", error.code)
        except Exception:
            log.exception("erasures_unknown")
        await asyncio.sleep(every_s)
