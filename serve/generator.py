"""One replica of the generator: prompts in, pieces of text out, aborted when the caller leaves."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing

from llmrec_ray.explain.generator import VllmGenerator, engine_environment
from llmrec_ray.models import local_model
from llmrec_ray.ports import Prompt
from llmrec_ray.settings import ExplainSettings
from serve.autoscaling import UNFINISHED


class GeneratorReplica:
    """The deployment `generator`: a thin shell around the vLLM engine, the same on CPU and GPU."""

    async def __init__(self, settings: ExplainSettings) -> None:
        # Here and not in the deployment's runtime_env, which a Serve config replaces as a whole.
        os.environ.update(  # noqa: TID251 vLLM takes these from the environment alone
            engine_environment(settings.threads, settings.kv_cache_gib)
        )
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
        async with aclosing(self._generator.generate(prompt)) as pieces:
            async for piece in pieces:
                yield piece

    def record_autoscaling_stats(self) -> dict[str, int]:
        """What the scaling rule goes by (serve/autoscaling.py)."""
        return {UNFINISHED: self._generator.unfinished()}

    async def model(self) -> str:
        """The name of the model that speaks here."""
        return self._model

    async def check_health(self) -> None:
        await self._generator.check_health()

    def __del__(self) -> None:
        if generator := getattr(self, "_generator", None):
            generator.close()
