"""The real engine with the small model, started once for this file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from llmrec_ray.errors import GeneratorUnavailable
from llmrec_ray.explain.explainer import Explainer, Piece
from llmrec_ray.explain.generator import VllmGenerator, engine_environment
from llmrec_ray.explain.grammar import ebnf, one_of, then
from llmrec_ray.explain.prompt import prompt_of, says
from llmrec_ray.models import local_model
from llmrec_ray.ports import Prompt
from llmrec_ray.types import Explanation, Item
from tests.support.explaining import ALIEN, CASINO, HEAT, NASTY, THIEF, facts, item, share

pytest.importorskip("vllm", reason="needs the extra cpu or gpu")
pytestmark = [
    pytest.mark.long,  # an engine of its own; the end-to-end tests have the service's
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[VllmGenerator]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_environment(threads=1, kv_cache_gib=1).items():
            patch.setenv(name, value)
        generator = VllmGenerator(local_model("SmolLM2-135M-Instruct"))
        await generator.warm_up()
        yield generator
        generator.close()


def explainer(engine: VllmGenerator, deadline_s: float = 120.0) -> Explainer:
    return Explainer(engine, deadline_s=deadline_s, max_tokens=64)


async def settled(engine: VllmGenerator) -> None:
    async with asyncio.timeout(10):
        while engine.unfinished():  # noqa: ASYNC110 - the engine has no event for it
            await asyncio.sleep(0)


async def test_ten_films_are_explained_by_the_model_with_supported_facts(
    engine: VllmGenerator,
) -> None:
    films = (HEAT, CASINO, THIEF, ALIEN)
    known = [
        facts(target, *(share(other.item_id, 0.4, kind="rating", value=5.0) for other in films))
        for target in films
    ]
    said = await asyncio.gather(
        *(
            explainer(engine).explain(each, how="llm", seed=seed)
            for seed in (1, 2)
            for each in known
        )
    )
    assert {explanation.source for explanation in said} == {"llm"}
    assert all(each.title in text.text for each, text in zip(known * 2, said, strict=True))
    assert len({text.text for text in said}) > 4


async def test_the_explanation_is_streamed_in_pieces(engine: VllmGenerator) -> None:
    stream = explainer(engine).stream(facts(HEAT, share("casino")), how="llm", seed=4)
    async with aclosing(stream) as said:
        *pieces, last = [piece async for piece in said]
    assert len(pieces) > 5
    assert isinstance(last, Explanation)
    assert last.text == "".join(piece.text for piece in pieces if isinstance(piece, Piece))


async def test_the_same_seed_says_the_same(engine: VllmGenerator) -> None:
    known = facts(HEAT, share("casino"), share("thief", 0.3))
    one, two = [await explainer(engine).explain(known, how="llm", seed=9) for _ in range(2)]
    assert one == two


async def test_a_client_that_leaves_frees_the_engine(engine: VllmGenerator) -> None:
    stream = explainer(engine).stream(facts(HEAT, share("casino")), how="llm", seed=5)
    await anext(stream)
    assert engine.unfinished() == 1
    await stream.aclose()
    await settled(engine)


async def test_a_cancelled_caller_frees_the_engine(engine: VllmGenerator) -> None:
    known = facts(HEAT, share("casino"))
    task = asyncio.create_task(explainer(engine).explain(known, how="llm", seed=6))
    async with asyncio.timeout(60):
        while not engine.unfinished():  # noqa: ASYNC110
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled(engine)


async def test_a_missed_deadline_frees_the_engine_and_the_template_speaks(
    engine: VllmGenerator,
) -> None:
    known = facts(HEAT, share("casino"))
    said = await explainer(engine, deadline_s=0.01).explain(known, how="llm", seed=7)
    assert said.source == "template"
    await settled(engine)


@pytest.mark.parametrize(
    "odd",
    [
        item("blank", "", genres=("Crime",)),
        item("chinese", "七武士", genres=("Crime", "武侠")),
        *(item(f"nasty-{n}", title, genres=("Crime", title)) for n, title in enumerate(NASTY[:9])),
    ],
    ids=lambda odd: odd.item_id,
)
async def test_odd_titles_are_spoken_as_they_are(engine: VllmGenerator, odd: Item) -> None:
    known = facts(odd, share("casino"), known=(CASINO,))
    said = await explainer(engine).explain(known, how="llm", seed=8)
    assert said.source == "llm"
    assert (known.title or "his item") in said.text


async def test_the_grammar_is_obeyed_to_the_letter(engine: VllmGenerator) -> None:
    language = then("«", one_of(['"quoted"', "back\\slash", "七武士 🎬", "a|b (c) [d]"]), "».")
    prompt = Prompt("Repeat.", "Say something long.", ebnf(language), seed=1, max_tokens=40)
    said = "".join([piece async for piece in engine.generate(prompt)])
    assert said in {'«"quoted"».', "«back\\slash».", "«七武士 🎬».", "«a|b (c) [d]»."}


async def test_an_answer_that_is_cut_off_is_not_taken(engine: VllmGenerator) -> None:
    known = facts(HEAT, share("casino"))
    prompt = prompt_of(known, seed=3, max_tokens=64)
    cut = Prompt(prompt.system, prompt.user, prompt.grammar, prompt.seed, max_tokens=4)
    said = "".join([piece async for piece in engine.generate(cut)])
    assert said
    assert not says(said, known, seed=3, max_tokens=64)


async def test_a_prompt_over_the_context_is_unavailable_and_the_engine_lives(
    engine: VllmGenerator,
) -> None:
    prompt = Prompt("word " * 5000, "", 'root ::= "x"', seed=1, max_tokens=4)
    with pytest.raises(GeneratorUnavailable, match="language model failed"):
        _ = [piece async for piece in engine.generate(prompt)]
    await engine.check_health()
    assert engine.unfinished() == 0
