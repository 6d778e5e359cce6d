"""The worker's heap gives back what the C library keeps."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from koed.engine.worker.heap import Heap

BLOCKS, BYTES = 40_000, 3000


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_holes_in_the_heap_are_given_back_every_so_many_jobs() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    blocks = [library.malloc(BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BYTES)
    for number, block in enumerate(blocks):
        if number % 20:  # those that stay keep the heap from shrinking by itself
            library.free(block)
    heap = Heap(every=3)
    full_mb = resident_mb()
    assert not heap.rest(), "no job was done"
    assert [heap.job_done() for _ in range(3)] == [False, False, True]
    assert resident_mb() < full_mb - 0.5 * BLOCKS * BYTES / 1e6
    for block in blocks[::20]:
        library.free(block)
