"""Parameters of the agro-ecosystem model: 36 that may be learned, each with bounds, and constants per crop.

Bounds and defaults of the 36 come from SINDBAD (WROASTED) and from crop literature; see `step.py` for their equations.
A parameter vector holds all of them in the order of `NAMES`, so that `p[EPS]` reads one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fieldflux.models.contract import Floats

CROP_NAMES = ("maize", "soybean", "winter_wheat", "alfalfa")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One bounded parameter. default: per crop of CROP_NAMES. log: bounds are spanned in logarithms."""

    name: str
    unit: str
    default: tuple[float, float, float, float]
    low: float
    high: float
    log: bool = False
    shared: bool = False
    """A property of soil, snow or air: one value for all crops."""


def _all(value: float) -> tuple[float, float, float, float]:
    return (value, value, value, value)


# fmt: off
LEARNED: tuple[Parameter, ...] = (
    Parameter("eps", "gC MJ-1", (4.3, 3.8, 4.6, 3.6), 0.5, 6.0),               # light-use efficiency, absorbed PAR
    Parameter("t_opt", "degC", (28.0, 26.0, 18.0, 22.0), 10.0, 35.0),          # best day temperature
    Parameter("a_t", "1", _all(0.15), 0.02, 0.3),                              # slope below it
    Parameter("b_t", "1", _all(0.20), 0.02, 0.5),                              # slope above it
    Parameter("kappa_v", "kPa-1", (0.13, 0.2, 0.2, 0.15), 0.05, 0.9),           # VPD limit of light use
    Parameter("gamma_l", "m2 d MJ-1", (0.015, 0.03, 0.025, 0.03), 0.0, 0.2),     # saturation with light
    Parameter("mu_c", "1", _all(0.3), 0.0, 0.9),                               # gain of light use under cloud
    Parameter("q_w", "1", _all(1.0), 0.01, 4.0),                               # strength of the soil-moisture limit
    Parameter("theta_star", "1", _all(0.5), 0.1, 1.0),                         # relative water below which it starts
    Parameter("k_ext", "1", (0.55, 0.6, 0.5, 0.55), 0.3, 0.9),                 # extinction of light in the canopy
    Parameter("w0_wue", "gC mm-1", (6.5, 4.0, 4.5, 3.5), 2.0, 20.0), # water-use efficiency at a VPD of 0.9 kPa
    Parameter("kappa_w", "1", _all(0.5), 0.3, 0.9),                            # power of its decline with VPD
    Parameter("alpha_t", "1", (1.2, 1.2, 1.2, 1.4), 0.3, 2.0),                            # transpiration, share of PET
    Parameter("alpha_s", "1", _all(0.8), 0.1, 2.0, shared=True),               # soil evaporation, share of PET
    Parameter("k_e", "d-1", _all(0.15), 0.02, 0.95, shared=True),              # supply of soil evaporation
    Parameter("i_c", "mm", _all(0.15), 0.0, 0.6, shared=True),                 # water held on leaves per LAI
    Parameter("k_g", "1", _all(0.1), 0.0, 0.4, shared=True),                   # ground heat, share of net radiation
    Parameter("k_gt", "MJ m-2 d-1 K-1", _all(0.8), 0.0, 3.0, shared=True),     # ground heat flux by warming
    Parameter("c_eb", "1", _all(0.85), 0.55, 1.0, shared=True),                 # closure of the energy balance
    Parameter("beta", "1", _all(2.0), 0.5, 5.0, shared=True),                  # saturation-excess runoff
    Parameter("d_drain", "1", _all(1.5), 0.1, 3.0, shared=True),               # exponent of drainage
    Parameter("k_b", "d-1", _all(0.005), 1e-5, 0.02, log=True, shared=True),   # base flow
    Parameter("m_theta", "1", _all(1.0), 0.6, 1.6, shared=True),               # factor on the soil's water capacities
    Parameter("z_root", "mm", (1200.0, 1100.0, 1200.0, 1800.0), 200.0, 2000.0),  # deepest rooting
    Parameter("m_t", "mm K-1 d-1", _all(3.0), 0.01, 10.0, shared=True),        # snow melt by temperature
    Parameter("t_s", "degC", _all(0.5), -2.0, 3.0, shared=True),               # rain turns to snow
    Parameter("i_max", "mm d-1", (6.0, 6.0, 5.0, 8.0), 0.0, 12.0),             # irrigation, where irrigated
    Parameter("rew_irr", "1", _all(0.6), 0.1, 0.9),                            # relative water at which it starts
    Parameter("rmn", "d-1", (0.010, 0.013, 0.010, 0.009), 9e-4, 0.09, log=True),  # maintenance of leaves at 20 degC
    Parameter("y_g", "1", (0.75, 0.70, 0.72, 0.72), 0.55, 0.9),                # growth yield
    Parameter("q10_h", "1", _all(1.8), 1.05, 3.0, shared=True),                # decomposition, per 10 K
    Parameter("w_opt", "1", _all(0.6), 0.2, 0.95, shared=True),                # best saturation for decomposition
    Parameter("k_litf", "yr-1", _all(14.8), 0.5, 148.0, log=True, shared=True),  # metabolic litter, at 30 degC
    Parameter("eta_h", "1", _all(1.0), 0.125, 8.0, log=True, shared=True),     # start of slow soil carbon, by balance
    Parameter("g_sen", "K d", (1300.0, 1150.0, 1250.0, 900.0), 300.0, 2000.0),  # heat sum to senescence
    Parameter("sla", "m2 gC-1", (0.032, 0.042, 0.040, 0.038), 0.01, 0.06),     # leaf area of leaf carbon
)

