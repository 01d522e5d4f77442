"""What may be asked of a map's looks and times, as query parameters of tiles, legends, TileJSON and WMTS."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

DEFAULT_STYLE = "default"
"""Name of the style that each variable has by itself."""


def _number(given: object) -> object:
    # A query's values are text, which is none of the numbers of a Literal.
    return int(given) if isinstance(given, str) and given.isascii() and given.isdigit() else given


Size = Annotated[Literal[256, 512], BeforeValidator(_number)]
Scale = Annotated[Literal[1, 2], BeforeValidator(_number)]


class Look(BaseModel):
    """The colours of a map."""

    style: str = Field(
        default="", description="A style by its name in /v1/styles: `default`, or a palette; with `_r`, turned round."
    )
    colormap: str = Field(default="", description="Palette in place of the style's own.", examples=["viridis"])
    range: str = Field(
        default="",
        description="Lowest and highest value of the colours, in the unit of what is shown.",
        examples=["0,20"],
        pattern=r"^$|^[^,]+,[^,]+$",
    )
    steps: int = Field(default=0, ge=0, le=32, description="Classes of one colour each, 2 to 32; 0 for a smooth ramp.")


class Source(BaseModel):
    """The cube and the model that a map is of."""

    cube: str = Field(default="", description="Cube, by its id; the default one if empty.", examples=["demo"])
    model: str = Field(
        default="",
        description="Model, as name or name/version; the default one if empty.",
        examples=["kgml-ag-carbon/1"],
    )


class Compared(BaseModel):
    """What is taken away from the time that is shown."""

    minus: str = Field(default="", description="Another time that is taken away, in any form that `when` has.")
    anomaly: str = Field(
        default="",
        description="Take away the mean of the same days: of all the cube's years (`1`), or of a span of them.",
        examples=["2019..2021"],
    )


class MapQuery(Look, Source, Compared):
    """Of a tile."""

    size: Size = Field(default=256, description="Side, pixels. `@2x` before the format asks for 512.")
    v: str = Field(
        default="", description="Snapshot or edition of the store, as in TileJSON: the tile may be kept for ever."
    )


class TileJsonQuery(Look, Source, Compared):
    """Of TileJSON."""

    when: str = Field(
        default="",
        description="Time to fill into the tiles' address, which has `{time}` without.",
        examples=["2021-07"],
    )
    format: Literal["png", "webp", "tif", "npy"] = Field(default="png", description="Format of the tiles.")
    scale: Scale = Field(default=1, description="2 for tiles of 512 pixels.")


class LegendQuery(Look, Source, Compared):
    """Of a legend."""

    when: str = Field(default="", description="The time that the map shows; a day, if empty.", examples=["2021-07"])
    year: bool = Field(default=False, description="Of values over a year, whichever: short for `when=2021`.")


class OgcTileQuery(Look):
    """Of a tile by OGC API – Tiles."""

    f: Literal["png", "webp", "tif", "npy", ""] = Field(
        default="", description="Format: png or webp of a map, tif or npy of a coverage."
    )
    datetime: str = Field(
        default="", description="A day, a month, a year, or a span with `/` or `..` between.", examples=["2021-07-15"]
    )
