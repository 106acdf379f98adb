"""Logits in, logits that favour long tokens out: loaded by vLLM's worker, never by ours.

Under a grammar a model spells forced text, such as a name it does not expect, in tokens of a letter
each: slower, and cut off in the end. With this, text takes about the tokens a tokeniser gives it.
"""

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.tokenizers import get_tokenizer  # pyright: ignore[reportUnknownVariableType]
from vllm.v1.sample.logits_processor.interface import BatchUpdate, LogitsProcessor

A_CHARACTER = 1.0
LONGEST = 12
SPECIAL = 3
"""Logits a character, up to a length; the end of an answer weighs as much as a short word."""


class LongTokens(LogitsProcessor):
    """Adds to each token's logit by its length; the grammar's mask holds all the same."""

    def __init__(
        self,
        vllm_config: VllmConfig,
        device: torch.device,
        is_pin_memory: bool,  # noqa: ARG002 - vLLM passes it
    ) -> None:
        tokenizer = get_tokenizer(vllm_config.model_config.tokenizer)
        special = set(tokenizer.all_special_ids)
        lengths = torch.zeros(vllm_config.model_config.get_vocab_size())
        for token, number in tokenizer.get_vocab().items():
            lengths[number] = SPECIAL if number in special else min(len(token), LONGEST)
        self._bias = (lengths * A_CHARACTER).to(device)

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Nothing to check: a request has no parameter here."""

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.add_(self._bias[: logits.shape[-1]])

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Nothing to keep: the bias is the same for every request."""
