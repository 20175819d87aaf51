"""The limits of the machine: the multiply-add peak of the cores and the bandwidth of the memory."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import fastnn._core as _core

__all__ = ["fma_peak", "memory_bandwidth"]

_WARM_UP = 0.03  # seconds


def fma_peak(n_threads: int, seconds: float) -> dict[str, Any]:
    """Measure the float32 multiply-add peak of ``n_threads`` in GFLOP/s, averaged over ``seconds``."""
    with ThreadPoolExecutor(n_threads) as pool:
        # New threads may share a processor for milliseconds.
        list(pool.map(_core.fma_peak, [min(seconds, _WARM_UP)] * n_threads))
        return {"gflops": sum(pool.map(_core.fma_peak, [seconds] * n_threads))}


def memory_bandwidth(n_threads: int, seconds: float) -> dict[str, Any]:
    """GB/s of copying between arrays far larger than the caches; bytes read and bytes written both count."""
    size = 1 << 24  # float32: 64 MiB per array
    source, target = np.ones(size, dtype=np.float32), np.zeros(size, dtype=np.float32)
    parts = list(zip(np.array_split(source, n_threads), np.array_split(target, n_threads), strict=True))
    best = 0.0
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))  # maps the pages
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))
            best = max(best, 2 * source.nbytes / (time.perf_counter() - start) / 1e9)
    return {"gb_per_second": best}
