"""Which LINTUL5 crop stands for a field: European as it comes, or with the day length that its variety answers to.

American soybeans are bred for a latitude: the maturity group, 000 (Canada) to X (tropics), says which day length holds
back flowering. Development before flowering is slowed by `sensitivity` for each hour above the critical day length:
the generic coefficients of CROPGRO-Soybean by maturity group (Grimm et al. 1993, Crop Science 33:137; Boote et
al. 2003; as in DSSAT v4.8's SBGRO.CUL). All else stays LINTUL5's, also the thermal time to flowering, 350 degC d:
500, the middle of WOFOST's varieties, was tried first and let soybeans of all sites flower four weeks too late.
"""

from __future__ import annotations

import re
from dataclasses import replace

from fieldflux.models.processes.lintul5.crops import SOYBEAN, Crop, crop_named

# Of varieties whose files do not say it: release notices in Crop Science and the USDA soybean germplasm collection.
GROUPS = {
    "EVANS": 0.0, "ELGIN-87": 2.0, "WAYNE": 3.0, "WILLIAMS": 3.0, "WILLIAMS-82": 3.0, "WILLIAMS 82": 3.0,
    "LEFLORE 6": 6.0, "BRAGG": 7.0, "COBB": 8.0,
}  # fmt: skip
# maturity group -> critical day length, h, and slowing per hour above it
ANSWERS = ((0.0, 14.10, 0.171), (1.0, 13.84, 0.203), (2.0, 13.59, 0.249), (3.0, 13.40, 0.285), (4.0, 13.09, 0.294),
           (5.0, 12.83, 0.303), (6.0, 12.58, 0.311), (7.0, 12.33, 0.320), (8.0, 12.07, 0.330))  # fmt: skip
LEAST = 0.1  # of development, however long the day


def maturity_group(cultivar: str, title: str) -> float | None:
    """The soybean's maturity group: as the treatment's title says it (`MG3.6`), as a number after the variety's name in
    brackets, or the published one; None where it is not known.

    >>> maturity_group("STINE 3660", "97 STINE(MG3.6)"), maturity_group("COKER 6847 (7)", ""), maturity_group("X", "")
    (3.6, 7.0, None)
    """
    if found := re.search(r"MG\s*(\d+(?:\.\d+)?)", title):
        return float(found[1])
    if found := re.search(r"\((\d(?:\.\d)?)\)", cultivar):
        return float(found[1])
    return GROUPS.get(cultivar.strip().upper())


def american_soybean(group: float) -> Crop:
    """LINTUL5's soybean with the answer to day length of a maturity group, 0 to 8. Raises ValueError outside."""
    if not ANSWERS[0][0] <= group <= ANSWERS[-1][0]:
        raise ValueError(f"The maturity group {group:g} must be between 0 and 8, whose answer to day length is known.")
    below = max(k for k, (g, _, _) in enumerate(ANSWERS) if g <= group)
    (g0, hours0, slow0), (g1, hours1, slow1) = ANSWERS[below], ANSWERS[min(below + 1, len(ANSWERS) - 1)]
    part = 0.0 if g1 == g0 else (group - g0) / (g1 - g0)
    critical, slowing = hours0 + part * (hours1 - hours0), slow0 + part * (slow1 - slow0)
    longest = critical + (1.0 - LEAST) / slowing
    return replace(
        SOYBEAN, name=f"soybean_{group:g}", photoperiod=((critical, 1.0), (longest, LEAST)),
    )  # fmt: skip


def european(crop: str) -> Crop:
    """The crop of a field as LINTUL5 has it: maize, soybean, or winter wheat that is sown in autumn."""
    return crop_named("winter_wheat_autumn" if crop == "winter_wheat" else crop)
