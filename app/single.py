"""Single flight: identical work asked for at the same time is done once, and all who asked get its result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Executor
from typing import Any, TypeVar

Result = TypeVar("Result")


class SingleFlight:
    """Work in hand by its key, for one event loop."""

    def __init__(self) -> None:
        self._flying: dict[Hashable, asyncio.Future[Any]] = {}

    def start(self, key: Hashable, pool: Executor, work: Callable[[], Result]) -> asyncio.Future[Result]:
        """Begin `work` in `pool` unless work of the same key is under way there; the future of its result."""
        flying = self._flying.get(key)
        if flying is None:
            flying = asyncio.get_running_loop().run_in_executor(pool, work)
            self._flying[key] = flying
            flying.add_done_callback(lambda _: self._flying.pop(key, None))
        return flying

    async def run(self, key: Hashable, pool: Executor, work: Callable[[], Result]) -> Result:
        """The result of `work`, begun or joined. A caller who goes away does not stop it for the others."""
        return await asyncio.shield(self.start(key, pool, work))
