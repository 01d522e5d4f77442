"""Intervals of forecast yields: wider the earlier they are issued, by rules that the card keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from fieldflux.models.card import Card, IntervalRule
from fieldflux.models.contract import Floats
from fieldflux.models.intervals import half_width

from .served import Kind

RULES = "forecast_intervals"


def rule_at(card: Card, days: int) -> tuple[int, IntervalRule] | None:
    """The rule for a forecast so many days before harvest: that of the least time not below it, else of the longest.

    Returns its days and the rule; None where the card has none, or where nothing is left to forecast.
    """
    kept: Mapping[str, Any] = card.recipe.get(RULES) or {}
    if not kept or days <= 0:
        return None
    leads = sorted(int(k) for k in kept)
    lead = next((k for k in leads if k >= days), leads[-1])
    return lead, IntervalRule.model_validate(kept[str(lead)])


def half_width_at(card: Card, kind: Kind, members: Floats, days: int, level: float) -> float:
    """Half the width, t ha-1, of the interval of a yield whose members and weathers [...] are given in t ha-1."""
    scale = kind.market.carbon_m2(1.0)
    values = np.asarray(members, np.float64).reshape(-1) * scale
    found = rule_at(card, days)
    rule = found[1] if found is not None else card.intervals["yield"]["year"]
    spread = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return float(half_width(rule, np.array(values.mean()), np.array(spread), level)) / scale
