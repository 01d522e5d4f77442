"""Which format an answer leaves in: by `f=`, which wins, or by `Accept`."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from fieldflux.app.problems import Refused


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name in `f=`, its media type, other names by which callers know it, the ending of its files."""

    name: str
    media: str
    others: tuple[str, ...] = ()
    suffix: str = ""

    @property
    def content_type(self) -> str:
        return f"{self.media}; charset=utf-8" if self.media.startswith("text/") else self.media


FORMATS: MappingProxyType[str, Format] = MappingProxyType(
    {
        found.name: found
        for found in (
            Format("json", "application/json", ("text/json",), ".json"),
            Format("csv", "text/csv", (), ".csv"),
            Format("ndjson", "application/x-ndjson", ("application/ndjson", "application/jsonl"), ".ndjson"),
            Format("parquet", "application/vnd.apache.parquet", ("application/x-parquet",), ".parquet"),
            Format(
                "covjson",
                "application/prs.coverage+json",
                ("application/vnd.cov+json", "application/cov+json"),
                ".covjson",
            ),
            Format("geojson", "application/geo+json", ("application/vnd.geo+json",), ".geojson"),
            Format("netcdf", "application/x-netcdf", ("application/netcdf",), ".nc"),
        )
    }
)


def format_of(f: str, accept: str | None) -> Format:
    """The format asked for; JSON where nothing is. Raises Refused (not-acceptable) with those there are."""
    if f:
        if f.lower() not in FORMATS:
            raise _refused(f"There is no format f={f[:40]!r}.")
        return FORMATS[f.lower()]
    wanted = _preferences(accept or "*/*")
    best: tuple[float, Format] | None = None
    for found in FORMATS.values():
        q = max((_quality(wanted, media) for media in (found.media, *found.others)), default=0.0)
        if q > 0 and (best is None or q > best[0]):
            best = (q, found)
    if best is None:
        raise _refused(f"None of the media types of `Accept: {(accept or '')[:120]}` can be had.")
    return best[1]


def _preferences(accept: str) -> list[tuple[str, float]]:
    found = []
    for part in accept.lower().split(","):
        media, *parameters = (p.strip() for p in part.split(";"))
        q = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    q = float(value)
                except ValueError:
                    q = 0.0
        if media:
            found.append((media, q))
    return found


def _quality(wanted: list[tuple[str, float]], media: str) -> float:
    """The most exact range decides (RFC 9110): text/csv before text/* before */*."""
    kind = media.split("/")[0]
    for exact in (media, f"{kind}/*", "*/*"):
        for given, q in wanted:
            if given == exact:
                return q
    return 0.0


def _refused(sentence: str) -> Refused:
    listed = ", ".join(f"{found.name} ({found.media})" for found in FORMATS.values())
    return Refused(
        "not-acceptable",
        f"{sentence} There are: {listed}.",
        allowed=[{"f": found.name, "media": found.media} for found in FORMATS.values()],
    )
