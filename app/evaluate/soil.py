"""Soil carbon of long-term experiments: modelled against measured trends, plot by plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fieldflux.models.contract import Forcing, MissingInputs, Model, check_inputs
from fieldflux.models.crops import CROP_OF_CDL
from fieldflux.models.scores import member_spread, score
from fieldflux.tiles.measurements.experiments import DECLARED, Experiment, forcing_of, read_experiments
from numpy.typing import NDArray

from .report import Row, Table

Array = NDArray[np.float64]
Told = Callable[[float, str], None]

SPLIT = "long-term experiments"
ZERO, OTHERS, ALIKE = "no change", "mean of other sites", "no difference"
DESCRIBED: Mapping[str, str] = {
    ZERO: "the soil neither gains nor loses.",
    OTHERS: "mean of the measured trends of all the other sites, each site's plots averaged first.",
    ALIKE: "all plots of a site change alike.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """Trends of one plot, gC m-2 yr-1, positive where the soil gains.

    measured: least-squares slope. error: its standard error, NaN with two measurements, which have none. n: number of
    measurements. modelled: [member] mean delta_soc of the calendar years from the first measurement to the last.
    """

    site: str
    treatment: str
    first: int
    last: int
    n: int
    crops: str
    nitrogen: float
    measured: float
    error: float
    modelled: Array

    @property
    def mean(self) -> float:
        return float(self.modelled.mean())

    @property
    def agrees(self) -> bool | None:
        """Whether the modelled trend lies within two standard errors of the measured one; None without an error."""
        return abs(self.mean - self.measured) <= 2.0 * self.error if np.isfinite(self.error) else None


@dataclass(frozen=True, slots=True)
class SoilResult:
    """Rows of scores, a table of plots, what was left out."""

    rows: tuple[Row, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    plots: tuple[Plot, ...] = ()


def evaluate_soil(model: Model, data_dir: Path, told: Told) -> SoilResult:
    """Modelled against measured trends of soil carbon wherever an experiment has weather, management and soil.

    Raises BadMeasurements.
    """
    if "delta_soc" not in model.outputs:
        return SoilResult((), (), (), (f"Soil carbon: {model.card.id} does not give delta_soc.",))
    experiments, skipped = read_experiments(data_dir)
    plots: list[Plot] = []
    groups: dict[tuple[str, tuple[int, ...]], list[Experiment]] = {}
    for one in experiments:
        groups.setdefault((one.site, one.years), []).append(one)
    for i, ((site, years), group) in enumerate(groups.items()):
        told(i / len(groups), f"running {site}, {years[0]} to {years[-1]}")
        found, reason = run_plots(model, group)
        plots += found
        skipped += [reason] if reason else []
    if not plots:
        return SoilResult((), (), (), tuple(skipped))
    missing = tuple(dict.fromkeys(f"{e.site}: {what}." for e in experiments for what in e.missing))
    return SoilResult(rows_of(plots), (table_of(plots),), (*_notes(), *missing), tuple(skipped), tuple(plots))


def run_plots(model: Model, group: Sequence[Experiment]) -> tuple[list[Plot], str]:
    """Plots of one site over the same years, from a common history; and why some have no value, or ""."""
    site = group[0].site
    try:
        forcing = forcing_of(group)
        check_inputs(model.card.id, model.needs, forcing.names(), f"the experiment {site}")
        found = model.predict(forcing, model.initial_state(before(forcing)))
    except (MissingInputs, ValueError) as error:
        return [], f"Soil carbon of {site}: {error}"
    change = np.asarray(found.annual["delta_soc"], np.float64).mean(axis=2)
    known = np.isfinite(change).all(axis=0)
    plots = [_plot(one, change[:, i]) for i, one in enumerate(group) if known[i]]
    if known.all():
        return plots, ""
    flags = ", ".join(name for name, cells in found.flags.items() if cells.any()) or "no flag"
    return plots, f"Soil carbon of {site} ({int((~known).sum())} plots): the model gives no value ({flags})."


def before(forcing: Forcing) -> Forcing:
    """The plots' history: their own crops and weather, ploughed and with all residue left, whatever the treatment.

    A treatment begins with its experiment. Spun up on itself, a model would hold it to have lasted for ever, and the
    contrast between treatments, which is what an experiment measures, would be in the memory instead of the change.
    """
    usual = {"tillage": 1.0, "residue_removed": 0.0}
    annual = {n: np.full_like(v, usual[n]) if n in usual else v for n, v in forcing.annual.items()}
    return replace(forcing, annual=annual)


def _plot(one: Experiment, modelled: Array) -> Plot:
    slope, error = trend(one.measured.year, one.measured.soc)
    crops = dict.fromkeys(CROP_OF_CDL[int(s.crop)].name for s in one.seasons.values())
    first, last, n = int(one.measured.year[0]), int(one.measured.year[-1]), len(one.measured.year)
    names = " + ".join(crops)
    return Plot(one.site, one.treatment, first, last, n, names, one.nitrogen, slope, error, modelled)


def trend(year: NDArray[np.int64], soc: Array) -> tuple[float, float]:
    """Least-squares slope, gC m-2 yr-1, and its standard error (NaN with fewer than three measurements).

    >>> slope, error = trend(np.array([2000, 2010]), np.array([5000.0, 5100.0]))
    >>> round(slope, 6), error
    (10.0, nan)
    """
    x = year - year.mean()
    sxx = float(np.square(x).sum())
    slope = float((x * (soc - soc.mean())).sum() / sxx)
    if len(year) < 3:
        return slope, float("nan")
    residual = soc - soc.mean() - slope * x
    return slope, float(np.sqrt(np.square(residual).sum() / (len(year) - 2) / sxx))


def mean_of_others(sites: Sequence[str], measured: Array) -> Array:
    """[plot] mean over all the other sites of their plots' mean trend; NaN where there is one site only."""
    names = list(dict.fromkeys(sites))
    by_site = {name: measured[np.array([s == name for s in sites])].mean() for name in names}
    return np.array(
        [np.mean([v for n, v in by_site.items() if n != site]) if len(names) > 1 else np.nan for site in sites]
    )


