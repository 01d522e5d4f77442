"""The crops of LINTUL5: tables and constants that do not differ between cells.

Values are those of SIMPLACE's crop files for LINTUL5 (grain maize 202, soybean 0902, winter wheat 102; Wolf 2012),
which derive from WOFOST's European varieties. Tables are knots (x, y), straight between them and flat outside.
Masses are g m-2 of dry matter, nitrogen g g-1, temperatures degC, thermal times degC d, depths m, rates d-1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

Table = tuple[tuple[float, float], ...]
NEVER: Table = ((0.0, 0.0),)
ALWAYS: Table = ((0.0, 1.0),)
SUM_OF_SHARES = 1e-9  # how far the shares of leaves, stems and grain may be from 1 together


@dataclass(frozen=True, slots=True)
class Crop:
    """One crop. Tables "by stage" run over 0 (emergence), 1 (flowering), 2 (maturity).

    Raises ValueError where the shares of the shoot do not add up to 1 at every stage.
    """

    name: str
    # -- development
    t_base_emergence: float
    t_cap_emergence: float
    tsumem: float
    """Thermal time from sowing to emergence."""
    tsum1: float
    """Thermal time from emergence to flowering."""
    tsum2: float
    """Thermal time from flowering to maturity."""
    development: Table
    """Thermal time of a day, by mean temperature."""
    photoperiod: Table
    """Factor on development before flowering, by day length in hours."""
    vernal: Table
    """Vernal days of a day, by mean temperature; NEVER: the crop needs none."""
    vernal_base: float
    vernal_full: float
    vernal_least: float
    """Vernal days below which development stands still, above which it is free, and the least factor."""
    # -- growth
    rue: Table
    """g MJ-1 of intercepted PAR, by stage."""
    by_day_temperature: Table
    by_least_temperature: Table
    by_co2: Table
    """Factors on it, by the day's temperature, its minimum, and CO2 in ppm."""
    extinction: Table
    leaf_area: Table
    """Specific leaf area, m2 g-1, by stage."""
    to_root: Table
    """Share of growth, by stage."""
    to_leaf: Table
    to_stem: Table
    to_grain: Table
    """Shares of what the roots leave, by stage."""
    seed: float
    t_base_juvenile: float
    juvenile: float
    """Relative growth of young leaves, (degC d)-1."""
    lai_crowded: float
    """Leaf area index above which leaves die in their own shade."""
    # -- roots and water
    deepest: float
    advance: float
    """Of the root front, m d-1."""
    depletion: float
    """Crop group of drought, 1 (sensitive) to 5."""
    # -- nitrogen
    n_leaf: Table
    """Greatest concentration in leaves, by stage; in stems and roots half of it."""
    n_grain: float
    n_residual: tuple[float, float, float]
    """What stays in dead leaves, stems, roots."""
    fixed: float
    """Share of the demand that is fixed from the air."""
    uptake_ends: float
    """Stage at which uptake ends."""
    # -- the same for all crops
    start_depth: float = 0.1
    shade_death: float = 0.03
    death_of_leaves: Table = ((-10.0, 0.0), (10.0, 0.02), (15.0, 0.03), (30.0, 0.05), (50.0, 0.09))
    dry_death: float = 0.05
    late_death: float = 0.02
    """Of roots and stems after stage 1.5."""
    laii: float = 0.012
    n_light: float = 1.1
    n_area: float = 1.0
    n_sla: float = 0.5
    n_share: float = 1.0
    n_death: float = 0.05
    n_translocation: float = 10.0
    """Days."""
    n_translocation_starts: float = 0.8
    n_of_roots: float = 0.15
    canopy_demand: float = 1.0
    """Factor on reference evapotranspiration."""

    def __post_init__(self) -> None:
        stages = sorted({x for table in (self.to_leaf, self.to_stem, self.to_grain) for x, _ in table})
        for stage in stages:
            shares = [interpolate(table, stage) for table in (self.to_leaf, self.to_stem, self.to_grain)]
            if abs(sum(shares) - 1.0) > SUM_OF_SHARES:
                raise ValueError(
                    f"The shares of leaf, stem and grain of {self.name} add up to {sum(shares):g} at stage {stage:g} "
                    "and must add up to 1 at every knot of their tables."
                )


