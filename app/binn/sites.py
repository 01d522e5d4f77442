"""Measured soils with what is known of their places: features for learning, forcing for the soil-carbon model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from fieldflux.models.processes.soilcarbon.climate import (
    FIELD_CAPACITY,
    WILTING,
    Air,
    retention,
    soil_temperature,
    soil_water,
    water_scalar,
)
from fieldflux.models.processes.soilcarbon.litter import litter, miami
from fieldflux.tiles.measurements.counties import Counties, Joined, join, read_counties
from fieldflux.tiles.measurements.soilfiles import read_soil_sites
from fieldflux.tiles.measurements.soilsites import SoilSites, together
from fieldflux.tiles.measurements.tables import BadMeasurements
from numpy.typing import NDArray

from .climate import monthly_air

if TYPE_CHECKING:
    from fieldflux.models.processes.soilcarbon.inputs import SoilForcing

Array = NDArray[np.float64]

# As the published additive encoder has them (mean temperature, rain, clay, sand, bulk density, wilting point, pH, CEC,
# production), and what else the county's files hold. No coordinates: they would only say which block a place is in.
FEATURES = (
    "mean_temperature", "precipitation", "clay", "sand", "bulk_density", "wilting_point", "ph", "cec", "production",
    "temperature_sd", "diurnal_range", "warm_quarter_precipitation", "aridity", "field_capacity", "gravel",
    "elevation", "slope", "irrigated", "corn_yield",
)  # fmt: skip
USES = ("cropland", "reserve", "pasture", "grassland", "forest", "wetland")
# Thaw reaches deeper than soil carbon matters in every county where maize is grown.
ACTIVE_LAYER = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class SoilTable:
    """n soils that a county speaks for. x: [n, feature], NaN where not known; names: of the features.

    soils: the soils. counties: all counties. row: [n] index into them. fips: [n] of the county whose values are used.
    state: [n] FIPS of the state a place lies in. distance: [n] km to the county's centre. own: [n] whether the
    county is the one around the place. left_out: sentences on what was not used, and why.
    """

    soils: SoilSites
    counties: Counties
    names: tuple[str, ...]
    x: Array
    row: NDArray[np.int64]
    fips: NDArray[np.int64]
    state: NDArray[np.int64]
    distance: Array
    own: NDArray[np.bool_]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.row)

    def where(self, kept: NDArray[np.bool_]) -> SoilTable:
        """The soils chosen by a mask [n]."""
        return replace(
            self,
            soils=self.soils.where(kept),
            x=self.x[kept],
            row=self.row[kept],
            fips=self.fips[kept],
            state=self.state[kept],
            distance=self.distance[kept],
            own=self.own[kept],
        )

    def mineral(self) -> SoilTable:
        """The mineral soils."""
        return self.where(~self.soils.organic)


def soil_table(data_dir: Path, datasets: Sequence[str] | None = None) -> SoilTable | None:
    """Every measured soil of these datasets (all: None) with a county to speak for it; None without the files.

    Raises BadMeasurements.
    """
    found = [s for s in read_soil_sites(data_dir) if datasets is None or (len(s) and str(s.dataset[0]) in datasets)]
    counties = read_counties(data_dir)
    if not found or counties is None:
        return None
    soils = together(found)
    return assemble(soils, counties, join(data_dir, counties, soils.latitude, soils.longitude))


def assemble(soils: SoilSites, counties: Counties, joined: Joined) -> SoilTable:
    """Soils beside their counties' values. Raises BadMeasurements where no county speaks for any."""
    has = joined.row >= 0
    if not has.any():
        raise BadMeasurements(f"None of the {len(soils)} soils lies in or within 60 km of a county with climate.")
    kept, row = soils.where(has), joined.row[has]
    values = county_features(counties)
    columns = [values[name][row] for name in FEATURES]
    columns += [np.asarray(kept.land_use == use, np.float64) for use in USES]
    fips = counties.fips[row]
    around = joined.inside[has]
    out = int((~has).sum())
    note = f"{out} of {len(soils)} soils have no county of the maize-growing United States within 60 km."
    return SoilTable(
        kept,
        counties,
        (*FEATURES, *USES),
        np.column_stack(columns),
        row,
        fips,
        np.where(around >= 0, around, fips) // 1000,
        joined.distance[has],
        around == fips,
        (*soils.notes, *((note,) if out else ())),
    )


