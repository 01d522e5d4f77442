"""Series of many polygons or registered fields: each answered by itself, in order, with a status; none is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .answer import as_answer, asked_of, key_of, question
from .ask import Ask, over
from .database import Database
from .problems import Problem, Refused, problem_of
from .workspace import Place, Workspace

if TYPE_CHECKING:
    from fieldflux.tiles.combine import Hows
    from fieldflux.tiles.series import Series, SeriesRequest, Source
    from fieldflux.tiles.zonal import Shape

Status: TypeAlias = Literal["OK", "PARTIAL", "FAILED"]

PARTIAL = frozenset({"partly_outside", "partly_masked", "missing_days", "partly_valid"})
"""Flags of answers that are not of all the land, or not of all the days."""

SHARED = (
    *("time", "step", "first", "last", "days", "whole", "units", "interval_level", "signs", "weighting"),
    *("model", "model_title", "weights_sha256", "cube", "cube_hash", "statement", "synthetic", "licence", "snapshot"),
)
"""What is the same for all features, and told once."""


@dataclass(frozen=True, slots=True)
class Given:
    """One of the features: its number, id and properties as given, and its shape or what is wrong with it."""

    index: int
    id: str | int | None
    shape: Shape | None
    error: ValueError | None = None
    external_id: str | None = None


@dataclass(frozen=True, slots=True)
class Combined:
    """What to know of the sum over many: how many features are in it, which are not, and why its interval is so wide.

    overlap_ha: land under several outlines, beyond the once that it counts.
    """

    counted: int
    not_counted: tuple[int, ...]
    overlap_ha: float
    hows: Hows


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature's answer: a series, or a problem; or, with `combined`, the sum over all of them."""

    given: Given
    series: Series | None = None
    problem: Problem | None = None
    chunks: tuple[tuple[int, int, int], ...] = ()
    combined: Combined | None = None

    @property
    def status(self) -> Status:
        if self.series is None:
            return "FAILED"
        lacks = self.combined is not None and self.combined.not_counted
        return "PARTIAL" if lacks or PARTIAL & set(self.series.flags) else "OK"


@dataclass(frozen=True, slots=True)
class Collection:
    """A checked question about many polygons. alone: it was asked of one polygon, as `geometry`; combine: also of
    their sum."""

    place: Place
    source: Source
    request: SeriesRequest
    given: tuple[Given, ...]
    units: Mapping[str, str]
    alone: bool = False
    combine: bool = False

    @property
    def key(self) -> str:
        """The same for the same answer."""
        shapes = [g.shape for g in self.given if g.shape is not None]
        said = [(g.index, g.id, str(g.error or "")) for g in self.given]
        asked = {**self.units, "given": repr(said), "combine": str(self.combine)}
        return key_of(self.place, self.source, self.request, asked, shapes)


def collection(
    workspace: Workspace, ask: Ask, database: Database | None = None, tenant: str = "local", most: int | None = None
) -> Collection:
    """Check a question about one or many. database: where `fields` are looked up; most: features, the limit if None.

    Raises Refused (over-limit) for too many features, and what `question` does for what is asked of all of them; what
    is wrong with one feature is kept with it.
    """
    if ask.geometry is not None:
        one = question(workspace, ask)
        return Collection(one.place, one.source, one.request, (Given(0, None, one.shape),), one.units, alone=True)
    place, source, request = asked_of(workspace, ask)
    limits = workspace.settings.limits
    allowed = limits.series_features if most is None else most
    count = len(ask.fields or _features(ask.features))
    if count == 0:
        raise Refused("invalid-request", "No polygon was given: give at least one in `features` or `fields`.")
    if count > allowed:
        raise over("series_features", count, allowed, "Ask for fewer at a time, or send a job.")
    steps = len(_steps(request))
    values = count * steps * len(request.variables) * (1 + len(request.statistics))
    if values > limits.series_values:
        raise over("series_values", values, limits.series_values, "Ask for fewer features, variables or years.")
    if ask.fields is not None:
        given = _registered(ask.fields, database, tenant)
    else:
        given = tuple(_given(i, feature, source) for i, feature in enumerate(_features(ask.features)))
    return Collection(place, source, request, given, ask.units, combine=ask.combine)


def features_of(asked: Collection) -> list[Feature]:
    """Read or compute the answers, in order; the sum over them last, where it is asked for and any has an answer.

    Raises what reading and running raise for all of them.
    """
    from fieldflux.tiles.many import many_series
    from fieldflux.tiles.series import Series
    from fieldflux.tiles.units import in_units

    shapes = [g.shape for g in asked.given if g.shape is not None]
    found = iter(many_series(shapes, asked.request, asked.source))
    answers: list[Feature] = []
    for given in asked.given:
        result = given.error if given.shape is None else next(found)
        if isinstance(result, Series):
            answers.append(Feature(given, in_units(result, asked.units)))
            continue
        assert result is not None
        problem = problem_of(result)
        if problem is None:
            raise result
        answers.append(Feature(given, None, problem, getattr(result, "chunks", ())))
    if asked.combine and any(feature.series is not None for feature in answers):
        from .combine import combined_of

        answers.append(combined_of(asked, answers))
    return answers