def rows_of(plots: Sequence[Plot]) -> tuple[Row, ...]:
    """Scores over all plots, over fertilised ones, over the means of sites, and over differences within sites."""
    fertilised = [p for p in plots if p.nitrogen > 0]
    rows = [_row(plots, f"{len(plots)} plots of {len(_sites(plots))} sites")]
    if 2 < len(fertilised) < len(plots):
        rows.append(_row(fertilised, f"{len(fertilised)} fertilised plots of {len(_sites(fertilised))} sites"))
    if len(_sites(plots)) > 2:
        rows.append(_row([_site_mean(plots, site) for site in _sites(plots)], "means of sites"))
    several = [p for p in plots if sum(q.site == p.site for q in plots) > 1]
    if len(several) > 2:
        means = {site: _site_mean(several, site) for site in _sites(several)}
        apart = [
            replace(p, measured=p.measured - means[p.site].measured, modelled=p.modelled - means[p.site].modelled)
            for p in several
        ]
        nothing = score(np.zeros(len(apart)), np.array([p.measured for p in apart]))
        rows.append(replace(_row(apart, "plots less their site's mean"), floors={ALIKE: nothing}, note=""))
    return tuple(rows)


def _row(plots: Sequence[Plot], place: str) -> Row:
    measured = np.array([p.measured for p in plots])
    members = np.stack([p.modelled for p in plots], axis=1)
    others = mean_of_others([p.site for p in plots], measured)
    floors = {ZERO: score(np.zeros(len(plots)), measured)}
    if np.isfinite(others).all():
        floors[OTHERS] = score(others, measured)
    return Row(
        part="soil",
        split=SPLIT,
        place=place,
        variable="delta_soc",
        unit="gC m-2 yr-1",
        step="trend",
        gpp="own",
        crop="all",
        scores=score(members.mean(axis=0), measured),
        floors=floors,
        data=", ".join(_sites(plots)),
        spread=member_spread(members, measured),
        note=agreement(plots),
    )


def agreement(plots: Sequence[Plot]) -> str:
    """How many trends lie within two standard errors, and how many have the measured sign, in words."""
    with_error = [p for p in plots if p.agrees is not None]
    signed = [p for p in plots if p.measured != 0]
    same = sum(np.sign(p.mean) == np.sign(p.measured) for p in signed)
    words = f"sign agrees in {same} of {len(signed)}"
    if not with_error:
        return words
    inside = sum(bool(p.agrees) for p in with_error)
    still = sum(abs(p.measured) <= 2.0 * p.error for p in with_error)
    return (
        f"{words}; within two standard errors {inside} of the {len(with_error)} with three or more measurements "
        f"(no change: {still})"
    )


def _sites(plots: Sequence[Plot]) -> list[str]:
    return list(dict.fromkeys(p.site for p in plots))


def _site_mean(plots: Sequence[Plot], site: str) -> Plot:
    of = [p for p in plots if p.site == site]
    measured, modelled = float(np.mean([p.measured for p in of])), np.mean([p.modelled for p in of], axis=0)
    first, last = min(p.first for p in of), max(p.last for p in of)
    nitrogen = float(np.mean([p.nitrogen for p in of]))
    return Plot(site, "all", first, last, len(of), "", nitrogen, measured, float("nan"), modelled)


def table_of(plots: Sequence[Plot]) -> Table:
    """Every plot."""
    columns = ("site", "plot", "years", "crops", "N gN m-2 yr-1", "n", "measured", "standard error", "modelled")
    lines = tuple(
        (
            *(p.site, p.treatment.removeprefix(f"{p.site}_"), f"{p.first}-{p.last}", p.crops, round(p.nitrogen, 1)),
            *(p.n, p.measured, p.error if np.isfinite(p.error) else None, p.mean),
            *(float(p.modelled.min()), float(p.modelled.max())),
        )
        for p in plots
    )
    title = "Soil carbon of long-term experiments: trends, gC m-2 yr-1"
    return Table("soil_experiments", title, (*columns, "lowest member", "highest member"), lines)


def _notes() -> tuple[str, ...]:
    return (
        *DECLARED,
        "Soil carbon: the measured trend is the least-squares slope of the stocks, the modelled one the mean delta_soc "
        "of the calendar years from the first measurement to the last. delta_soc counts residue and the whole profile; "
        "measurements count a layer of undocumented depth. Two measurements have no standard error; of three it rests "
        "on one degree of freedom.",
        "Soil carbon, history: every plot is spun up on its own crops and first years of weather, ploughed, with all "
        "residue left; its treatment begins with the first measurement. What was before is not documented.",
        "Plots of one site share weather and soil, and often their first measurement: they are no independent samples. "
        "The plots at Mead and Ithaca, Nebraska, lie within 10 km of the Mead towers.",
        *(f"Soil carbon, floor '{name}': {text}" for name, text in DESCRIBED.items()),
    )