def interpolate(table: Table, x: float) -> float:
    """The table's value at x."""
    if x <= table[0][0]:
        return table[0][1]
    for (x0, y0), (x1, y1) in pairwise(table):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return table[-1][1]


_C3 = ((40.0, 0.0), (360.0, 1.0), (720.0, 1.35), (1000.0, 1.5), (2000.0, 1.5))

# fmt: off
MAIZE = Crop(
    name="maize", t_base_emergence=4.0, t_cap_emergence=30.0, tsumem=110.0, tsum1=695.0, tsum2=860.0,
    development=((0.0, 0.0), (6.0, 0.0), (30.0, 24.0), (35.0, 24.0)), photoperiod=ALWAYS, vernal=NEVER,
    vernal_base=0.0, vernal_full=0.0, vernal_least=0.0,
    rue=((0.0, 4.5), (1.25, 4.5), (1.5, 4.1), (1.75, 3.2), (2.0, 1.4)),
    by_day_temperature=((-1.0, 0.0), (0.0, 0.0), (9.0, 0.05), (16.0, 0.8), (18.0, 0.94), (20.0, 1.0), (30.0, 1.0),
                        (36.0, 0.95), (42.0, 0.56)),
    by_least_temperature=((0.0, 0.0), (5.0, 0.0), (8.0, 1.0), (30.0, 1.0)),
    by_co2=((40.0, 0.0), (360.0, 1.0), (720.0, 1.07), (1000.0, 1.1), (2000.0, 1.1)),
    extinction=((0.0, 0.6),), leaf_area=((0.0, 0.026), (0.78, 0.012), (2.0, 0.012)),
    to_root=((0.0, 0.4), (0.1, 0.37), (0.2, 0.34), (0.3, 0.31), (0.4, 0.27), (0.5, 0.23), (0.6, 0.19), (0.7, 0.15),
             (0.8, 0.1), (0.9, 0.06), (1.0, 0.0), (2.0, 0.0)),
    to_leaf=((0.0, 0.62), (0.33, 0.62), (0.88, 0.15), (0.95, 0.15), (1.1, 0.1), (1.2, 0.0), (2.0, 0.0)),
    to_stem=((0.0, 0.38), (0.33, 0.38), (0.88, 0.85), (0.95, 0.85), (1.1, 0.4), (1.2, 0.0), (2.0, 0.0)),
    to_grain=((0.0, 0.0), (0.95, 0.0), (1.1, 0.5), (1.2, 1.0), (2.0, 1.0)),
    seed=5.0, t_base_juvenile=10.0, juvenile=0.0294, lai_crowded=4.0, deepest=1.0, advance=0.012, depletion=4.5,
    n_leaf=((0.0, 0.06), (0.4, 0.04), (0.7, 0.03), (1.0, 0.02), (2.0, 0.0167)), n_grain=0.0152,
    n_residual=(0.0053, 0.0027, 0.0027), fixed=0.0, uptake_ends=1.3,
)
SOYBEAN = Crop(
    name="soybean", t_base_emergence=7.0, t_cap_emergence=22.0, tsumem=70.0, tsum1=350.0, tsum2=950.0,
    development=((0.0, 0.0), (7.0, 0.0), (30.0, 23.0), (45.0, 38.0)), photoperiod=ALWAYS, vernal=NEVER,
    vernal_base=0.0, vernal_full=0.0, vernal_least=0.0,
    rue=((0.0, 2.7), (1.7, 2.7), (2.0, 0.0)),
    by_day_temperature=((-1.0, 0.0), (0.0, 0.0), (10.0, 0.3), (20.0, 0.6), (25.0, 0.8), (30.0, 1.0), (35.0, 1.0)),
    by_least_temperature=((-5.0, 0.0), (0.0, 0.0), (3.0, 1.0), (30.0, 1.0)), by_co2=_C3,
    extinction=((0.0, 0.8),), leaf_area=((0.0, 0.014), (0.45, 0.025), (0.9, 0.025), (2.0, 0.007)),
    to_root=((0.0, 0.65), (0.75, 0.35), (1.0, 0.15), (1.5, 0.0), (2.0, 0.0)),
    to_leaf=((0.0, 0.7), (1.0, 0.7), (1.15, 0.6), (1.3, 0.43), (1.5, 0.15), (2.0, 0.0)),
    to_stem=((0.0, 0.3), (1.0, 0.3), (1.15, 0.25), (1.3, 0.1), (1.5, 0.1), (2.0, 0.0)),
    to_grain=((0.0, 0.0), (1.0, 0.0), (1.15, 0.15), (1.3, 0.47), (1.5, 0.75), (2.0, 1.0)),
    seed=12.0, t_base_juvenile=7.0, juvenile=0.010, lai_crowded=23.0, deepest=1.2, advance=0.012, depletion=5.0,
    n_leaf=((0.0, 0.06), (0.4, 0.04), (0.7, 0.035), (1.0, 0.03), (2.0, 0.0293)), n_grain=0.056,
    n_residual=(0.00933, 0.00467, 0.00467), fixed=0.8, uptake_ends=1.5,
)
WINTER_WHEAT = Crop(  # starts on 1 January as a stand that has come through half a winter
    name="winter_wheat", t_base_emergence=0.0, t_cap_emergence=30.0, tsumem=60.0, tsum1=1050.0, tsum2=1000.0,
    development=((-5.0, 0.0), (0.0, 0.0), (30.0, 30.0), (45.0, 30.0)), photoperiod=ALWAYS, vernal=NEVER,
    vernal_base=0.0, vernal_full=0.0, vernal_least=0.0,
    rue=((0.0, 3.0), (1.3, 3.0), (2.0, 0.4)),
    by_day_temperature=((-1.0, 0.0), (0.0, 0.0), (10.0, 0.6), (15.0, 1.0), (30.0, 1.0), (35.0, 0.0), (40.0, 0.0)),
    by_least_temperature=((-5.0, 0.0), (0.0, 0.0), (3.0, 1.0), (30.0, 1.0)), by_co2=_C3,
    extinction=((0.0, 0.6),), leaf_area=((0.0, 0.0212),),
    to_root=((0.0, 0.5), (0.1, 0.5), (0.2, 0.4), (0.35, 0.22), (0.4, 0.17), (0.5, 0.13), (0.7, 0.07), (0.9, 0.03),
             (1.2, 0.0), (2.0, 0.0)),
    to_leaf=((0.0, 0.65), (0.1, 0.65), (0.25, 0.7), (0.5, 0.5), (0.646, 0.3), (0.95, 0.0), (2.0, 0.0)),
    to_stem=((0.0, 0.35), (0.1, 0.35), (0.25, 0.3), (0.5, 0.5), (0.646, 0.7), (0.95, 1.0), (1.0, 0.0), (2.0, 0.0)),
    to_grain=((0.0, 0.0), (0.95, 0.0), (1.0, 1.0), (2.0, 1.0)),
    seed=21.0, t_base_juvenile=0.0, juvenile=0.00817, lai_crowded=4.0, deepest=1.25, advance=0.012, depletion=4.5,
    n_leaf=((0.0, 0.06), (0.4, 0.04), (0.7, 0.03), (1.0, 0.02), (2.0, 0.014)), n_grain=0.0176,
    n_residual=(0.004, 0.002, 0.002), fixed=0.0, uptake_ends=1.3,
)
# Sown in autumn it needs cold and long days: WOFOST's ranges are 8 h and 14.6-16.8 h, base 1-10, saturation 5-52.
WINTER_WHEAT_AUTUMN = replace(
    WINTER_WHEAT, name="winter_wheat_autumn", tsumem=120.0, photoperiod=((8.0, 0.0), (15.0, 1.0)),
    vernal=((-8.0, 0.0), (-4.0, 0.0), (3.0, 1.0), (10.0, 1.0), (17.0, 0.0), (20.0, 0.0)), vernal_base=5.0,
    vernal_full=30.0, vernal_least=0.0,
)
# fmt: on
CROPS: tuple[Crop, ...] = (MAIZE, SOYBEAN, WINTER_WHEAT, WINTER_WHEAT_AUTUMN)


def crop_named(name: str) -> Crop:
    """The crop of that name. Raises KeyError where there is none."""
    for crop in CROPS:
        if crop.name == name:
            return crop
    raise KeyError(f"There is no crop {name!r}. There are: {', '.join(crop.name for crop in CROPS)}.")
