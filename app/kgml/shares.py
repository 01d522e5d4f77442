"""Shares of work in worker processes, with progress counted by the results that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

Told = Callable[[float, str], None]
POLL = 3.0  # s


def share(
    what: Callable[[Any, Any], None],
    setting: Any,
    shares: Sequence[Sequence[Any]],
    workers: int,
    told: Told,
    span: tuple[float, float],
    doing: str,
    count: int,
    done: Callable[[], int],
) -> None:
    """Call what(setting, share) for each share, in processes where there are several workers.

    span: of the progress that this is. count, done: how many results there will be, and how many there are. The first
    error ends what is not yet begun, and is raised.
    """

    def say() -> None:
        ready = done()
        told(span[0] + (span[1] - span[0]) * ready / max(count, 1), f"{doing}: {ready} of {count}")

    if workers < 2:
        for one in shares:
            what(setting, one)
            say()
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: set[Future[None]] = {pool.submit(what, setting, one) for one in shares}
        try:
            while waiting:
                ended, waiting = wait(waiting, timeout=POLL, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                say()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
