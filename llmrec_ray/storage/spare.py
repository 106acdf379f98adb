"""Memory that was freed and is still held by allocators in; the same, with the system, out."""

import ctypes

import pyarrow as pa


def give_back() -> None:
    """Return it: what loading a shard took and freed is otherwise held for as long as it serves."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)
