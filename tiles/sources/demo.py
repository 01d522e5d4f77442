"""The demo cube: the synthetic landscape of `landscape.py`, which needs no data and no network."""

from __future__ import annotations

from pathlib import Path

from fieldflux.tiles.atmosphere import CO2_SOURCE, co2_of
from fieldflux.tiles.cubefile import About, CubeWriter, Progress, Source, days_of
from fieldflux.tiles.landscape import LAYERS_BOTTOM, LAYERS_TOP, make_landscape
from fieldflux.tiles.weathergen import AMES

from .progress import quiet

STATEMENT = (
    "SYNTHETIC demonstration data. Fields, crops, management, soils and weather near Ames, Iowa, were made in code "
    "from a random seed; they describe no real farm, field or day. The weather is that of a stochastic generator set "
    "to the climate of Ames, 1991-2020. The numbers are an illustration, not an estimate for any place."
)


def build_demo(path: Path | str, seed: int = 7, progress: Progress = quiet) -> Path:
    """Build the demo cube at `path`: 160 x 160 cells (40 x 40 km) near Ames, Iowa, 2018-2023.

    It lies in block 16, 39. The same seed gives the same content hash. Raises CubeNotWritten.
    """
    progress(0.0, "making the landscape")
    land = make_landscape(seed)
    progress(0.6, "writing the cube")
    about = About(
        id="demo",
        title="Demo landscape near Ames, Iowa (synthetic)",
        statement=STATEMENT,
        licence="Apache-2.0",
        synthetic=True,
        sources=(
            Source(name=f"fieldflux landscape, seed {seed}", used_for="fields, crops, management, soils, weather"),
            Source(name=AMES.source, used_for="climate of the weather generator", licence="MIT"),
            Source(name=CO2_SOURCE, used_for="co2", licence="public domain"),
        ),
        notes=(
            "Winter wheat is sown in the autumn before its year: its sowing_doy is later than its harvest_doy. Alfalfa "
            "and pasture stand all year: sowing_doy is the start of growth, harvest_doy the last cut.",
            "Town and ponds have no soil and are masked; woods along the creek and roadsides have no crop.",
        ),
    )
    with CubeWriter(path, about, land.grid, land.window, land.years) as cube:
        co2 = co2_of(days_of(land.years))
        cube.weather({**land.weather, **({} if co2 is None else {"co2": co2})}, land.weather_lon, land.weather_lat)
        cube.weather_index(land.weather_index)
        for name, values in land.static.items():
            cube.static(name, values)
        cube.layers(LAYERS_TOP, LAYERS_BOTTOM)
        for name, values in land.by_layer.items():
            cube.by_layer(name, values)
        for name, values in land.annual.items():
            cube.annual(name, values)
        cube.fields(land.fields)
        built = cube.finish()
    progress(1.0, "done")
    return built
