"""A peer and a file of vectors in; on stdin settings and ranges of queries in, on stdout answers.

`python benchmarks/search_peer.py PEER VECTORS.npy QUERIES.npy` runs in the peers' environment, one
process a peer, and builds its index with one thread. Every line in is
`{"setting", "start", "end"}`, every line out `{"ids", "seconds"}`: the ten nearest by cosine, one
query after the other. A last line `{"setting", "port"}` makes it a web service until it is stopped:
one FastAPI app in this process, as its authors' guides show it.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np

Search = Callable[[np.ndarray, int, int], list[int]]
"""One query vector, the peer's setting (its ef) and how many rows to find, to these."""


def chromadb(vectors: np.ndarray) -> Search:
    """An in-process collection; it reads its ef when it is opened."""
    import chromadb  # pyright: ignore[reportMissingImports]
    from chromadb.api.shared_system_client import (  # pyright: ignore[reportMissingImports]
        SharedSystemClient,
    )

    folder = tempfile.mkdtemp(prefix="chroma-")
    collection = chromadb.PersistentClient(folder).create_collection(
        "items",
        embedding_function=None,
        configuration={
            "hnsw": {
                "space": "cosine",
                "ef_construction": 200,
                "max_neighbors": 32,
                "num_threads": 1,
            }
        },
    )
    for start in range(0, len(vectors), 5000):
        part = vectors[start : start + 5000]
        collection.add(ids=[str(start + n) for n in range(len(part))], embeddings=part)
    opened = {0: collection}

    def search(vector: np.ndarray, ef: int, count: int) -> list[int]:
        if ef not in opened:
            [(_, before)] = opened.items()
            before.modify(configuration={"hnsw": {"ef_search": ef}})
            SharedSystemClient.clear_system_cache()
            again = chromadb.PersistentClient(folder).get_collection("items", None)
            opened.clear()
            opened[ef] = again
        found = opened[ef].query(query_embeddings=vector[None], n_results=count, include=[])
        return [int(name) for name in found["ids"][0]]

    return search


def qdrant_edge(vectors: np.ndarray) -> Search:
    """An in-process shard of one segment, its HNSW built before the first query."""
    import qdrant_edge as edge  # pyright: ignore[reportMissingImports]

    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(vectors.shape[1], edge.Distance.Cosine),
        hnsw_config=edge.HnswIndexConfig(32, 200, 0, max_indexing_threads=1),
        optimizers=edge.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
        max_search_threads=1,
    )
    shard = edge.EdgeShard.create(tempfile.mkdtemp(prefix="qdrant-"), config)
    for start in range(0, len(vectors), 1000):
        part = vectors[start : start + 1000].tolist()
        points = [edge.Point(start + n, vector) for n, vector in enumerate(part)]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.optimize()

    def search(vector: np.ndarray, ef: int, count: int) -> list[int]:
        request = edge.SearchRequest(
            query=edge.Query.Nearest(vector.tolist()),
            limit=count,
            params=edge.SearchParams(hnsw_ef=ef),
        )
        return [int(point.id) for point in shard.search(request)]

    return search


def pgvector(vectors: np.ndarray) -> Search:
    """A server beside this process, a connection for each thread, prepared statements."""
    import psycopg

    def connected() -> psycopg.Connection:
        return psycopg.connect(sys.argv[4], autocommit=True, prepare_threshold=1)

    connection = connected()
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute(f"CREATE TABLE items (id int, v vector({vectors.shape[1]}))".encode())
    connection.execute("SET maintenance_work_mem = '1GB'")
    connection.execute("SET max_parallel_maintenance_workers = 0")
    with connection.cursor().copy(b"COPY items FROM STDIN") as copy:
        for row, vector in enumerate(vectors):
            copy.write_row((row, _text(vector)))
    connection.execute(
        "CREATE INDEX ON items USING hnsw (v vector_cosine_ops)"
        " WITH (m = 32, ef_construction = 100)"
    )
    own = threading.local()

    def search(vector: np.ndarray, ef: int, count: int) -> list[int]:
        if not hasattr(own, "connection"):
            own.connection, own.ef = connected(), 0
        if own.ef != ef:
            own.connection.execute(f"SET hnsw.ef_search = {ef}".encode())
            own.ef = ef
        rows = own.connection.execute(
            "SELECT id FROM items ORDER BY v <=> %s::vector LIMIT %s", (_text(vector), count)
        )
        return [row[0] for row in rows]

    return search


def _text(vector: np.ndarray) -> str:
    return "[" + ",".join(map(str, vector.tolist())) + "]"


def serve(vectors: np.ndarray, search: Search, ef: int, port: int) -> None:
    """Items like one that is held, over HTTP, until SIGTERM; blocking searches get a thread each.

    This is one process, so a search that holds Python's lock keeps the others waiting.
    """
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/items/{row}/similar")
    def similar(row: int, limit: int = 10) -> dict[str, list[dict[str, str]]]:
        found = [other for other in search(vectors[row], ef, limit + 1) if other != row]
        return {"items": [{"item_id": f"i{other}"} for other in found[:limit]]}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


def main() -> None:
    """Build, say how long it took, and answer lines until there are no more."""
    made = {"chromadb": chromadb, "qdrant_edge": qdrant_edge, "pgvector": pgvector}[sys.argv[1]]
    vectors, queries = np.load(sys.argv[2]), np.load(sys.argv[3])
    since = time.perf_counter()
    search = made(vectors)
    print(json.dumps({"build_s": time.perf_counter() - since}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        ef = asked["setting"]
        if "port" in asked:
            serve(vectors, search, ef, asked["port"])
            return
        search(queries[0], ef, 10)
        since = time.perf_counter()
        ids = [search(query, ef, 10) for query in queries[asked["start"] : asked["end"]]]
        print(json.dumps({"ids": ids, "seconds": time.perf_counter() - since}), flush=True)


if __name__ == "__main__":
    main()