def county_features(counties: Counties) -> Mapping[str, Array]:
    """Values of the counties and what follows from them: name -> [k].

    wilting_point, field_capacity: m3 m-3 at -1.5 MPa and -33 kPa by texture (Cosby et al. 1984). production: the Miami
    model's, gC m-2 yr-1. aridity: rain over potential evapotranspiration (Hargreaves).
    """
    v = counties.values
    soil = retention(v["sand"], v["clay"])
    demand = county_air(counties).demand.sum(axis=1)
    return {
        **v,
        "wilting_point": soil.content(WILTING),
        "field_capacity": soil.content(FIELD_CAPACITY),
        "production": miami(v["mean_temperature"], v["precipitation"]),
        "aridity": v["precipitation"] / demand,
    }


def county_air(counties: Counties) -> Air:
    """Months of the counties' air, [k, 12]."""
    v = counties.values
    return monthly_air(
        counties.latitude,
        v["mean_temperature"],
        v["warm_quarter_temperature"],
        v["cold_quarter_temperature"],
        v["diurnal_range"],
        v["precipitation"],
        v["warm_quarter_precipitation"],
        v["cold_quarter_precipitation"],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Forcing:
    """What drives the soil-carbon model at n soils, of which several may share one of R climates.

    temperature: [R, 12, 20] degC. water: [R, 12, 20] W scalar. row: [n] climate of each soil. litter: [n, 4] gC m-2
    yr-1. litter_from: [n] words. bedrock: [n] index of the lowest layer with soil. bedrock_known: [n] whether a pit
    found the bottom; otherwise all 20 layers hold soil.
    """

    temperature: Array
    water: Array
    row: NDArray[np.int64]
    litter: Array
    litter_from: NDArray[np.str_]
    bedrock: NDArray[np.int64]
    bedrock_known: NDArray[np.bool_]

    def tensors(self) -> SoilForcing:
        """The same as the model takes it, float64."""
        import torch
        from fieldflux.models.processes.soilcarbon.inputs import SoilForcing

        return SoilForcing(
            torch.from_numpy(self.temperature),
            torch.from_numpy(self.water),
            torch.from_numpy(self.litter),
            torch.from_numpy(self.bedrock),
            torch.full((len(self.row),), ACTIVE_LAYER, dtype=torch.float64),
            row=torch.from_numpy(self.row),
        )


def forcing_of(table: SoilTable) -> Forcing:
    """Climate of the soils' counties by month and layer, litter by land use, depth from the pit where it ended."""
    from fieldflux.models.processes.soilcarbon.layers import BOTTOM, NODE, THICKNESS

    used, row = np.unique(table.row, return_inverse=True)
    v = {name: values[used] for name, values in table.counties.values.items()}
    air = county_air(table.counties)
    some = Air(air.temperature[used], air.precipitation[used], air.demand[used])
    temperature = soil_temperature(
        v["mean_temperature"], v["warm_quarter_temperature"], v["cold_quarter_temperature"], np.array(NODE)
    )
    soil = retention(v["sand"], v["clay"])
    water = water_scalar(soil.potential(soil_water(some, soil, np.array(THICKNESS))))
    production = miami(v["mean_temperature"], v["precipitation"])[row]
    pools, origin = litter(table.soils.land_use, production, v["corn_yield"][row])
    depth = table.soils.soil_depth
    known = np.isfinite(depth)
    bottom = np.array(BOTTOM)
    # The layer whose lower edge is nearest to the soil's end.
    nearest = np.abs(bottom[None, :] - np.where(known, depth, bottom[-1])[:, None]).argmin(axis=1)
    return Forcing(
        np.ascontiguousarray(temperature),
        np.ascontiguousarray(water),
        row.ravel().astype(np.int64),
        np.ascontiguousarray(pools),
        origin,
        nearest.astype(np.int64),
        known,
    )
