"""Raw faiss in this process and peers in their own: queries in, answers and seconds out."""

# pyright: reportCallIssue=false
# (faiss describes its C++ signatures, which its Python layer widens)

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import faiss
import numpy as np

from benchmarks.search_data import Corpus
from llmrec_ray.types import ScoreQuery

TEN = 10
TURN = 50  # queries

Turn = Callable[[int, int], float]
"""Answers the queries of a range, and returns the seconds: of this thread where peers share it."""


class RawFaiss:
    """The same kind of index over the same [p ; t], by itself: recall and turns."""

    def __init__(self, made: Corpus) -> None:
        self._joint = joint = made.joint
        faiss.omp_set_num_threads(1)
        self._index = faiss.index_factory(
            joint.shape[1],
            f"IVF16,PQ{joint.shape[1] // 2}x4fs,Refine(SQfp16)",
            faiss.METRIC_INNER_PRODUCT,
        )
        self._index.train(joint[np.random.default_rng(0).permutation(len(joint))[:8192]])
        self._index.add(joint)
        self._options = faiss.IndexRefineSearchParameters(
            k_factor=TEN, base_index_params=faiss.SearchParametersIVF(nprobe=16)
        )

    def recall(self, queries: Sequence[ScoreQuery]) -> float:
        """Of the ten rows with the largest products, by these alone."""
        vectors = np.stack([query.vector for query in queries]).astype(np.float32)
        truth = np.argpartition(-(vectors @ self._joint.T), TEN, axis=1)[:, :TEN]
        found = self._index.search(vectors, TEN, params=self._options)[1]
        hits = sum(len({*a} & {*b}) for a, b in zip(truth.tolist(), found.tolist(), strict=True))
        return hits / truth.size

    def turn(self, queries: Sequence[ScoreQuery]) -> Turn:
        vectors = np.stack([query.vector for query in queries]).astype(np.float32)

        def run(start: int, end: int) -> float:
            since = time.thread_time()
            for vector in vectors[start:end]:
                self._index.search(vector[np.newaxis], TEN, params=self._options)
            return time.thread_time() - since

        return run


class Peer:
    """One peer in a process of its own, which answers a range of queries when told to."""

    def __init__(self, python: str, name: str, *files: str) -> None:
        script = str(Path(__file__).with_name("search_peer.py"))
        self._process = subprocess.Popen(
            [python, script, name, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.build_s = self._read()["build_s"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def ask(self, setting: int, start: int, end: int) -> tuple[list[list[int]], float]:
        """Row ids and seconds."""
        self._tell({"setting": setting, "start": start, "end": end})
        answer = self._read()
        return answer["ids"], answer["seconds"]

    def serve(self, setting: int, port: int) -> None:
        """Become a web service, for the rest of its life; it listens soon."""
        self._tell({"setting": setting, "port": port})

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def _tell(self, asked: Mapping[str, int]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the peer ended; its reason is above. Is benchmarks/peers.sh done?")
        return json.loads(line)


def in_turns(count: int, turns: Sequence[Turn]) -> np.ndarray:
    """Seconds of each turn, float64 [turns of TURN queries, competitors]; who begins changes."""
    spent: list[list[float]] = []
    for number, start in enumerate(range(0, count - TURN + 1, TURN)):
        seconds = [0.0] * len(turns)
        for place in range(len(turns)):
            one = (number + place) % len(turns)
            seconds[one] = turns[one](start, start + TURN)
        spent.append(seconds)
    return np.array(spent)
