"""How long work takes on a machine that does other work too: processor time, the best of a few runs."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(run: Callable[[], object], repeats: int = 4) -> float:
    """Processor time of the process for one run; one run before is not counted (what is compiled is compiled then)."""
    run()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best
