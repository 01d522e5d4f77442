"""What a served BINN asks of a cube and what it gives, in words of the vocabulary: its card says the same."""

from __future__ import annotations

from fieldflux.models.contract import Needs
from fieldflux.models.variables import VARIABLES

NEEDS = Needs(
    daily=("tmean", "tmin", "tmax", "precip"),
    annual=("crop",),
    static=("latitude", "sand", "clay", "bulk_density"),
    optional=("ph", "cec", "elevation", "irrigated", "yield_expected", "tillage", "residue_removed"),
)
LAYERS: tuple[tuple[str, float, float], ...] = tuple(
    (v.name, *v.layer) for v in VARIABLES.values() if v.layer is not None
)
"""Layers of the profile, as soil maps have them (GlobalSoilMap): variable, top and bottom in metres."""
STOCKS: tuple[tuple[str, float, float], ...] = (("soc_30", 0.0, 0.30), ("soc_100", 0.0, 1.00))
PROCESSES: tuple[tuple[str, str], ...] = (
    ("soil_input_depth", "input_allocation"),
    ("soil_decomposition", "decomposition"),
    ("soil_transfer", "transfer_efficiency"),
    ("soil_environment", "environment"),
    ("soil_transport", "transport"),
    ("soil_litter_share", "litter_to_soil"),
    ("soil_residence", "residence_time"),
)
"""Variable of the vocabulary, and its name among `SixProcesses`."""
OUTPUTS: tuple[str, ...] = (*(n for n, _, _ in (*STOCKS, *LAYERS)), *(n for n, _ in PROCESSES))
ANSWERS: tuple[str, ...] = ("tillage", "residue_removed", "added_carbon")
"""Changes of management under which it gives the change of soil carbon, see `contract.Scenario`."""
