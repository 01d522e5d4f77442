"""Legends of maps: as data (JSON), as SVG and as PNG, with the unit, the sign and a swatch for "no data"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from io import BytesIO
from itertools import pairwise
from typing import Any

from fieldflux.models.variables import Variable

from .palettes import Style
from .when import When, days_of, is_plain, periods_of, unit_of, words_of

STOPS = 17
WIDTH, HEIGHT = 360, 86
BAR = (24.0, 34.0, 240.0, 14.0)
"""x, y, width, height of the colour bar; the swatch stands to its right."""
SWATCH_X = 312.0
INK, LINE = "#1d2327", "#8a9299"
NO_DATA = "no data"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the values of a map are: their unit, how days became one value, and the range that they can have."""

    unit: str
    words: str
    low: float
    high: float


def meaning_of(v: Variable, when: When | None = None) -> Meaning:
    """when: what the map shows; a day's value (or the year's, where there is only that) unless given."""
    if when is None:
        return Meaning(v.unit, "", v.low, v.high)
    period = periods_of(when)[0]
    days = days_of(period) if v.period == "day" and v.over_time == "sum" else 1
    low, high = v.low * days, v.high * days
    if len(periods_of(when)) > 1:
        low, high = low - high, high - low
    words = f"{_year_words(v)}, " if is_plain(when) and words_of(v, when) else f"{words_of(v, when)}, "
    return Meaning(unit_of(v, when), words.removeprefix(", "), low, high)


def _year_words(v: Variable) -> str:
    return {"sum": "sum of the year", "mean": "mean of the year", "last": "end of the year"}[v.over_time]


def legend_json(v: Variable, style: Style, meaning: Meaning | None = None) -> dict[str, Any]:
    """The legend as plain values: evenly spaced stops with their colours, ticks at round values, classes if any."""
    meaning = meaning or meaning_of(v)
    low, high = style.low, style.high
    values = [low + (high - low) * k / (STOPS - 1) for k in range(STOPS)]
    return {
        "variable": v.name,
        "title": v.long_name,
        "unit": meaning.unit,
        "of": meaning.words.removesuffix(", "),
        "sign": v.sign,
        "palette": style.name,
        "diverging": style.diverging,
        "low": low,
        "high": high,
        "steps": style.steps,
        "classes": [
            {"low": round(a, 6), "high": round(b, 6), "color": style.hex((a + b) / 2)} for a, b in classes(style)
        ],
        "stops": [{"value": round(value, 6), "color": style.hex(value)} for value in values],
        "ticks": [{"value": value, "label": label} for value, label in labels(v, style, meaning)],
        "no_data": {"label": NO_DATA, "color": None},
    }


def legend_svg(v: Variable, style: Style, meaning: Meaning | None = None) -> str:
    """The legend as an SVG of 360 x 86."""
    meaning = meaning or meaning_of(v)
    x, y, width, height = BAR
    stops = "".join(f'<stop offset="{at:.5g}" stop-color="{colour}"/>' for at, colour in _stops(style))
    marks = "".join(
        f'<path d="M{at:.1f} {y + height}v4" stroke="{LINE}"/>'
        f'<text x="{at:.1f}" y="{y + height + 16}" text-anchor="middle">{escape(label)}</text>'
        for at, label in _placed(v, style, meaning)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(_spoken(v, style, meaning))}" font-family="sans-serif" font-size="11" '
        f'fill="{INK}"><defs><linearGradient id="ramp">{stops}</linearGradient>'
        f'<pattern id="none" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<path d="M0 0v6" stroke="{LINE}"/></pattern></defs>'
        f'<text x="{x}" y="15" font-size="12" font-weight="600">{escape(_title(v))}</text>'
        f'<text x="{x}" y="28">{escape(_subtitle(v, meaning))}</text>'
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="url(#ramp)" stroke="{LINE}" stroke-width=".5"/>'
        f"{marks}"
        f'<rect x="{SWATCH_X}" y="{y}" width="20" height="{height}" fill="url(#none)" stroke="{LINE}"/>'
        f'<text x="{SWATCH_X + 10}" y="{y + height + 16}" text-anchor="middle">{NO_DATA}</text></svg>'
    )


