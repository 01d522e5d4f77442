"""What may be asked of a field: the body of POST /v1/series, and of `fieldflux series`."""

from __future__ import annotations

from datetime import date, timedelta

from fieldflux.tiles.steps import Step, steps_at_most
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .members import (
    FIELD,
    OTHER_FIELD,
    Combine,
    CubeId,
    Day,
    Features,
    FieldIds,
    Geometry,
    Intervals,
    Level,
    ModelId,
    Number,
    Years,
    check_one,
    one_of,
)
from .problems import Refused
from .settings import Limits

LAND = ("geometry", "features", "fields")


class About(BaseModel):
    """What is asked, whatever of: a period, variables, a step, statistics, units, cube and model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: Day | None = Field(default=None, description="First day.")
    last: Day | None = Field(default=None, description="Last day, included.")
    years: Years | None = Field(
        default=None, description="Consecutive calendar years, instead of first and last; all of the cube's without."
    )
    variables: tuple[str, ...] = Field(default=("gpp", "reco", "nee"), min_length=1, max_length=40)
    step: Step = Field(
        default="day",
        description="Months, seasons (DJF, MAM, JJA, SON; the winter has the year of its January), years and the whole "
        "period are sums of fluxes and means of states, whole or in part (`whole`).",
    )
    statistics: tuple[str | dict[str, Number], ...] = Field(
        default=(),
        max_length=30,
        description="Over the field's cells, weighted by area, of each cell's day or step: `std`, `min`, `max`, `q05` "
        'to `q95`, `{"quantile": 0.025}`; a quantile is the value of a cell. `mean` and `valid_fraction` are always '
        "there, `total` (tonnes) for all steps but days, and for days where it is named.",
        examples=[["std", "q05", "q95"]],
    )
    units: dict[str, str] = Field(
        default={},
        max_length=40,
        description="Units by variable, without the time: fluxes and stocks of carbon in gC m-2, kgC ha-1, tC ha-1, "
        "gCO2 m-2, kgCO2 ha-1, tCO2 ha-1 (or CO2e), fluxes also in umol m-2 s-1; yield also in t ha-1 and bu ac-1 at "
        "market moisture; water in mm, m3 ha-1, in; energy in W m-2, MJ m-2. Intervals and totals go along.",
        examples=[{"nee": "kgCO2e ha-1"}],
    )
    intervals: Intervals = True
    level: Level = 0.9
    cube: CubeId = ""
    model: ModelId = ""

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
                    "invalid-dates",
                    f"`years` are consecutive calendar years, as in [2019, 2020]; given: {_short(wanted)}.",
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
        columns = len(self.variables) * (1 + len(self.statistics))
        values = steps_at_most(self.step, days) * columns
        if values > limits.values:
            raise over("values", values, limits.values, "Ask for fewer variables or years at a time.")
        return first, last


class Ask(About):
    """One polygon (`geometry`), many (`features`) or registered fields (`fields`), and what is asked of them."""

    model_config = ConfigDict(
        json_schema_extra={
            **one_of(LAND),
            "examples": [
                {"geometry": FIELD, "years": [2022], "variables": ["gpp", "reco", "nee"], "step": "day"},
                {
                    "geometry": FIELD,
                    "first": "2019-01-01",
                    "last": "2022-12-31",
                    "variables": ["nee", "yield", "delta_soc"],
                    "step": "year",
                },
                {
                    "features": {
                        "type": "FeatureCollection",
                        "features": [
                            {"type": "Feature", "id": "north", "properties": {}, "geometry": FIELD},
                            {"type": "Feature", "id": "south", "properties": {}, "geometry": OTHER_FIELD},
                        ],
                    },
                    "years": [2022],
                    "variables": ["nee"],
                    "step": "season",
                    "units": {"nee": "tCO2e ha-1"},
                    "combine": True,
                },
            ],
        },
    )

    geometry: Geometry = None
    features: Features = None
    fields: FieldIds = None
    combine: Combine = False

    @model_validator(mode="after")
    def _one_kind(self) -> Ask:
        check_one(self, LAND)
        return self


def over(limit: str, given: float, allowed: float, advice: str) -> Refused:
    """A request that is larger than a limit of that name."""
    return Refused(
        "over-limit",
        f"{limit.replace('_', ' ').capitalize()}: {given:,} were asked for, this server takes {allowed:,}. {advice}",
        limit=limit,
        given=given,
        allowed=allowed,
    )


def _short(years: list[int]) -> str:
    return str(years) if len(years) < 10 else f"{len(years)} years from {years[0]} to {years[-1]}"


def _ends(begin: date, end: date) -> dict[str, str]:
    return {"first": begin.isoformat(), "last": end.isoformat()}
