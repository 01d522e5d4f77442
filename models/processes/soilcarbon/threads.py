"""Splits cells among threads, for kernels that let go of the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

FEWEST_CELLS = 256  # a thread's share: with fewer, another thread costs more than it saves


def in_threads(run: Callable[[int, int], None], cells: int) -> None:
    """Call run(low, high) over ranges that make up 0..cells, in at most torch.get_num_threads() threads."""
    threads = max(1, min(torch.get_num_threads(), cells // FEWEST_CELLS))
    if threads == 1:
        run(0, cells)
        return
    edges = [cells * i // threads for i in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: run(*part), pairwise(edges)))
