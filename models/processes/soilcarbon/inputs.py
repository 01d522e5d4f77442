"""What the soil-carbon model is given about a place: its climate in the soil, its litter and its depth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .layers import LAYERS, LITTER_INPUTS


@dataclass(frozen=True, slots=True)
class SoilForcing:
    """Inputs of C cells. Climate rows are shared: many cells may read one.

    temperature: [R, M, 20] soil temperature of M parts of the year (12 months as a rule), degC.
    water: [R, M, 20] CLM's W scalar, 0 (dry, nothing decomposes) to 1.
    litter: [C, 4] yearly input of coarse wood, metabolic, cellulose and lignin litter, gC m-2 yr-1.
    bedrock: [C] int64, 0-based index of the lowest layer with soil (CLM's nbedrock); 19 or more: all 20 layers.
    active_layer: [C] greatest depth of thaw, m; above 2 m soil life mixes, to 2 m frost does, at 0 nothing.
    oxygen, nitrogen: [R, M, 20] CLM's O scalar and FPI (litter only), 0..1; None: 1 everywhere.
    row: [C] int64, the climate row of each cell; None: cell i reads row i.
    Raises ValueError where shapes do not fit; `check` looks at values.
    """

    temperature: Tensor
    water: Tensor
    litter: Tensor
    bedrock: Tensor
    active_layer: Tensor
    oxygen: Tensor | None = None
    nitrogen: Tensor | None = None
    row: Tensor | None = None

    def __post_init__(self) -> None:
        climate = tuple(self.temperature.shape)
        if len(climate) != 3 or climate[2] != LAYERS or climate[1] == 0:
            raise ValueError(f"temperature has shape {list(climate)}, but must be [rows, months, {LAYERS}].")
        for name in ("water", "oxygen", "nitrogen"):
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != climate:
                raise ValueError(f"{name} has shape {list(value.shape)}, but temperature has {list(climate)}.")
        cells = climate[0] if self.row is None else self.row.shape[0]
        for name, shape in (("litter", (cells, len(LITTER_INPUTS))), ("bedrock", (cells,)), ("active_layer", (cells,))):
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(
                    f"{name} has shape {list(getattr(self, name).shape)}, but must be {list(shape)} for {cells} cells."
                )

    @property
    def cells(self) -> int:
        return int(self.litter.shape[0])

    @property
    def months(self) -> int:
        return int(self.temperature.shape[1])

    @property
    def layers(self) -> Tensor:
        """[C] int64, how many layers hold soil, 1..20."""
        return (self.bedrock + 1).clamp(1, LAYERS)

    def month(self, index: int) -> SoilForcing:
        """The same places with the climate of one month only, as if it lasted."""
        part = slice(index % self.months, index % self.months + 1)
        return replace(
            self,
            temperature=self.temperature[:, part],
            water=self.water[:, part],
            oxygen=None if self.oxygen is None else self.oxygen[:, part],
            nitrogen=None if self.nitrogen is None else self.nitrogen[:, part],
        )

    def to(self, like: Tensor) -> SoilForcing:
        """The same on the device and in the precision of `like`."""

        def put(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(like)

        return SoilForcing(
            self.temperature.to(like),
            self.water.to(like),
            self.litter.to(like),
            self.bedrock.to(like.device),
            self.active_layer.to(like),
            put(self.oxygen),
            put(self.nitrogen),
            None if self.row is None else self.row.to(like.device),
        )

    def check(self) -> None:
        """Raise ValueError, with the values found and the range allowed, for inputs that no soil can have."""
        bounds: tuple[tuple[str, Tensor | None, float, float, str], ...] = (
            ("temperature", self.temperature, -80.0, 70.0, "degC"),
            ("water", self.water, 0.0, 1.0, "a share"),
            ("oxygen", self.oxygen, 0.0, 1.0, "a share"),
            ("nitrogen", self.nitrogen, 0.0, 1.0, "a share"),
            ("litter", self.litter, 0.0, 1e5, "gC m-2 yr-1"),
            ("active_layer", self.active_layer, 0.0, float("inf"), "m"),
            ("bedrock", self.bedrock, 0, float("inf"), "the index of a layer"),
            ("row", self.row, 0, self.temperature.shape[0] - 1, "the index of a climate row"),
        )
        for name, value, low, high, unit in bounds:
            if value is None:
                continue
            if not bool(((value >= low) & (value <= high)).all()):
                raise ValueError(
                    f"{name} runs from {value.min().item():g} to {value.max().item():g}, but must be {unit} within "
                    f"{low:g} to {high:g}: give the right unit, and leave out cells without data."
                )
        if not bool((self.water.amax((1, 2)) > 0.0).all()):
            raise ValueError("water is 0 in every layer and month of a row: nothing would ever decompose there.")


def rows(values: Tensor, row: Tensor | None) -> Tensor:
    """[C, ...] the climate row of each cell."""
    return values if row is None else torch.index_select(values, 0, row)
