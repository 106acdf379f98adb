"""What the rules draw from: few values, so that they meet often."""

from hypothesis import strategies as st

from llmrec_ray.types import IndexKind, Metric
from tests.support.faults import CRASHES, REPLIES, How

FEW = st.frozensets(st.integers(0, 24), min_size=1, max_size=14)
CROWD = frozenset(range(25, 110))
NUMBERS = FEW | FEW.map(CROWD.union)
"""Items of a catalogue: few, or enough for tombstones beside them and for the codes of an index."""
SEEDS = st.integers(0, 3)
ITEMS = st.integers(0, 24).map("f{}".format)
LIMITS = st.sampled_from([1, 3, 30])
GENRES = st.sampled_from([None, "genre 0", "genre 1"])
TEXTS = st.sampled_from(["a robot in space", "music of the sea", "x"])
TITLES = st.sampled_from(["A robot", "Music of the sea", "Space"])
METRICS: st.SearchStrategy[Metric] = st.sampled_from(["cosine", "dot", "euclidean"])
INDEXES: st.SearchStrategy[IndexKind] = st.sampled_from(["exact", "scan"])
SHARDS = st.sampled_from([1, 2, 4])
KEEPS = st.integers(1, 3)
HOWS: st.SearchStrategy[How] = st.sampled_from([*CRASHES, *REPLIES])
AT = st.integers(0, 24)
SESSIONS = st.lists(
    st.tuples(ITEMS, st.sampled_from([1.0, 0.5, -1.0])), max_size=4, unique_by=lambda pair: pair[0]
)
EXPECTED = st.sampled_from([None, None, None, 0, 1, 2])
"""The version that a change is meant for."""
