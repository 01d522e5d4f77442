"""One day of the agro-ecosystem model: the equations, written once for torch and for numba.

Sources: SINDBAD WROASTED's processes for the carbon and water cycle (light-use efficiency, Saxton-Rawls water, Lu 2005
Priestley-Taylor, CASA temperature response, PRELES CO2 response, Thornley respiration), re-stated for crops: heat-sum
phenology, sowing, harvest and cuts, transpiration capped by energy, explicit efficiencies of decay, smooth switches.
Every flow leaves one store and enters another, so that water and carbon close by construction.

Stores are mm of water and gC m-2. Fluxes are per day. Sub-steps of a day come one after another, each from the stores
as the last one left them (sequential splitting), so that no store is drawn below zero.
"""

# ruff: noqa: I001  one line per name would hide the equations below sixty lines of imports
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .parameters import (
    A_GRAIN, A_LEAF, A_ROOT, A_T, ALPHA_S, ALPHA_T, B_T, BETA, C_EB, D_DRAIN, E_L, E_S, EPS, F_CUT, F_EXPORT, F_MET,
    G_CUT, G_EM, G_SEN, GAMMA_L, I_C, I_MAX, K_ACT, K_B, K_E, K_EXT, K_G, K_GT, K_LEAF, K_LITF, K_LITS, K_OLD,
    K_ROOT, K_SEN, K_SHED, K_SLOW, K_T, KAPPA_V, KAPPA_W, LAI_MAX, M_T, M_THETA, MU_C, PERENNIAL, PHOTO, POINT,
    Q10_H, Q10_R, Q_W, R_GRAIN, R_ROOT, R_STEM, REW_IRR, RMN, S_GRAIN, S_LEAF, SEED, SLA, T_BASE, T_CAP, T_FROST,
    T_OPT, T_S, THETA_STAR, W0_WUE, W_OPT, Y_G, Z_ROOT, ZETA,
)  # fmt: skip

# fmt: off
STATE = (
    "swe", "w1", "w2", "w3", "w4", "gw",                      # snow, soil water to 50, 250, 1000, 2000 mm, ground
    "leaf", "root", "stem", "grain", "reserve",               # living carbon
    "lit_f", "lit_s", "soil_a", "soil_s", "soil_o",           # litter: metabolic, structural; soil: active, slow, old
    "t_soil", "gdd",                                          # smoothed temperature, heat sum since sowing or cut
    "ytd_gpp", "ytd_ra", "ytd_rh", "ytd_harvest",             # sums since 1 January
    "out_a", "out_s",                                         # what left soil_a and soil_s since the sums were reset
)
(SWE, W1, W2, W3, W4, GW, LEAF, ROOT, STEM, GRAIN, RESERVE, LIT_F, LIT_S, SOIL_A, SOIL_S, SOIL_O, T_SOIL, GDD,
 YTD_GPP, YTD_RA, YTD_RH, YTD_HARVEST, OUT_A, OUT_S) = range(len(STATE))

WEATHER = ("t", "t_min", "t_day", "sw", "cloud", "rn", "vpd_day", "precip", "co2", "pet_mj", "lam", "day_length",
           "irrigation", "gpp")
(T, T_MIN, T_DAY, SW, CLOUD, RN, VPD, PRECIP, CO2, PET_MJ, LAM, DAY_LENGTH, IRRIGATION, GPP_IN) = range(len(WEATHER))

SOIL = ("th_s", "th_fc", "th_wp", "b", "k_cap")
(TH_S, TH_FC, TH_WP, B_EXP, K_CAP) = range(len(SOIL))

FIELD = ("active", "sow", "harvest", "irrigated", "removed", "tillage")
(ACTIVE, SOW, HARVEST, IRRIGATED, REMOVED, TILLAGE) = range(len(FIELD))

OUTPUT = ("gpp", "ra", "rh", "et", "transpiration", "le", "h", "soil_moisture", "snow", "runoff", "lai", "biomass",
          "soc", "harvested")
# fmt: on

Z1, Z2, Z3, Z4 = 50.0, 200.0, 750.0, 1000.0  # mm, thickness of the soil layers (SINDBAD)
SECONDS = 0.0864  # MJ m-2 d-1 in one W m-2

Step = Callable[[Sequence[Any], Sequence[Any], Sequence[Any], Sequence[Any], Sequence[Any]], tuple[Any, Any]]


