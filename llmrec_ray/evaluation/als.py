"""The peer of the library `implicit`: pasts in, a factorised ranker out."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
# (implicit leaves its models partly untyped)

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmrec_ray.evaluation.data import Catalog, Past, Ranker
from llmrec_ray.evaluation.ranking import Scored, popularity_of, taken
from llmrec_ray.types import Float64s


@dataclass(frozen=True, slots=True)
class Als:
    """Implicit matrix factorisation (Hu et al. 2008) by the library `implicit`; users fold in."""

    factors: int = 64
    regularisation: float = 0.01
    alpha: float = 1.0
    rounds: int = 15
    seed: int = 13
    name: str = "ials"

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        seen = taken(train, len(catalog))
        with threadpool_limits(1, "blas"):  # the library warns of more, and is slow with them
            model = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.regularisation,
                alpha=self.alpha,
                iterations=self.rounds,
                random_state=self.seed,
                num_threads=1,
            )
            model.fit(seen.astype(np.float32), show_progress=False)

        def scores(pasts: Sequence[Past]) -> Float64s:
            had = taken(pasts, len(catalog)).astype(np.float32)
            with threadpool_limits(1, "blas"):
                users = model.recalculate_user(np.arange(len(pasts)), had)
            return np.asarray(users @ model.item_factors.T, dtype=np.float64)

        return Scored(scores, popularity_of(seen))
