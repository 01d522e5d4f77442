"""One day of LINTUL5: the equations, written once for torch and for the compiled engine.

SIMPLACE's LINTUL5 (Wolf 2012; Shibu et al. 2010, doi:10.1016/j.eja.2010.01.003): phenology by thermal time, growth by
light use, partitioning by stage, leaf area, a rooted and a lower zone of water, nitrogen where it limits. Explicit
Euler of a day: rates from the morning's state, except that drought acts on the same day's growth.

Two modes. `hard` switches at the first morning after an event, as SIMPLACE does; the gradient of such a season is
wrong, not only rough, since the date of an event moves without autograd's knowing. `smooth` lets an event take effect
for the rest of its day: for a clock x that goes forward by dx, the share of the day after it has passed c is
(x + dx - c) / dx, which carries the gradient of the date. Nothing else is smoothed but the onset of oxygen shortage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import parameters as p_
from . import weather_step as w_
from .crops import Crop, interpolate
from .operations import Operations, held, ramp

Mode = Literal["smooth", "hard"]
Limits = Literal["potential", "water", "nitrogen"]

# fmt: off
STATE = (
    "heat_sum", "stage", "vernal_days",                      # degC d since sowing; 0 to 2; d
    "lai", "leaf", "stem", "grain", "root",                  # m2 m-2; g m-2
    "dead", "dead_root",                                     # g m-2, of leaves and stems; of roots
    "depth", "deepening",                                    # m; m d-1 of the day before
    "water", "water_below",                                  # mm in the rooted zone and below it
    "dry_days", "wet_days",                                  # since rain; without air, up to 4
    "n_leaf", "n_stem", "n_root", "n_grain", "n_lost",       # g m-2 of nitrogen; lost in dead tissue
    "n_organic", "n_mineral", "n_index",                     # g m-2 in the soil; nutrition of the day before, 0 to 1
)
(HEAT_SUM, STAGE, VERNAL_DAYS, LAI, LEAF, STEM, GRAIN, ROOT, DEAD, DEAD_ROOT, DEPTH, DEEPENING, WATER, WATER_BELOW,
 DRY_DAYS, WET_DAYS, N_LEAF, N_STEM, N_ROOT, N_GRAIN, N_LOST, N_ORGANIC, N_MINERAL, N_INDEX) = range(len(STATE))

OUTPUT = (
    "stage", "lai", "biomass", "grain", "leaf", "stem", "root", "dead", "depth", "soil_moisture",   # at the day's end
    "growth", "transpiration", "evaporation", "runoff", "drainage",                                 # of the day
    "drought", "nutrition",                                                                         # factors, 1: none
)
# fmt: on
WET_DAY = 5.0  # mm from which the soil's surface is wet
FULL = 1e-5  # how near to maturity is mature
YOUNG_LAI, YOUNG_STAGE, LATE_STAGE, VERNAL_STAGE = 0.75, 0.2, 1.5, 0.3
FLOOR = 1e-4  # mm, of potential transpiration


@dataclass(frozen=True, slots=True)
class Variant:
    """Which equations. limits: what growth is limited by (SIMPLACE's IOPT 1, 2, 3). overshoot: roots go deeper than
    allowed by the last days' advance, as in SIMPLACE; for comparisons with it only."""

    mode: Mode = "smooth"
    limits: Limits = "water"
    overshoot: bool = False


Step = Callable[[Operations, Sequence[Any], Sequence[Any], Sequence[Any], Any, Any, Any], tuple[list[Any], list[Any]]]


def build_step(crop: Crop, variant: Variant) -> Step:
    """The function (operations, state, parameters, weather columns, day, day of sowing, factor on light use) -> (state
    in the evening, outputs), sequences in the order of STATE, parameters.NAMES, COLUMN and OUTPUT."""
    smooth, limits = variant.mode == "smooth", variant.limits
    roots0 = interpolate(crop.to_root, 0.0)
    leaves0, stems0 = interpolate(crop.to_leaf, 0.0), interpolate(crop.to_stem, 0.0)
    area0, n0 = interpolate(crop.leaf_area, 0.0), interpolate(crop.n_leaf, 0.0)

    def passed(o: Operations, x: Any, dx: Any, c: Any, near: float = 0.0) -> Any:
        """Share of the day after the clock x, which goes on by dx, has reached c; hard: 0 or 1, by the morning."""
        if not smooth:
            return o.where(o.less(x, c), x * 0.0, 1.0)
        moves = o.less(1e-6, dx)
        inside = held(o, (x + dx - c) / o.where(moves, dx, 1.0), 0.0, 1.0)
        return o.where(moves, inside, o.where(o.less(x, c - near), x * 0.0, 1.0))

    def step(
        o: Operations, s: Sequence[Any], p: Sequence[Any], w: Sequence[Any], day: Any, sow: Any, light_factor: Any
    ) -> tuple[list[Any], list[Any]]:
        stage, lai, leaf, stem, root = s[STAGE], s[LAI], s[LEAF], s[STEM], s[ROOT]
        zero = stage * 0.0
        sown = o.where(o.less(day, sow), zero, 1.0)
        just = o.where(o.less(sow, day), zero, sown)

        # -- phenology
        warmth = w[w_.EMERGE] * sown
        emerged = passed(o, s[HEAT_SUM], warmth, p[p_.TSUMEM])
        early = w[w_.DEVELOP_EARLY]
        vernal = zero
        if len(crop.vernal) > 1:
            cold = (s[VERNAL_DAYS] - crop.vernal_base) * (1.0 / (crop.vernal_full - crop.vernal_base))
            before = o.less(stage, VERNAL_STAGE)
            early = early * o.where(before, held(o, cold, crop.vernal_least, 1.0), 1.0)
            vernal = o.where(before, w[w_.VERNAL] * sown, 0.0)
        if smooth:
            early, late = early * emerged, w[w_.DEVELOP] * emerged
        else:
            late = w[w_.DEVELOP]
        overlap = o.most(early - (1.0 - stage) * p[p_.TSUM1], 0.0)
        advance = o.where(
            o.less(stage, 1.0), (early - overlap) / p[p_.TSUM1] + overlap / p[p_.TSUM2], late / p[p_.TSUM2]
        )
        if not smooth:
            advance = advance * emerged
        flowered = passed(o, stage, advance, 1.0)
        young_no_more = passed(o, stage, advance, YOUNG_STAGE)
        aged = passed(o, stage, advance, LATE_STAGE)
        alive = 1.0 - passed(o, stage, advance, 2.0, FULL)
        advance = o.least(advance, 2.0 - stage)

        # -- light and the demand for water
        extinction = p[p_.EXTINCTION] * ramp(o, crop.extinction, stage)
        intercepted = (1.0 - o.exp(-(extinction * lai))) * emerged
        demand = o.most(p[p_.CFET] * w[w_.ETC] * intercepted, FLOOR) * w[w_.CO2_DEMAND]
        if not smooth:
            demand = o.where(o.less(zero, stage), demand, FLOOR)
        open_soil = w[w_.ES0] * (1.0 - intercepted)

        # -- water of the rooted zone
        depth, water, below = s[DEPTH], s[WATER], s[WATER_BELOW]
        deepest = o.least(p[p_.RDMCR], p[p_.RDMSO])
        content = water / (1000.0 * depth)
        if variant.overshoot:
            under = o.most(deepest - depth, 1e-4)
            joined = s[DEEPENING] * below / under
        else:  # the roots' last advance takes all that lies below, however little soil is left
            under = o.most(deepest - depth, 0.0)
            joined = below * o.least(s[DEEPENING] / o.most(under, 1e-9), 1.0)
        wilting, capacity, saturation = p[p_.WILTING], p[p_.CAPACITY], p[p_.SATURATION]
        available = o.most(water - 1000.0 * wilting * depth, 0.0)
        cm = 0.1 * w[w_.ETC]
        group = p[p_.DEPNR]
        easy = 1.0 / (0.76 + 1.5 * cm) - 0.1 * (5.0 - group)
        easy = easy + o.where(o.less(group, 3.0), (cm - 0.6) / (group * (group + 3.0)), 0.0)
        easy = held(o, easy, 0.10, 0.95)
        room = (1.0 - easy) * (capacity - wilting)
        dryness = held(o, (content - wilting) / room, 0.0, 1.0)
        airless = saturation - p[p_.AIR_NEEDED]
        if smooth:
            wet_days = o.least(s[WET_DAYS] + 1.0, 4.0) * held(o, (content - airless) * 50.0 + 0.5, 0.0, 1.0)
        else:
            wet_days = o.where(o.less(content, airless), 0.0, o.least(s[WET_DAYS] + 1.0, 4.0))
        air = held(o, (saturation - content) / p[p_.AIR_NEEDED], 0.0, 1.0)
        wetness = air + (1.0 - 0.25 * wet_days) * (1.0 - air)
        if limits == "potential":
            taken, drought = demand, zero + 1.0
        else:
            taken = o.least(dryness * wetness * demand, available)
            drought = taken / demand

        # -- evaporation, percolation
        entering = (1.0 - p[p_.RUNOFF_SHARE]) * w[w_.RAIN] + w[w_.IRRIGATION]
        is_dry = o.less(entering, WET_DAY)
        dry_days = o.where(is_dry, s[DRY_DAYS] + 1.0, 1.0)
        decay = o.sqrt(dry_days) - o.sqrt(o.most(dry_days - 1.0, 1e-12))
        drying = open_soil * held(o, decay * p[p_.DRYING], 0.0, 1.0) + entering
        surface = 100.0 * o.most(content - p[p_.AIR_DRY], 0.0)
        evaporated = o.where(is_dry, o.least(open_soil, o.least(drying, surface)), open_soil)
        evaporated = o.least(evaporated, o.most(water - 1000.0 * p[p_.AIR_DRY] * depth, 0.0))
        space, space_to_saturation = 1000.0 * depth * capacity - water, 1000.0 * depth * saturation - water
        space_below = 1000.0 * under * capacity - below
        space_below_to_saturation = 1000.0 * under * saturation - below
        offered = entering - evaporated - taken
        percolates = o.least(offered, p[p_.KSUB] + space_to_saturation)
        runoff = p[p_.RUNOFF_SHARE] * w[w_.RAIN] + o.most(offered - percolates, 0.0)
        passes = o.where(
            o.less(percolates, space), zero, o.least(percolates - space, p[p_.KSUB] + space_below_to_saturation)
        )
        drains = o.where(o.less(passes, space_below), zero, o.least(passes - space_below, p[p_.KSUB]))
        wet_enough = held(o, 50.0 * drought, 0.0, 1.0) if smooth else o.where(o.less(drought, 0.01), zero, 1.0)
        if variant.overshoot:
            headroom = o.most(o.most(deepest, depth + 1e-4) - depth, 0.0)
        else:
            headroom = o.most(deepest - depth - s[DEEPENING], 0.0)
        deepening = o.least(p[p_.RRI] * wet_enough, headroom) * emerged

        # -- growth and its shares
        index = s[N_INDEX] if limits == "nitrogen" else zero + 1.0
        stress = drought
        lack: Any = zero
        if limits == "nitrogen":
            lack = 1.0 - index
            short = 1.0001 - index
            stress = o.least(drought, held(o, 1.0 - crop.n_light * short * short, 0.0, 1.0))
        growth = p[p_.RUE] * ramp(o, crop.rue, stage) * light_factor * w[w_.LIGHT] * intercepted * stress * alive
        share = ramp(o, crop.to_root, stage)
        most = o.most(share, 0.6) if smooth else 0.6
        dry_share = o.least(share * o.most(1.0 / (drought + 0.5), 1.0), most)
        drier = o.less(drought, index)
        share = o.where(drier, dry_share, share)
        leaf_share, stem_share = ramp(o, crop.to_leaf, stage), ramp(o, crop.to_stem, stage)
        grain_share = 1.0 - leaf_share - stem_share
        if limits == "nitrogen":
            starved = leaf_share * o.exp(-(crop.n_share * lack))
            stem_share = o.where(drier, stem_share, stem_share + leaf_share - starved)
            leaf_share = o.where(drier, leaf_share, starved)
        shoot = growth * (1.0 - share)
        to_root, to_leaf, to_stem, to_grain = (
            growth * share,
            shoot * leaf_share,
            shoot * stem_share,
            shoot * grain_share,
        )

        # -- leaves
        area = p[p_.SLA] * ramp(o, crop.leaf_area, stage)
        young = lai * (o.exp(p[p_.RGRL] * w[w_.JUVENILE]) - 1.0) * drought
        if limits == "nitrogen":
            area = area * o.exp(-(crop.n_sla * lack))
            young = young * o.exp(-(crop.n_area * lack))
        if smooth:
            closed = passed(o, lai, young, YOUNG_LAI)
            mature = 1.0 - (1.0 - young_no_more) * (1.0 - closed)
            spreads = young * (1.0 - mature) + area * to_leaf * mature
        else:
            is_young = o.both(o.less(stage, YOUNG_STAGE), o.less(lai, YOUNG_LAI))
            spreads = o.where(is_young, young, area * to_leaf)
            spreads = o.where(o.less(zero, lai), spreads, crop.laii)
        by_age = w[w_.LEAF_DEATH] * p[p_.DEATH] * flowered
        by_shade = o.most((crop.shade_death / crop.lai_crowded) * (lai - crop.lai_crowded), 0.0)
        by_drought = p[p_.RDRL] * (1.0 - drought)
        hot = 1.0 + (w[w_.HEAT] - 1.0) * flowered
        death = o.least(o.most(o.most(by_age, by_shade), by_drought) * hot, 1.0)
        if limits == "nitrogen":
            starving = leaf * crop.n_death * lack
            leaf_loss = (leaf * death + starving) * emerged * alive
            lai_loss = (lai * death + starving * area) * emerged
        else:
            leaf_loss = leaf * death * emerged * alive
            lai_loss = lai * death * emerged
        stem_loss = stem * (crop.late_death * aged) * emerged * alive
        root_loss = root * (crop.late_death * aged) * emerged * alive

        # -- the seed, on the day of sowing
        seed = p[p_.TDWI] * just
        seed_leaf = seed * ((1.0 - roots0) * leaves0)
        seed_stem = seed * ((1.0 - roots0) * stems0)
        seed_root = seed * roots0
        seed_grain = seed - seed_leaf - seed_stem - seed_root

        after = list(s)
        after[HEAT_SUM] = s[HEAT_SUM] + warmth
        after[STAGE] = held(o, stage + advance, 0.0, 2.0)
        after[VERNAL_DAYS] = s[VERNAL_DAYS] + vernal
        after[LAI] = o.most(lai + (spreads * emerged - lai_loss) * alive + seed_leaf * (p[p_.SLA] * area0), 0.0)
        after[LEAF] = leaf + to_leaf - leaf_loss + seed_leaf
        after[STEM] = stem + to_stem - stem_loss + seed_stem
        after[GRAIN] = s[GRAIN] + to_grain + seed_grain
        after[ROOT] = root + to_root - root_loss + seed_root
        after[DEAD] = s[DEAD] + leaf_loss + stem_loss
        after[DEAD_ROOT] = s[DEAD_ROOT] + root_loss
        after[DEPTH] = depth + s[DEEPENING]
        after[DEEPENING] = deepening
        after[WATER] = water + percolates - passes + joined
        after[WATER_BELOW] = below + passes - drains - joined
        if variant.overshoot:  # the front passes the soil's end with more water than there is; SIMPLACE adds it
            after[WATER_BELOW] = o.most(after[WATER_BELOW], 0.0)
        after[DRY_DAYS], after[WET_DAYS] = dry_days, wet_days
        if limits == "nitrogen":
            losses = leaf_loss, stem_loss, root_loss
            seeds = n0 * seed_leaf, 0.5 * n0 * seed_stem, 0.5 * n0 * seed_root
            nitrogen(o, after, s, p, w, emerged, alive, drought, losses, seeds)
        outputs = [
            after[STAGE], after[LAI], after[LEAF] + after[STEM] + after[GRAIN], after[GRAIN], after[LEAF], after[STEM],
            after[ROOT], after[DEAD], after[DEPTH], after[WATER] / (1000.0 * after[DEPTH]), growth, taken, evaporated,
            runoff, drains, drought, index,
        ]  # fmt: skip
        return after, outputs

    def nitrogen(
        o: Operations, after: list[Any], s: Sequence[Any], p: Sequence[Any], w: Sequence[Any], emerged: Any,
        alive: Any, drought: Any, losses: tuple[Any, Any, Any], seeds: tuple[Any, Any, Any],
    ) -> None:  # fmt: skip
        """Demand, uptake, fixation, translocation to the grain, and the index that limits tomorrow's growth."""
        stage = s[STAGE]
        zero = stage * 0.0
        mass = s[LEAF], s[STEM], s[ROOT]
        held_n = s[N_LEAF], s[N_STEM], s[N_ROOT]
        top = ramp(o, crop.n_leaf, stage)
        most = top, 0.5 * top, 0.5 * top
        demands = [o.most(c * m - n, 0.0) for c, m, n in zip(most, mass, held_n, strict=True)]
        demand = demands[0] + demands[1] + demands[2]
        spare = [o.most(n - m * r, 0.0) for n, m, r in zip(held_n[:2], mass[:2], crop.n_residual[:2], strict=True)]
        spare.append(o.least((spare[0] + spare[1]) * crop.n_of_roots, held_n[2] - mass[2] * crop.n_residual[2]))
        total = spare[0] + spare[1] + spare[2]

        takes = o.where(o.less(stage, crop.uptake_ends), emerged, 0.0)
        takes = o.where(o.less(drought, 0.01), zero, takes)
        uptake = o.most(o.least((1.0 - crop.fixed) * demand, s[N_MINERAL]), 0.0) * takes
        entering = uptake + crop.fixed * demand * takes
        grain_demand = o.most(crop.n_grain * s[GRAIN] - s[N_GRAIN], 0.0)
        offered = o.where(o.less(stage, crop.n_translocation_starts), zero, total)
        moved = o.most(o.least(grain_demand, offered), 0.0) * (1.0 / crop.n_translocation) * emerged
        per_demand = entering / o.where(o.less(1e-10, demand), demand, 1.0)
        per_spare = moved / o.where(o.less(1e-10, total), total, 1.0)
        lost = [r * loss for r, loss in zip(crop.n_residual, losses, strict=True)]
        for place, d, a, gone, seed in zip((N_LEAF, N_STEM, N_ROOT), demands, spare, lost, seeds, strict=True):
            after[place] = o.most(s[place] + (per_demand * d - per_spare * a) * alive - gone + seed, 0.0)
        after[N_GRAIN] = s[N_GRAIN] + moved * alive
        after[N_LOST] = s[N_LOST] + lost[0] + lost[1] + lost[2]

        # the index: nitrogen of leaves and stems between what cannot be moved and what they could hold
        shoot = s[LEAF] + s[STEM]
        per = 1.0 / o.where(o.less(1e-10, shoot), shoot, 1.0)
        least = (s[LEAF] * crop.n_residual[0] + s[STEM] * crop.n_residual[1]) * per
        best = (s[LEAF] * most[0] + s[STEM] * most[1]) * per
        now = (s[N_LEAF] + s[N_STEM] + (demands[0] + demands[1]) * per_demand) * per
        between = best - least
        index = held(o, (now - least) / o.where(o.less(1e-10, between), between, 1.0), 1e-3, 1.0)
        after[N_INDEX] = o.where(o.less(zero, emerged), index, 0.0)

        supply = o.most(o.least(p[p_.MINERALISATION] * p[p_.N_ORGANIC], s[N_ORGANIC]), 0.0) * takes
        after[N_ORGANIC] = s[N_ORGANIC] - supply
        after[N_MINERAL] = o.most(s[N_MINERAL] + w[w_.NITROGEN] + supply - uptake, 0.0)

    return step