def build_smooth_least(sqrt: Callable[[Any], Any], relu: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """A smooth minimum of two amounts >= 0: never negative, never above either (quadratic co-limitation, Collatz)."""

    def smooth_least(a: Any, b: Any) -> Any:
        d = a - b
        return relu(0.5 * (a + b - sqrt(d * d + 0.04 * a * b + 1e-12)))

    return smooth_least


def build_decayed(exp: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Share of a pool that decays in a day at rate x per day: 1 - exp(-x) to third order, always below 0.74.

    In float32 the difference itself would lose the slow pools' share.
    """

    def decayed(x: Any) -> Any:
        return x * exp(-0.5 * x)

    return decayed


def build_step(
    exp: Callable[[Any], Any],
    log: Callable[[Any], Any],
    relu: Callable[[Any], Any],
    least: Callable[[Any, Any], Any],
    cap: Callable[[Any, float], Any],
    gate: Callable[[Any], Any],
    given: Callable[[Any, Any], Any],
    smooth_least: Callable[[Any, Any], Any],
    decayed: Callable[[Any], Any],
) -> Step:
    """The day's step over the operations of one array library.

    relu: max(x, 0). least: the smaller of two. cap: the same with a number. gate: logistic
    sigmoid. given(a, b): a, or b where a is NaN.
    smooth_least, decayed: of the functions above.
    The step takes (state, weather, parameters, soil, field), each a sequence in the order of the names above, and
    returns the state at the end of the day and the outputs of the day.
    """

    def step(s: Any, w: Any, p: Any, soil: Any, f: Any) -> Any:
        t, t_day, vpd, rn = w[T], w[T_DAY], w[VPD], w[RN]

        # -- the field's calendar: what stands is ploughed in at sowing; the seed's carbon is drawn from
        #    the litter, and from old soil carbon where litter is short, so that no import has to be accounted
        active, sow, harvest = f[ACTIVE], f[SOW], f[HARVEST]
        leaf, root, stem, grain, reserve = s[LEAF], s[ROOT], s[STEM], s[GRAIN], s[RESERVE]
        keep = 1.0 - sow
        dead = sow * (leaf + root + stem + grain + reserve)
        lit_f = s[LIT_F] + dead * p[F_MET]
        lit_s = s[LIT_S] + dead * (1.0 - p[F_MET])
        seed = sow * p[SEED]
        from_litter = least(seed, 0.5 * lit_s)
        lit_s = lit_s - from_litter
        oldest = s[SOIL_O] - (seed - from_litter)
        leaf, root, stem, grain = leaf * keep, root * keep, stem * keep, grain * keep
        reserve = reserve * keep + seed
        gdd = s[GDD] * keep

        # -- snow
        snow_share = gate(p[T_S] - t)
        snowfall = snow_share * w[PRECIP]
        rain = w[PRECIP] - snowfall
        swe = s[SWE] + snowfall
        cover = 1.0 - exp(-swe / 15.0)
        melt = smooth_least(swe, gate(t * 2.0) * (p[M_T] * relu(t) + 0.5 * relu(rn)) * cover)
        swe = swe - melt

        # -- energy for evaporation
        lai = p[SLA] * leaf
        fapar = 1.0 - exp(-p[K_EXT] * lai)
        ground = p[K_G] * exp(-0.5 * lai) * rn + p[K_GT] * (t - s[T_SOIL])
        energy = p[C_EB] * (rn - ground)
        pet = w[PET_MJ] * relu(energy)
        sublimation = smooth_least(swe, pet * cover)
        swe = swe - sublimation
        pet = pet - least(sublimation, pet)

        # -- water in the root zone, and irrigation
        m = p[M_THETA]
        w1, w2, w3, w4 = s[W1], s[W2], s[W3], s[W4]
        th_s, th_fc, th_wp = soil[TH_S] * m, soil[TH_FC] * m, soil[TH_WP] * m
        grown = gate((gdd - 0.45 * p[G_SEN]) / (0.12 * p[G_SEN])) * (1.0 - p[PERENNIAL]) + p[PERENNIAL]
        depth = 200.0 + (p[Z_ROOT] - 200.0) * grown
        r2 = cap(relu(depth - 50.0) / Z2, 1.0)
        r3 = cap(relu(depth - 250.0) / Z3, 1.0)
        r4 = cap(relu(depth - 1000.0) / Z4, 1.0)
        room = (th_fc - th_wp) * (Z1 + r2 * Z2 + r3 * Z3 + r4 * Z4)
        paw = (
            relu(w1 - th_wp * Z1) + r2 * relu(w2 - th_wp * Z2) + r3 * relu(w3 - th_wp * Z3) + r4 * relu(w4 - th_wp * Z4)
        )
        rew = cap(paw / room, 1.0)
        automatic = f[IRRIGATED] * p[I_MAX] * gate((p[REW_IRR] - rew) / 0.05) * fapar
        irrigation = given(w[IRRIGATION], automatic)

        # -- interception, runoff, infiltration, drainage
        wet = rain + irrigation
        intercepted = smooth_least(wet, least(p[I_C] * lai, pet))
        pet = pet - intercepted
        water_in = wet - intercepted + melt
        ws1, ws2, ws3, ws4 = th_s * Z1, th_s * Z2, th_s * Z3, th_s * Z4
        full = (w1 + w2 + w3 + w4) / (ws1 + ws2 + ws3 + ws4)
        surface = water_in * cap(exp(p[BETA] * log(full + 1e-6)), 1.0)
        w1 = w1 + water_in - surface
        over = relu(w1 - ws1)
        w1, w2 = w1 - over, w2 + over
        over = relu(w2 - ws2)
        w2, w3 = w2 - over, w3 + over
        over = relu(w3 - ws3)
        w3, w4 = w3 - over, w4 + over
        over = relu(w4 - ws4)
        w4, gw = w4 - over, s[GW] + over
        # no layer drains below field capacity (as in SINDBAD): a saturated one would otherwise lose nearly all in a day
        power = p[D_DRAIN] * soil[B_EXP]
        down = least(w1 * exp(power * log(w1 / ws1 + 1e-6)), relu(ws2 - w2))
        down = least(down, relu(w1 - th_fc * Z1))
        w1, w2 = w1 - down, w2 + down
        down = least(w2 * exp(power * log(w2 / ws2 + 1e-6)), relu(ws3 - w3))
        down = least(down, relu(w2 - th_fc * Z2))
        w2, w3 = w2 - down, w3 + down
        down = least(w3 * exp(power * log(w3 / ws3 + 1e-6)), relu(ws4 - w4))
        down = least(down, relu(w3 - th_fc * Z3))
        w3, w4 = w3 - down, w4 + down
        down = least(w4 * exp(power * log(w4 / ws4 + 1e-6)), relu(w4 - th_fc * Z4))
        w4, gw = w4 - down, gw + down
        # capillary rise (van Dijk 2010), from the wetter store below
        rise = least(soil[K_CAP] * relu(1.0 - w3 / ws3), 0.1 * w4)
        w4, w3 = w4 - rise, w3 + rise
        rise = least(soil[K_CAP] * relu(1.0 - w2 / ws2), 0.1 * w3)
        w3, w2 = w3 - rise, w2 + rise
        rise = least(least(soil[K_CAP] * relu(1.0 - w4 / ws4), 0.5 * gw), relu(ws4 - w4))
        gw, w4 = gw - rise, w4 + rise
        base = p[K_B] * gw
        gw = gw - base

        # -- soil evaporation
        evaporation = smooth_least(p[ALPHA_S] * pet * (1.0 - fapar) * (1.0 - cover), p[K_E] * w1)
        w1 = w1 - evaporation

        # -- photosynthesis and transpiration: light, temperature, dryness, cloud, water, energy
        slope = p[A_T] + (p[B_T] - p[A_T]) * gate((t_day - p[T_OPT]) * 5.0)
        top = 1.0 + exp(-10.0 * slope)
        low_side = 1.0 + exp(slope * (p[T_OPT] - 10.0 - t_day))
        high_side = 1.0 + exp(slope * (t_day - p[T_OPT] - 10.0))
        f_t = top * top / (low_side * high_side)
        air = exp(p[ZETA] * log(w[CO2]))
        f_v = exp(-p[KAPPA_V] * vpd) * air
        apar = 0.5 * w[SW] * fapar
        f_l = 1.0 / (1.0 + p[GAMMA_L] * apar)
        f_c = 1.0 - p[MU_C] * (1.0 - w[CLOUD])
        dry = relu(p[THETA_STAR] - rew)
        f_w = relu(1.0 - p[Q_W] * dry * dry)
        old = gate((1.45 * p[G_SEN] - gdd) / (0.05 * p[G_SEN])) * (1.0 - p[PERENNIAL]) + p[PERENNIAL]
        demand = p[EPS] * apar * f_t * f_v * f_l * f_c * f_w * old
        # underlying water-use efficiency (Zhou et al. 2014): carbon gained times a root of VPD, near the square root
        wue = p[W0_WUE] * exp(-p[KAPPA_W] * log(vpd + 0.1)) * air
        p1, p2 = relu(w1 - th_wp * Z1), r2 * relu(w2 - th_wp * Z2)
        p3, p4 = r3 * relu(w3 - th_wp * Z3), r4 * relu(w4 - th_wp * Z4)
        paw = p1 + p2 + p3 + p4
        supply = p[K_T] * paw
        capacity = smooth_least(p[ALPHA_T] * pet * fapar, supply)
        own = smooth_least(demand, wue * capacity)
        gpp = given(w[GPP_IN], own)
        # a given GPP may ask for more water than there is: then it is grown with what there is
        transpiration = least(gpp / wue, supply)
        share = transpiration / (paw + 1e-6)
        w1, w2, w3, w4 = w1 - share * p1, w2 - share * p2, w3 - share * p3, w4 - share * p4
        transpiration = share * paw
        et = intercepted + evaporation + transpiration + sublimation

        # -- growth and maintenance
        heat = exp(log(p[Q10_R]) * (t - 20.0) * 0.1) * p[RMN]
        m_leaf = cap(heat, 0.1) * leaf
        m_root = cap(heat * p[R_ROOT], 0.1) * root
        m_stem = cap(heat * p[R_STEM], 0.1) * stem
        m_grain = cap(heat * p[R_GRAIN], 0.1) * grain
        age = gdd / p[G_SEN]
        # Growing points live through frost and drought until the crop ripens (those of young maize are below ground,
        # soybean branches anew, where a stand is lost it is sown again): losses spare the leaves that they hold.
        point = p[POINT] * active * (gate((1.0 - age) / 0.05) * (1.0 - p[PERENNIAL]) + p[PERENNIAL])
        bare = relu(leaf - point) / (leaf + 1e-9)
        m_leaf = m_leaf * bare
        upkeep = m_leaf + m_root + m_stem + m_grain
        growth = relu(gpp - upkeep)
        unpaid = relu(upkeep - gpp) / (upkeep + 1e-9)
        ra = upkeep + (1.0 - p[Y_G]) * growth
        new = p[Y_G] * growth
        to_grain = p[A_GRAIN] * gate((age - p[S_GRAIN]) / 0.05)
        thin = gate((p[LAI_MAX] - lai) / 0.4)
        to_leaf = (1.0 - to_grain) * p[A_LEAF] * gate((p[S_LEAF] - age) / 0.06) * thin
        to_root = (1.0 - to_grain) * p[A_ROOT] * (1.0 - 0.6 * cap(age, 1.0) * (1.0 - p[PERENNIAL]))
        to_reserve = p[PERENNIAL] * 0.5 * (1.0 - to_grain - to_leaf - to_root)
        to_stem = 1.0 - to_grain - to_leaf - to_root - to_reserve
        # the seed, or a perennial's crown, puts out leaves and roots
        sprout_annual = 0.15 * gate((gdd - p[G_EM]) / 8.0) * (1.0 - p[PERENNIAL])
        sprout_perennial = 0.04 * gate((t - 6.0) / 1.5) * exp(-1.5 * lai) * f_w * p[PERENNIAL]
        sprout = reserve * (sprout_annual + sprout_perennial) * active
        leaf = leaf + to_leaf * new - unpaid * m_leaf + 0.7 * sprout
        root = root + to_root * new - unpaid * m_root + 0.3 * sprout
        stem = stem + to_stem * new - unpaid * m_stem
        grain = grain + to_grain * new - unpaid * m_grain
        reserve = reserve + to_reserve * new - sprout

        # -- death: age, drought, frost, and what is left standing without a crop
        idle = 0.05 * (1.0 - active)
        # snow keeps the frost off
        frost = 0.3 * gate((p[T_FROST] - w[T_MIN]) / 0.7) * (1.0 - cover)
        aged = p[K_SEN] * gate((age - 1.0) / 0.05)
        die_leaf = cap(p[K_LEAF] + aged + p[K_SHED] * (1.0 - f_w) + frost + idle, 0.9) * bare * leaf
        die_root = (p[K_ROOT] + idle) * root
        die_stem = (0.15 * p[K_LEAF] + idle) * stem
        leaf, root, stem = leaf - die_leaf, root - die_root, stem - die_stem
        fallen = die_leaf + die_root + die_stem

        # -- harvest of an annual crop; cut of a perennial
        # a long-day crop waits for spring (WOFOST's winter wheat: stands still at 8 h, runs freely at 15 h)
        early = gate((gdd - p[G_EM]) / 8.0) * gate((p[S_GRAIN] - age) / 0.02)
        waits = p[PHOTO] * early * (1.0 - cap(relu((w[DAY_LENGTH] - 8.0) / 7.0), 1.0))
        warm = relu(least(t, p[T_CAP]) - p[T_BASE]) * (1.0 - waits)
        gdd = gdd + warm * active
        # hard: the heat sum has no gradient to lose, and half a cut would make the next ones a matter of rounding
        cut = p[PERENNIAL] * gate((gdd - p[G_CUT]) * 1e4) * active
        taken = cut * p[F_CUT]
        straw = harvest * f[REMOVED] + taken
        harvested = harvest * p[F_EXPORT] * grain + straw * (leaf + stem)
        left = harvest * ((1.0 - p[F_EXPORT]) * grain + (1.0 - f[REMOVED]) * (leaf + stem) + root + reserve)
        stand = 1.0 - harvest
        leaf, stem = leaf * (stand - taken), stem * (stand - taken)
        grain, root, reserve = grain * stand, root * stand, reserve * stand
        gdd = gdd * stand * (1.0 - cut)
        fallen = fallen + left

        # -- decay: litter to active and slow soil carbon, active to slow, both a little to old; the rest is respired
        t_soil = s[T_SOIL] + 0.1 * (t - s[T_SOIL]) * (1.0 - 0.6 * cover)
        wetness = (w1 + w2) / (ws1 + ws2) - p[W_OPT]
        f_h = (
            exp(log(p[Q10_H]) * (t_soil - 30.0) * 0.1)
            * gate((t_soil + 3.0) / 1.5)
            * exp(-8.0 * wetness * wetness)
            / 365.0
        )
        lit_f = lit_f + fallen * p[F_MET]
        lit_s = lit_s + fallen * (1.0 - p[F_MET])
        f_soil = f_h * (1.0 + 0.25 * f[TILLAGE])
        out_f = lit_f * decayed(p[K_LITF] * f_h)
        out_l = lit_s * decayed(p[K_LITS] * f_soil)
        out_a = s[SOIL_A] * decayed(p[K_ACT] * f_soil)
        out_s = s[SOIL_S] * decayed(p[K_SLOW] * f_soil)
        out_o = oldest * decayed(p[K_OLD] * f_soil)
        kept_l, kept_s = p[E_L], p[E_S]
        rh = (1.0 - kept_l) * (out_f + out_l) + (1.0 - kept_s) * out_a + (1.0 - 0.1 * kept_s) * out_s + out_o
        lit_f = lit_f - out_f
        lit_s = lit_s - out_l
        soil_a = s[SOIL_A] - out_a + kept_l * (out_f + 0.6 * out_l)
        soil_s = s[SOIL_S] - out_s + kept_l * 0.4 * out_l + 0.98 * kept_s * out_a
        soil_o = oldest - out_o + 0.02 * kept_s * out_a + 0.1 * kept_s * out_s

        le = w[LAM] * et / SECONDS
        state = (
            swe, w1, w2, w3, w4, gw,
            leaf, root, stem, grain, reserve,
            lit_f, lit_s, soil_a, soil_s, soil_o,
            t_soil, gdd,
            s[YTD_GPP] + gpp, s[YTD_RA] + ra, s[YTD_RH] + rh, s[YTD_HARVEST] + harvested,
            s[OUT_A] + out_a, s[OUT_S] + out_s,
        )  # fmt: skip
        out = (
            gpp, ra, rh, et, transpiration, le, energy / SECONDS - le,
            (w1 + w2 + w3) / (Z1 + Z2 + Z3), swe, surface + base, lai, leaf + stem + grain,
            lit_f + lit_s + soil_a + soil_s + soil_o, harvested,
        )  # fmt: skip
        return state, out

    return step
