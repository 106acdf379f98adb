"""The texts of concurrent requests share a batch of the encoder, within its budget of tokens."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from llmrec_ray.embedding.hashing import HashingEmbedder
from llmrec_ray.settings import TEXT_TOKENS, EmbeddingSettings
from llmrec_ray.types import Float32s
from serve.calls.batching import Batcher
from serve.embedder import LEAST_TOKENS, EmbedderReplica, cost

LONG = "word " * 200  # about 333 tokens
ENDLESS = "word " * 2000


class Recording(HashingEmbedder):
    """Keeps the batches that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    def queries(self, texts: Sequence[str]) -> Float32s:
        self.batches.append(list(texts))
        return super().queries(texts)


async def batches(texts: Sequence[str], budget: int = 1024) -> list[list[str]]:
    """What the encoder gets where all the texts come at once; the answers are each text's own."""
    inner = Recording()
    replica = EmbedderReplica(lambda: inner, budget, 0)
    inner.batches.clear()
    found = await asyncio.gather(*(replica.embed(text) for text in texts))
    np.testing.assert_array_equal(np.stack(found), HashingEmbedder().queries(texts))
    return inner.batches


async def test_texts_that_fit_share_one_batch():
    texts = [f"short text {n}" for n in range(32)]
    assert await batches(texts) == [texts]


async def test_no_batch_exceeds_the_budget():
    texts = [f"{n} {LONG}" for n in range(7)]
    made = await batches(texts)
    assert [text for batch in made for text in batch] == texts  # first come, first served
    assert all(sum(map(cost, batch)) <= 1024 for batch in made)
    assert len(made) == 3


async def test_a_review_shares_a_batch_with_queries_and_is_read_by_the_same_encoder():
    inner = Recording()
    replica = EmbedderReplica(lambda: inner, 1024, 0)
    inner.batches.clear()
    _, reading = await asyncio.gather(replica.embed("a query"), replica.read("a review"))
    assert inner.batches == [["a query", "a review"]]
    assert reading.encoder == inner.info.hash
    vector = HashingEmbedder().queries(["a review"])[0]
    assert reading.vector == vector.tobytes()


async def test_a_text_longer_than_the_budget_goes_alone_and_is_answered():
    assert await batches([ENDLESS, f"{ENDLESS}s"], TEXT_TOKENS) == [[ENDLESS], [f"{ENDLESS}s"]]


async def test_a_long_text_is_not_passed_by():
    texts = ["short"] * 31 + [LONG] + ["short"] * 40
    made = await batches(texts)
    assert [text for batch in made for text in batch] == texts


async def test_a_failure_reaches_the_callers_of_its_batch_alone():
    async def work(texts: list[str]) -> list[str]:
        if "bad" in texts:
            raise ValueError("a bad text")
        return texts

    batched = Batcher(work, cost=len, budget=4, wait_s=0)
    found = await asyncio.gather(*map(batched, ["a", "bad", "good"]), return_exceptions=True)
    assert [type(one) for one in found] == [ValueError, ValueError, str]
    assert await batched("bare") == "bare"


async def test_a_text_whose_caller_left_is_not_encoded():
    asked: list[str] = []

    async def work(texts: list[str]) -> list[str]:
        asked.extend(texts)
        return texts

    batched = Batcher(work, cost=len, budget=100, wait_s=0)
    gone = asyncio.create_task(batched("gone"))
    stays = asyncio.create_task(batched("stays"))
    asyncio.get_running_loop().call_soon(gone.cancel)
    assert await stays == "stays"
    assert asked == ["stays"]


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 32), ("a short text", 32), ("汉" * 300, 300), (ENDLESS, TEXT_TOKENS)]
)
def test_a_text_costs_about_its_tokens(text: str, tokens: int):
    assert cost(text) == tokens


def test_half_a_surrogate_pair_has_a_cost():
    assert cost("broken \ud83d" * 100) > LEAST_TOKENS


def test_the_default_budget_holds_a_full_pass_of_short_texts():
    settings = EmbeddingSettings()
    assert settings.batch_tokens == settings.batch * cost("short")
