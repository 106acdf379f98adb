"""Random work on generations, beside a naive model: every answer and every listing is compared.

`python -m tests.support.machine --examples 200 --steps 50 --seed 1` runs it and prints how many
operations there were.
"""

import argparse
import sys

import numpy as np
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import initialize, run_state_machine_as_test

from llmrec_ray.types import IndexKind
from tests.support.machine.drawn import INDEXES, NUMBERS, SEEDS
from tests.support.machine.generations import GenerationRules
from tests.support.machine.indexes import small_indexes
from tests.support.machine.ingesting import IngestRules
from tests.support.machine.items import ItemRules
from tests.support.machine.questions import QuestionRules
from tests.support.machine.service import ServiceRules


class Machine(GenerationRules, IngestRules, ItemRules, ServiceRules, QuestionRules):
    """Publishes, live items, activations, collections, restarts, faults and questions together."""

    @initialize(numbers=NUMBERS, seed=SEEDS, index=INDEXES)
    def the_first_generation(self, numbers: frozenset[int], seed: int, index: IndexKind) -> None:
        self.restart(1, log_down=False, index=index, mapped=False)
        self.publish(numbers, seed, beside=False)
        self.activate(0)
        self.look()


def run(*, examples: int, steps: int, number: int) -> str:
    """Run the machine; what was done, in one line. A divergence is an `AssertionError`."""
    Machine.operations.clear()
    Machine.met.clear()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    with small_indexes():
        run_state_machine_as_test(seed(number)(Machine), settings=chosen)
    done = Machine.operations
    met = ", ".join(f"{count} {what}" for what, count in sorted(Machine.met.items()))
    return f"{done.total()} operations of {len(done)} kinds, {met}, 0 divergences, seed {number}"


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--examples", type=int, default=200)
    told.add_argument("--steps", type=int, default=50)
    told.add_argument("--seed", type=int, default=int(np.random.default_rng().integers(2**32)))
    given = told.parse_args()
    sys.stdout.write(f"seed {given.seed}\n")
    line = run(examples=given.examples, steps=given.steps, number=given.seed)
    rows = [f"  {name}: {count}\n" for name, count in sorted(Machine.operations.items())]
    sys.stdout.write("".join([*rows, line, "\n"]))


if __name__ == "__main__":
    main()
