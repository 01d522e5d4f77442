"""What the stages of a training took, over all the calls that it was made in."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall times in a file of the training's work folder, so that a stage that was broken off goes on counting."""

    path: Path

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the seconds of the block to the stage, however it ends."""
        begun = time.monotonic()
        try:
            yield
        finally:
            taken = self.seconds()
            taken[name] = round(taken.get(name, 0.0) + time.monotonic() - begun, 1)
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(taken, indent=1))
            os.replace(part, self.path)

    def seconds(self) -> dict[str, float]:
        """Stage -> seconds, in the order in which they were begun."""
        found: dict[str, float] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return found
