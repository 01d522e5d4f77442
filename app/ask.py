"""What may be asked of a field: the body of POST /v1/series, and of `fieldflux series`."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .problems import Refused
from .settings import Limits

_FIELD: Any = {
    "type": "Polygon",
    "coordinates": [
        [[-93.66, 42.03], [-93.65, 42.03], [-93.65, 42.036], [-93.66, 42.036], [-93.66, 42.03]],
    ],
}


class Ask(BaseModel):
    """A field, a period, variables and a step."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"geometry": _FIELD, "years": [2022], "variables": ["gpp", "reco", "nee"], "step": "day"},
                {
                    "geometry": _FIELD,
                    "first": "2019-01-01",
                    "last": "2022-12-31",
                    "variables": ["nee", "yield", "delta_soc"],
                    "step": "year",
                },
            ]
        },
    )

    geometry: dict[str, Any] = Field(
        description="GeoJSON Polygon or MultiPolygon, a Feature of one, or a collection of one feature; WGS 84 "
        "[longitude, latitude]."
    )
    first: date | None = Field(default=None, description="First day.")
    last: date | None = Field(default=None, description="Last day, included.")
    years: tuple[int, ...] | None = Field(
        default=None, description="Consecutive calendar years, instead of first and last; all of the cube's without."
    )
    variables: tuple[str, ...] = Field(default=("gpp", "reco", "nee"), min_length=1, max_length=40)
    step: Literal["day", "month", "year"] = Field(
        default="day", description="Months and years are sums of fluxes and means of states, whole or in part."
    )
    intervals: bool = Field(
        default=True, description="Intervals, where the model is an ensemble; a county is quicker without."
    )
    level: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="Level of the intervals: 0.5, 0.8, 0.9 or 0.95, where the model's card has no others. "
        "`interval_basis` in the answer tells what their width rests on: `conformal` intervals are calibrated on "
        "`groups` held-out sites, so that a new field's value lies inside with this probability; `factor` and `spread` "
        "are the ensemble's spread, with and without a factor from held-out days.",
        examples=[0.9],
    )
    cube: str = Field(default="", description="Cube, by its id; the default one if empty.")
    model: str = Field(default="", description="Model, as name or name/version; the default one if empty.")

    def period(self, years: tuple[int, ...], cube: str, limits: Limits) -> tuple[date, date]:
        """First and last day, within the years of the cube.

        Raises Refused: invalid-dates, over-limit.
        """
        begin, end = date(years[0], 1, 1), date(years[-1], 12, 31)
        covers = f"the cube '{cube}' covers {begin} to {end}"
        if self.years is not None and (self.first is not None or self.last is not None):
            raise Refused("invalid-dates", "Give either `years`, or `first` and `last`, not both.")
        first, last = self.first or begin, self.last or end
        if self.years is not None:
            wanted = sorted(set(self.years))
            if not wanted or wanted[-1] - wanted[0] != len(wanted) - 1:
                raise Refused(
                    "invalid-dates", f"`years` are consecutive calendar years, as in [2019, 2020]; given: {wanted}."
                )
            if wanted[0] < begin.year or wanted[-1] > end.year:
                beyond = wanted[0] if wanted[0] < begin.year else wanted[-1]
                raise Refused("invalid-dates", f"The year {beyond} lies outside: {covers}.", **_ends(begin, end))
            first, last = date(wanted[0], 1, 1), date(wanted[-1], 12, 31)
        if last < first:
            raise Refused(
                "invalid-dates",
                f"The last day ({last}) lies before the first ({first}): exchange them.",
                **_ends(begin, end),
            )
        for name, day in (("first", first), ("last", last)):
            if not begin <= day <= end:
                raise Refused("invalid-dates", f"`{name}` is {day}, but {covers}.", **_ends(begin, end))
        days = (last - first + timedelta(days=1)).days
        if days > limits.days:
            raise over("days", days, limits.days, "Ask for fewer years at a time.")
        steps = {"day": days, "month": days // 28 + 2, "year": days // 365 + 2}[self.step]
        if steps * len(self.variables) > limits.values:
            raise over(
                "values", steps * len(self.variables), limits.values, "Ask for fewer variables or years at a time."
            )
        return first, last


def over(limit: str, given: float, allowed: float, advice: str) -> Refused:
    """A request that is larger than a limit of that name."""
    return Refused(
        "over-limit",
        f"{limit.replace('_', ' ').capitalize()}: {given:,} were asked for, this server takes {allowed:,}. {advice}",
        limit=limit,
        given=given,
        allowed=allowed,
    )


def _ends(begin: date, end: date) -> dict[str, str]:
    return {"first": begin.isoformat(), "last": end.isoformat()}