def legend_png(v: Variable, style: Style, meaning: Meaning | None = None, scale: int = 2) -> bytes:
    """The legend as a PNG of 360 x 86 times `scale`, on white."""
    meaning = meaning or meaning_of(v)
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), "white")
    draw = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(11.0 * scale), ImageFont.load_default(12.5 * scale)
    x, y, width, height = (value * scale for value in BAR)
    draw.text((x, 15 * scale), _title(v), INK, large, anchor="ls")
    draw.text((x, 28 * scale), _plain(_subtitle(v, meaning)), INK, small, anchor="ls")
    for k in range(int(width)):
        colour = style.hex(style.low + (style.high - style.low) * (k + 0.5) / width)
        draw.line([(x + k, y), (x + k, y + height - 1)], colour)
    draw.rectangle([x, y, x + width, y + height], outline=LINE)
    for at, label in _placed(v, style, meaning):
        draw.line([(at * scale, y + height), (at * scale, y + height + 4 * scale)], LINE, scale)
        draw.text((at * scale, y + height + 16 * scale), _plain(label), INK, small, anchor="ms")
    left, right, side = SWATCH_X * scale, (SWATCH_X + 20) * scale, int(height)
    for k in range(-side, int(right - left), 6 * scale):
        a, b = max(k, 0), min(k + side, int(right - left))
        draw.line([(left + a, y + height - (a - k)), (left + b, y + height - (b - k))], LINE, scale)
    draw.rectangle([left, y, right, y + height], outline=LINE)
    draw.text(((left + right) / 2, y + height + 16 * scale), NO_DATA, INK, small, anchor="ms")
    out = BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def classes(style: Style) -> list[tuple[float, float]]:
    """Lower and upper value of each class of a stepped style, within its range; none for a smooth one."""
    low, high = style.scale
    edges = [low + (high - low) * k / style.steps for k in range(style.steps + 1)] if style.steps else []
    cut = [(max(a, style.low), min(b, style.high)) for a, b in pairwise(edges)]
    return [(a, b) for a, b in cut if b > a]


def _stops(style: Style) -> list[tuple[float, str]]:
    """Places along the bar, 0 to 1, and their colours; those of a class at both of its ends."""
    low, span = style.low, style.high - style.low
    if not style.steps:
        return [(k / 32, style.hex(low + span * k / 32)) for k in range(33)]
    found: list[tuple[float, str]] = []
    for a, b in classes(style):
        colour = style.hex((a + b) / 2)
        found += [((a - low) / span, colour), ((b - low) / span, colour)]
    return found


def labels(v: Variable, style: Style, meaning: Meaning | None = None) -> list[tuple[float, str]]:
    """Ticks at round values with their labels. "≤" and "≥" say that the colours of the ends stand for more."""
    meaning = meaning or meaning_of(v)
    ticks = round_ticks(style.low, style.high)
    digits = next((d for d in range(6) if all(abs(round(t, d) - t) < 1e-9 for t in ticks)), 6)
    found = []
    for tick in ticks:
        text = f"{tick:.{digits}f}".replace("-", "−")
        if tick == style.low and style.low > meaning.low:
            text = f"≤ {text}"
        elif tick == style.high and style.high < meaning.high:
            text = f"≥ {text}"
        found.append((tick, text))
    return found


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """The ends, and multiples of 1, 2, 2.5 or 5 times a power of ten between them."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(m * power for m in (1, 2, 2.5, 5, 10, 20) if (high - low) / (m * power) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    inner = [round(k * step, 10) + 0.0 for k in range(first, last + 1)]
    room = 0.6 * step
    return [low, *(t for t in inner if low + room < t < high - room), high]


def _placed(v: Variable, style: Style, meaning: Meaning) -> list[tuple[float, str]]:
    x, _, width, _ = BAR
    span = style.high - style.low
    return [(x + width * (value - style.low) / span, label) for value, label in labels(v, style, meaning)]


def _title(v: Variable) -> str:
    return v.long_name[:1].upper() + v.long_name[1:]


def _subtitle(v: Variable, meaning: Meaning) -> str:
    unit = meaning.unit.replace("m-2", "m⁻²").replace("d-1", "d⁻¹").replace("yr-1", "yr⁻¹")
    unit = unit.replace("m-3", "m⁻³").replace("gC", "g C")
    return f"{meaning.words}{unit}" + (f"; {v.sign}" if v.sign else "")


def _plain(text: str) -> str:
    """Without the signs that Pillow's own font lacks."""
    return text.translate(str.maketrans("−⁻²³¹≤≥", "--231<>"))


def _spoken(v: Variable, style: Style, meaning: Meaning) -> str:
    return f"{_title(v)}, {style.low:g} to {style.high:g} {meaning.unit}. {v.sign}".strip()