def status_of(features: Sequence[Feature]) -> Status:
    """OK: all are; FAILED: all failed; PARTIAL: anything between."""
    each = {feature.status for feature in features}
    return each.pop() if len(each) == 1 else "PARTIAL"


def as_collection(asked: Collection, features: Sequence[Feature]) -> dict[str, Any]:
    """The answer as plain values and arrays: what all share once, then a member of `features` for each, in order; with
    the sum over them as `combined`."""
    bodies = [None if f.series is None else as_answer(asked.place, f.series) for f in features]
    first = next((body for body in bodies if body is not None), None)
    shared = {} if first is None else {name: first[name] for name in SHARED if name in first}
    if first is not None:
        shared["interval_level"] = asked.request.level if asked.request.interval else None
    notes: dict[str, str] = {}
    told = []
    whole: dict[str, Any] = {"combined": None} if asked.combine else {}
    for feature, body in zip(features, bodies, strict=True):
        about: dict[str, Any] = {"index": feature.given.index, "id": feature.given.id}
        if feature.given.external_id is not None:
            about["external_id"] = feature.given.external_id
        about["status"] = feature.status
        if body is None:
            about["problem"] = problem_body(feature)
        else:
            notes |= dict(zip(body["flags"], body["notes"], strict=True))
            about |= {name: value for name, value in body.items() if name not in SHARED and name != "notes"}
            if "status" in body:
                about |= {"status": feature.status, "step_status": body["status"]}
        if feature.combined is None:
            told.append(about)
        else:
            whole = {"combined": {**of_sum(feature.combined), **about}}
    each = [f for f in features if f.combined is None]
    counts = {s: sum(f.status == s for f in each) for s in ("OK", "PARTIAL", "FAILED")}
    return {"status": status_of(each), "counts": counts, **shared, **whole, "features": told, "notes": notes}


def of_sum(one: Combined) -> dict[str, Any]:
    """What to know of a sum."""

    def plain(hows: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {"how": how.how, "says": how.sentence()}
            | ({} if how.between is None else {"between": how.between.model_dump(mode="json")})
            for name, how in hows.items()
        }

    return {
        "counted": one.counted,
        "not_counted": list(one.not_counted),
        "overlap_ha": round(one.overlap_ha, 4),
        "errors_together": {"steps": plain(one.hows.steps), "period": plain(one.hows.period)},
    }


def problem_body(feature: Feature) -> dict[str, Any]:
    """What is wrong with a feature, as a problem (RFC 9457) with its code."""
    assert feature.problem is not None
    body = feature.problem.body(f"#/features/{feature.given.index}")
    return {"code": feature.problem.kind.slug, **body}


def _steps(request: SeriesRequest) -> list[str]:
    from fieldflux.tiles.steps import Steps

    return Steps.of(request.step, request.first, request.last).labels()


def _features(given: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None) -> Sequence[Any]:
    if isinstance(given, Mapping):
        found = given.get("features")
        if given.get("type") != "FeatureCollection" or not isinstance(found, list | tuple):
            raise Refused(
                "invalid-geometry",
                "`features` is a GeoJSON FeatureCollection, or an array of Features; one polygon is given as "
                "`geometry`.",
            )
        if given.get("crs") is not None:
            from fieldflux.tiles.shape import check_crs

            check_crs(given["crs"])
        return found
    return given or ()


def _given(index: int, feature: Any, source: Source) -> Given:
    from fieldflux.tiles.zonal import BadGeometry, read_shape

    name = feature.get("id") if isinstance(feature, Mapping) else None
    name = name if isinstance(name, str | int) else None
    try:
        return Given(index, name, read_shape(feature, source.limits))
    except BadGeometry as error:
        return Given(index, name, None, error)


def _registered(names: Sequence[str], database: Database | None, tenant: str) -> tuple[Given, ...]:
    """Fields of the registry by their ids. Raises Refused (not-found) where there is no registry, DatabaseFault."""
    if database is None:
        raise Refused("not-found", "There is no registry of fields here: give `features` instead.")
    from .fields.find import by_ids
    from .fields.register import unknown

    held = by_ids(database, tenant, names)
    return tuple(
        Given(index, name, held[name].shape, None, held[name].external_id)
        if name in held
        else Given(index, name, None, unknown(name))
        for index, name in enumerate(names)
    )
