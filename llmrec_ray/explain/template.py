"""Facts in, one or two sentences out, without a model: the same facts always give the same text."""

from llmrec_ray.explain.evidence import Facts
from llmrec_ray.explain.grammar import Picker, walk
from llmrec_ray.explain.phrasing import phrases


def render(facts: Facts) -> str:
    """One phrasing, chosen by the item and the events, so that a list reads varied."""
    events = [cited.event_id for cited in facts.cited]
    return walk(phrases(facts, seed="template"), Picker(facts.item_id, *events))
