"""One replica of the generator: prompts in, pieces of text out, aborted when the caller leaves."""

import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from llmrec_ray.explain.generator import VllmGenerator, engine_environment
from llmrec_ray.models import local_model
from llmrec_ray.ports import Prompt
from llmrec_ray.settings import ExplainSettings
from serve import autoscaling
from serve.observe.meters import meters
from serve.observe.metrics import FIRST_PIECE, GENERATIONS, PIECES, UNFINISHED

NICE = 10
"""Ray's workers run at 15, so the engine ends at 19 and gets less than half of an answer's share.

With all others at 0 instead, `make load` had ten times the p95, of no-ops too.
"""


class GeneratorReplica:
    """The deployment `generator`: a thin shell around the vLLM engine, the same on CPU and GPU."""

    async def __init__(self, settings: ExplainSettings) -> None:
        # Here and not in the deployment's runtime_env, which a Serve config replaces as a whole.
        os.environ.update(  # noqa: TID251 vLLM takes these from the environment alone
            engine_environment(settings.threads, settings.kv_cache_gib)
        )
        os.nice(NICE)  # the engine's own process inherits it
        self._meters = meters()
        self._unfinished = 0
        self._model = settings.model
        self._generator = VllmGenerator(
            local_model(settings.model),
            context=settings.context,
            streams=settings.streams,
            temperature=settings.temperature,
        )
        await self._generator.warm_up()

    async def generate(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        """Pieces of text; a caller that leaves cancels this, and so aborts the engine's request."""
        since, pieces = time.perf_counter(), 0
        outcome: Literal["finished", "left", "failed"] = "left"
        self._begun(1)
        try:
            async with aclosing(self._generator.generate(prompt)) as generating:
                async for piece in generating:
                    if not pieces:
                        self._meters.observe(FIRST_PIECE, time.perf_counter() - since)
                    pieces += 1
                    yield piece
            outcome = "finished"
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._begun(-1)
            self._meters.add(PIECES, pieces)
            self._meters.add(GENERATIONS, outcome=outcome)

    def _begun(self, prompts: int) -> None:
        self._unfinished += prompts
        self._meters.set(UNFINISHED, self._unfinished)

    def record_autoscaling_stats(self) -> dict[str, int]:
        """What the scaling rule goes by (serve/autoscaling.py)."""
        return {autoscaling.UNFINISHED: self._generator.unfinished()}

    async def model(self) -> str:
        """The name of the model that speaks here."""
        return self._model

    async def check_health(self) -> None:
        await self._generator.check_health()

    def __del__(self) -> None:
        if generator := getattr(self, "_generator", None):
            generator.close()
