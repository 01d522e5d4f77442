"""Readers of measured soils: small files worked out by hand, and the real ones where they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fieldflux.tiles.measurements.counties import REACH, Counties, join, kilometres, read_counties
from fieldflux.tiles.measurements.soilfiles import raca, read_soil_sites, sanderman, sodah
from fieldflux.tiles.measurements.soilsites import carbon_density, is_organic, stock_to, together
from fieldflux.tiles.measurements.tables import BadMeasurements
from hypothesis import given, settings
from hypothesis import strategies as st

RACA = "upedonid,LU,Gen_lat,Gen_long,SOCstock5,SOCstock30,SOCstock100,SOC_thickness,USE\n"


def raca_of(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "soc").mkdir(exist_ok=True)
    (tmp_path / "soc" / "raca_soc_pedons.csv").write_text(RACA + "\n".join(lines) + "\n")
    return tmp_path


def test_raca_stocks_differ_into_layers(tmp_path: Path) -> None:
    soils = raca(raca_of(tmp_path, "a,C,42,-93,10,50,120,100,100", "b,P,42,-93,5,20,20,25,100"))
    assert soils is not None
    assert soils.land_use.tolist() == ["cropland", "pasture"]
    # 10 Mg ha-1 in 5 cm is 1000 gC m-2 / 0.05 m
    assert soils.density[soils.owner == 0] == pytest.approx([20_000, 4000 / 0.25, 7000 / 0.7])
    assert soils.stock_30 == pytest.approx([5000, 2000])
    assert soils.stock_100 == pytest.approx([12000, 2000])
    # the second soil ends at 25 cm
    assert np.isnan(soils.soil_depth[0])
    assert soils.soil_depth[1] == 0.25
    assert soils.bottom[soils.owner == 1] == pytest.approx([0.05, 0.25])


def test_raca_faults_are_said_and_not_filled(tmp_path: Path) -> None:
    folder = raca_of(
        tmp_path,
        "no place,C,,,10,50,120,100,100",
        "dug to 58 cm,R,40,-120,5,8,,58,30",
        "bare below,C,42,-93,10,50,50,100,100",
        "too dense,F,42,-93,150,180,200,100,100",
        "peat,W,42,-93,40,350,900,100,100",
    )
    soils = raca(folder)
    assert soils is not None
    assert soils.site.tolist() == ["dug to 58 cm", "bare below", "too dense", "peat"]
    assert np.isnan(soils.stock_100[:2]).all()
    assert np.isnan(soils.soil_depth[0])
    assert not (soils.density > 200_000).any()
    assert soils.organic.tolist() == [False, False, True, True]
    assert any("1 rows without a place" in note for note in soils.notes)


def test_an_unknown_land_use_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadMeasurements, match=r"has 'Q'.*must be one of C"):
        raca(raca_of(tmp_path, "a,Q,42,-93,10,50,120,100,100"))


def test_a_folder_without_files_has_no_soils(tmp_path: Path) -> None:
    assert read_soil_sites(tmp_path) == ()


SODAH = "google_dir,L1,L2,L3,tx_L1,lat,long,layer_top,layer_bot,lyr_soc,bd_samp,sand,clay,coarse_frac\n"


def test_sodah_profiles_begin_where_depth_goes_back_up(tmp_path: Path) -> None:
    (tmp_path / "soc").mkdir()
    rows = (
        "KBS,52,DE,1,low,42.4,-85.4,0,20,1,1.5,60,10,",
        "KBS,52,DE,1,low,42.4,-85.4,20,35,,1.5,60,10,",
        "KBS,52,DE,1,low,42.4,-85.4,0,20,2,1.5,60,10,",
        "KBS,52,DE,1,low,42.4,-85.4,20,40,1,9.9,60,10,",
        "NEON_x,P1,,,,40,-103,0,30,1,1.4,30,20,10",
    )
    (tmp_path / "soc" / "sodah_cultivated.csv").write_text(SODAH + "\n".join(rows) + "\n")
    soils = sodah(tmp_path)
    assert soils is not None
    assert len(soils) == 3
    assert soils.owner.tolist() == [0, 1, 1, 2]
    # the first lacks the carbon of 20-35 cm, the second the density of 20-40 cm: 9.9 Mg m-3 is no soil
    assert np.isnan(soils.stock_30[:2]).all()
    # 10 gC kg-1 x 1400 kg m-3 x 0.9 (stones) x 0.3 m
    assert soils.stock_30[2] == pytest.approx(3780.0)
    assert soils.exact.tolist() == [False, False, True]
    assert soils.sand[0] == 600.0


def test_stock_needs_every_layer_once() -> None:
    def stock(top: list[float], bottom: list[float]) -> float:
        n = len(top)
        return float(stock_to(0.3, 1, np.zeros(n, int), np.array(top), np.array(bottom), np.full(n, 10_000.0))[0])

    assert stock([0, 0.1], [0.1, 0.5]) == pytest.approx(3000.0)
    assert np.isnan(stock([0, 0.2], [0.1, 0.5]))
    assert np.isnan(stock([0, 0.1], [0.2, 0.3]))
    assert np.isnan(stock([0.0], [0.25]))


@settings(deadline=None)
@given(
    st.lists(st.floats(0.02, 0.5), min_size=1, max_size=8),
    st.lists(st.floats(1.0, 1e5), min_size=8, max_size=8),
    st.floats(0.05, 1.0),
)
def test_stocks_add_up(thickness: list[float], values: list[float], depth: float) -> None:
    bottom = np.cumsum(thickness)
    top, n = bottom - np.array(thickness), len(thickness)
    density, owner = np.array(values[:n]), np.zeros(n, np.int64)
    stock = stock_to(depth, 1, owner, top, bottom, density)[0]
    if bottom[-1] < depth - 0.02:
        assert np.isnan(stock)
    elif bottom[-1] >= depth:
        total = np.concatenate([[0.0], np.cumsum(density * np.array(thickness))])
        assert stock == pytest.approx(np.interp(depth, np.concatenate([[0.0], bottom]), total), rel=1e-9)


def test_organic_by_carbon_or_by_stock() -> None:
    owner = np.array([0, 0, 1, 1, 2])
    top, bottom = np.array([0, 0.2, 0, 0.1, 0]), np.array([0.2, 0.5, 0.1, 0.4, 0.3])
    soc = np.array([150.0, 20.0, 150.0, 20.0, np.nan])
    assert is_organic(3, np.array([np.nan, 9000.0, 31000.0]), owner, top, bottom, soc).tolist() == [True, False, True]


def test_unknown_stones_are_none_and_unknown_density_stays_unknown() -> None:
    found = carbon_density(np.array([10.0, 10.0]), np.array([1.2, np.nan]), np.array([np.nan, 0.1]))
    assert found[0] == pytest.approx(12_000.0)
    assert np.isnan(found[1])


# --- real files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counties(data_dir: Path) -> Counties:
    found = read_counties(data_dir)
    assert found is not None
    return found


def test_real_sets_are_whole(data_dir: Path) -> None:
    sets = read_soil_sites(data_dir)
    assert {str(s.dataset[0]) for s in sets} == {"RaCA", "DSP4SH", "SoDaH", "Sanderman", "Marsden", "Mollisols"}
    every = together(sets)
    assert len(every) == sum(map(len, sets))
    assert (np.diff(every.owner) >= 0).all()
    assert (every.bottom > every.top).all()
    density = every.density[np.isfinite(every.density)]
    assert density.min() >= 0
    assert density.max() <= 2e5
    mineral = every.stock_30[~every.organic & np.isfinite(every.stock_30)]
    assert mineral.max() <= 30_000
    # to 1 m there is at least as much as to 30 cm, except where a paper's two numbers disagree
    both = np.isfinite(every.stock_30) & np.isfinite(every.stock_100) & (every.dataset != "Sanderman")
    assert (every.stock_100[both] >= every.stock_30[both] - 1e-6).all()
    chosen = every.where(every.dataset == "Marsden")
    # the file's own stocks of the first plot, Mg ha-1: 40.4 in 0-15 cm
    assert chosen.density[chosen.owner == 0][0] * 0.15 == pytest.approx(4040, rel=0.02)


def test_real_pairs_have_two_histories(data_dir: Path) -> None:
    soils = sanderman(data_dir)
    assert soils is not None
    native = set(soils.pair[soils.history == "native"])
    assert len(native & set(soils.pair[soils.history == "agriculture"])) > 100


def test_counties_of_known_places(data_dir: Path, counties: Counties) -> None:
    # Ames (Story County), a farm at Mead (Saunders County), London, the Nevada desert
    joined = join(data_dir, counties, np.array([42.03, 41.17, 51.5, 39.5]), np.array([-93.62, -96.48, 0.0, -117.0]))
    assert joined.inside[:3].tolist() == [19169, 31155, -1]
    assert counties.fips[joined.row[:2]].tolist() == [19169, 31155]
    assert joined.row[2:].tolist() == [-1, -1]
    assert (joined.distance[:2] < REACH).all()
    story = joined.row[0]
    assert counties.values["mean_temperature"][story] == pytest.approx(9.0, abs=1.0)
    assert counties.values["corn_yield"][story] == pytest.approx(11.5, abs=1.5)
    total = sum(counties.values[n] for n in ("sand", "silt", "clay"))
    assert total == pytest.approx(np.full(len(counties.fips), 1000.0))


def test_kilometres_are_great_circles() -> None:
    there = kilometres(np.array([0.0]), np.array([0.0]), np.array([0.0]), np.array([180.0]))
    assert there[0] == pytest.approx(np.pi * 6371)