CONSTANTS: tuple[tuple[str, str, tuple[float, float, float, float]], ...] = (
    ("t_base", "degC", (8.0, 10.0, 0.0, 4.0)),          # heat sums count from here
    ("t_cap", "degC", (32.0, 32.0, 28.0, 32.0)),       # and no further than here
    ("g_em", "K d", (70.0, 80.0, 120.0, 0.0)),         # sowing to emergence
    ("s_grain", "1", (0.62, 0.62, 0.80, 9.0)),         # start of grain, as a share of g_sen
    ("k_sen", "d-1", (0.06, 0.10, 0.07, 0.01)),        # leaves lost per day after g_sen
    ("a_leaf", "1", (0.60, 0.48, 0.55, 0.45)),         # first share of leaves in growth
    ("a_root", "1", (0.25, 0.28, 0.28, 0.15)),         # first share of roots
    ("a_grain", "1", (0.85, 0.68, 0.90, 0.0)),         # share of grain once it fills
    ("s_leaf", "1", (0.55, 0.78, 0.72, 9.0)),          # end of leaf growth, as a share of g_sen
    ("lai_max", "m2 m-2", (6.0, 6.0, 6.0, 5.5)),       # leaves stop growing near it
    ("seed", "gC m-2", (3.0, 3.0, 7.0, 5.0)),          # carbon of the seed
    ("point", "gC m-2", (1.0, 1.0, 2.0, 3.0)),          # leaves that growing points hold through frost and drought
    ("photo", "1", (0.0, 0.0, 1.0, 0.0)),              # how far short days hold development back before the grain fills
    ("perennial", "1", (0.0, 0.0, 0.0, 1.0)),
    ("g_cut", "K d", (9e9, 9e9, 9e9, 520.0)),          # heat sum between cuts of a perennial
    ("f_cut", "1", (0.0, 0.0, 0.0, 0.75)),             # share of stem and leaf taken by a cut
    ("t_frost", "degC", (-1.5, -1.5, -24.0, -12.0)),    # leaves die below it
    ("zeta", "1", (0.05, 0.30, 0.30, 0.30)),           # response of light use to CO2, power
    ("r_root", "1", (0.5, 0.6, 0.5, 0.4)),             # maintenance of roots, by that of leaves
    ("r_stem", "1", (0.25, 0.35, 0.3, 0.35)),
    ("r_grain", "1", (0.18, 0.45, 0.2, 0.0)),
    ("k_root", "d-1", (0.004, 0.004, 0.004, 0.004)),   # turnover of roots
    ("k_leaf", "d-1", (0.003, 0.003, 0.002, 0.005)),   # turnover of leaves
    ("k_shed", "d-1", (0.01, 0.01, 0.01, 0.01)),       # leaves shed under drought
    ("f_export", "1", (0.97, 0.97, 0.97, 0.97)),       # grain that the combine takes
    ("k_lits", "yr-1", _all(3.9)),                     # structural litter, at 30 degC (SINDBAD: slow litter)
    ("k_act", "yr-1", _all(7.3)),                      # active soil carbon (CENTURY)
    ("k_slow", "yr-1", _all(0.2)),                     # slow soil carbon (SINDBAD)
    ("k_old", "yr-1", _all(0.0045)),                   # old soil carbon (SINDBAD)
    ("f_met", "1", (0.35, 0.55, 0.35, 0.55)),          # metabolic share of dead plants
    ("e_l", "1", _all(0.45)),                          # carbon kept when litter decays
    ("e_s", "1", _all(0.30)),                          # carbon kept when active or slow soil carbon decays
    ("k_t", "d-1", _all(0.30)),                        # water that roots can take per day
    ("q10_r", "1", _all(2.0)),                         # maintenance respiration, per 10 K
)
# fmt: on

NAMES: tuple[str, ...] = (*(q.name for q in LEARNED), *(name for name, _, _ in CONSTANTS))
COUNT = len(NAMES)
(
    EPS, T_OPT, A_T, B_T, KAPPA_V, GAMMA_L, MU_C, Q_W, THETA_STAR, K_EXT, W0_WUE, KAPPA_W, ALPHA_T, ALPHA_S, K_E,
    I_C, K_G, K_GT, C_EB, BETA, D_DRAIN, K_B, M_THETA, Z_ROOT, M_T, T_S, I_MAX, REW_IRR, RMN, Y_G, Q10_H, W_OPT,
    K_LITF, ETA_H, G_SEN, SLA, T_BASE, T_CAP, G_EM, S_GRAIN, K_SEN, A_LEAF, A_ROOT, A_GRAIN, S_LEAF, LAI_MAX, SEED,
    POINT, PHOTO, PERENNIAL, G_CUT, F_CUT, T_FROST, ZETA, R_ROOT, R_STEM, R_GRAIN, K_ROOT, K_LEAF, K_SHED, F_EXPORT,
    K_LITS, K_ACT, K_SLOW, K_OLD, F_MET, E_L, E_S, K_T, Q10_R,
) = range(COUNT)  # fmt: skip


def default_table() -> Floats:
    """[crop, parameter] float64, every parameter at its default."""
    columns = [*(q.default for q in LEARNED), *(value for _, _, value in CONSTANTS)]
    return np.array(columns, dtype=np.float64).T


def to_unit(table: Floats) -> Floats:
    """The learned part of a [..., parameter] table as positions in (0, 1) between the bounds."""
    low, high, log = bounds()
    value = table[..., : len(LEARNED)]
    linear = (value - low) / (high - low)
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithmic = np.log(value / low) / np.log(high / low)
    return np.where(log, logarithmic, linear)


def bounds() -> tuple[Floats, Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """low, high and whether logarithmic, each [learned parameter]."""
    return (
        np.array([q.low for q in LEARNED]),
        np.array([q.high for q in LEARNED]),
        np.array([q.log for q in LEARNED], dtype=bool),
    )
