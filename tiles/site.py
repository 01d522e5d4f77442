"""What does not change about a store: its folder, grid and extent, how it is cut, what its places are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fieldflux.models.variables import variable as vocabulary

from .grid import Block, Grid, Window
from .layout import FLUXES, Layout
from .manifest import Manifest


class NotInStore(ValueError):
    """A variable, member, day or level that a store does not hold."""


@dataclass(frozen=True)
class Site:
    """A store's folder and its manifest, with what follows from them. Windows are in absolute rows and columns."""

    path: Path
    manifest: Manifest

    @cached_property
    def grid(self) -> Grid:
        return self.manifest.the_grid()

    @cached_property
    def window(self) -> Window:
        """Extent: the cube's window, grown to whole blocks."""
        return self.manifest.the_window()

    @property
    def members(self) -> int:
        return self.manifest.model.members

    @property
    def daily(self) -> tuple[str, ...]:
        return self.manifest.daily

    @property
    def annual(self) -> tuple[str, ...]:
        return self.manifest.annual

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.grid, self.window, self.daily, self.annual, self.members)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Levels of the pyramid, 0 = the cells."""
        return (0, *self.layout.levels)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(self.window.blocks(self.grid))

    @property
    def title(self) -> str:
        return f"{self.manifest.model.title}: {self.manifest.cube.title}"

    @property
    def source(self) -> str:
        used = self.manifest
        return (
            f"Fieldflux {used.code}, model {used.model.id} (weights sha256 {used.model.weights_sha256}), cube "
            f"{used.cube.id} (content {used.cube.hash}). {used.cube.statement}"
        )

    def place(self, block: Block) -> tuple[int, int]:
        """Row and column of a block in the extent."""
        n = self.grid.block
        return block.row - self.window.row0 // n, block.col - self.window.col0 // n

    def block_at(self, i: int, j: int) -> Block:
        """The block in that row and column of the extent."""
        n = self.grid.block
        return Block(self.window.row0 // n + i, self.window.col0 // n + j)

    def chunk_name(self, row: int, col: int) -> str:
        """Name of a chunk in files and messages, by its number on the grid."""
        n = self.grid.chunk
        return f"c{self.window.row0 // n + row:04d}-{self.window.col0 // n + col:04d}"

    def chunk_window(self, row: int, col: int) -> Window:
        """Cells of a chunk; (row, col) as in `Store.computed`."""
        n = self.grid.chunk
        row0, col0 = self.window.row0 + row * n, self.window.col0 + col * n
        return Window(row0, row0 + n, col0, col0 + n)

    # What it holds of each; else NotInStore

    def require(self, name: str, daily: bool, level: int = 0) -> None:
        """Raise NotInStore unless it has the variable, with days where these are asked for, and the level."""
        v = vocabulary(name)
        if name not in (*self.daily, *self.annual):
            raise NotInStore(
                f"The store of model '{self.manifest.model.id}' has no variable '{name}'; it has: "
                f"{', '.join((*self.daily, *self.annual))}."
            )
        if daily and v.period != "day":
            raise NotInStore(f"Variable '{name}' has one value a year, not one a day. Ask for a year.")
        if level not in self.levels:
            raise NotInStore(f"There is no level {level}; the levels are 0 (cells) to {self.levels[-1]}.")

    def require_member(self, member: int) -> None:
        if not 0 <= member < self.members:
            raise NotInStore(f"There is no member {member}; members are 0 to {self.members - 1}.")

    def require_member_days(self, name: str) -> None:
        if name not in self.layout.member_daily:
            raise NotInStore(
                f"The store keeps days of each member for {', '.join(self.layout.member_daily) or 'nothing'}, not "
                f"for '{name}'. Ask for its mean."
            )

    def member_parts(self, name: str, member: int | None) -> tuple[str, ...] | None:
        """The fluxes that a member's reco or nee is made of; None where the variable is kept itself."""
        if member is None:
            return None
        self.require_member(member)
        if self.members == 1 or name in self.layout.member_daily:
            return None
        if name in ("reco", "nee") and len(self.layout.member_daily) == 3:
            return self.layout.member_daily
        kept = (*self.layout.member_daily, "reco", "nee")
        raise NotInStore(
            f"The store keeps days of each member for {', '.join(kept)}, not for '{name}'. Ask for its mean."
        )


def has_parts(daily: Sequence[str]) -> bool:
    """Whether nee and what it is made of are all among the variables."""
    return set(FLUXES) <= set(daily)
