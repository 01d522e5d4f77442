"""Splits, climate in the soil, litter, floors and limits of the soil-carbon data."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from fieldflux.app.binn.climate import monthly_air
from fieldflux.app.binn.floors import boosting, floors, mean, network, problem_of, ridge, write_floors
from fieldflux.app.binn.limits import semivariance, within_groups
from fieldflux.app.binn.sites import SoilTable, county_air, forcing_of, soil_table
from fieldflux.app.binn.splits import Split, block_of, blocks, states_out
from fieldflux.models.processes.soilcarbon.climate import (
    WILTING,
    Air,
    retention,
    soil_temperature,
    soil_water,
    water_scalar,
)
from fieldflux.models.processes.soilcarbon.litter import litter, maize_return, miami
from fieldflux.tiles.measurements.experimentweather import read_places, read_stations, station_of
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def table(data_dir: Path) -> SoilTable:
    found = soil_table(data_dir, ("RaCA", "DSP4SH"))
    assert found is not None
    return found


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_no_block_is_in_two_folds(seed: int, folds: int) -> None:
    draw = np.random.default_rng(seed)
    lat, lon = draw.uniform(30, 48, 300), draw.uniform(-110, -80, 300)
    split = blocks(lat, lon, seed, folds)
    tested = np.zeros(300, int)
    for train, test in split.parts():
        assert not set(block_of(lat, lon)[train]) & set(block_of(lat, lon)[test])
        assert not (train & test).any()
        tested += test
    assert (tested == 1).all()


def test_blocks_are_two_degrees_and_seeded() -> None:
    lat, lon = np.array([40.1, 41.9, 42.1, 40.1]), np.array([-93.9, -92.1, -93.9, -94.1])
    group = block_of(lat, lon)
    assert group[0] == group[1]
    assert len(set(group.tolist())) == 3
    assert np.array_equal(blocks(lat, lon, 3, 2).fold, blocks(lat, lon, 3, 2).fold)


def test_states_are_left_out_whole() -> None:
    state = np.array([19, 17, 19, 31, 17])
    assert states_out(state).folds == 3
    assert sorted(np.bincount(states_out(state, 0, 2).fold).tolist()) in ([1, 4], [2, 3])
    with pytest.raises(ValueError, match="divides a group"):
        Split("bad", np.array([0, 1]), np.array([7, 7]), 2)
    with pytest.raises(ValueError, match="cannot fill 5 folds"):
        states_out(state, 0, 5)


ONE = np.array([1.0])


def test_months_keep_the_years_statistics() -> None:
    air = monthly_air(42 * ONE, 9 * ONE, 22.5 * ONE, -5.4 * ONE, 11 * ONE, 900 * ONE, 330 * ONE, 90 * ONE)
    assert air.precipitation.sum() == pytest.approx(900)
    assert air.precipitation[0, 5:8].sum() == pytest.approx(330)
    assert air.precipitation[0, [11, 0, 1]].sum() == pytest.approx(90)
    assert air.temperature.mean() == pytest.approx(9, abs=0.2)
    assert air.temperature[0, 5:8].mean() == pytest.approx(22.5, abs=0.6)
    assert air.temperature[0].argmax() == 6
    assert 600 < air.demand.sum() < 1200


def test_the_years_wave_fades_and_lags_with_depth() -> None:
    depth = np.array([0.0, 1.0, 8.0])
    wave = soil_temperature(9 * ONE, 22.5 * ONE, -5.4 * ONE, depth)[0]
    ranges = np.ptp(wave, axis=0)
    # damping depth: sqrt(2 x 5e-7 / (2 pi / 365 d)) = 2.24 m
    assert ranges[1] / ranges[0] == pytest.approx(np.exp(-1 / 2.24), abs=0.03)
    assert ranges[2] < 0.05 * ranges[0]
    assert wave[:, 1].argmax() >= wave[:, 0].argmax()
    assert wave[:, 2].mean() == pytest.approx(10.0, abs=0.1)


def test_water_stays_between_wilting_and_field_capacity() -> None:
    soil = retention(np.array([400.0, 400.0]), np.array([220.0, 220.0]))
    thickness = np.array([0.02, 0.1, 0.3, 0.6])
    warm = np.full((2, 12), 20.0)
    rain = np.vstack([np.full(12, 200.0), np.full(12, 5.0)])
    found = soil_water(Air(warm, rain, np.full((2, 12), 100.0)), soil, thickness)
    assert (found >= soil.content(WILTING)[:, None, None] - 1e-9).all()
    assert (found <= soil.content(-33.0)[:, None, None] + 1e-9).all()
    scalar = water_scalar(soil.potential(found))
    assert (scalar[0].mean(0) > scalar[1].mean(0)).all()
    # ln(2000/33) / ln(2000/2)
    assert scalar.max() <= 0.5942 + 1e-3
    assert water_scalar(np.array([-2.0, -2000.0, -9000.0])).tolist() == [1.0, 0.0, 0.0]


def test_litter_of_maize_and_of_grass() -> None:
    use = np.array(["cropland", "cropland", "forest", "pasture"])
    pools, origin = litter(use, np.full(4, 500.0), np.array([10.0, np.nan, 10.0, 10.0]))
    assert pools[0].sum() == pytest.approx(maize_return(np.array([10.0]))[0])
    assert origin.tolist() == ["county maize yield", *["Miami model"] * 3]
    assert pools[2] == pytest.approx([150, 87.5, 175, 87.5])
    assert pools[3].sum() == pytest.approx(400)
    assert miami(np.array([30.0]), np.array([100.0]))[0] == pytest.approx(0.45 * 3000 * (1 - np.exp(-0.0664)))


def test_real_forcing_is_what_the_model_takes(table: SoilTable) -> None:
    some = table.where(np.arange(len(table)) % 20 == 0)
    forcing = forcing_of(some)
    tensors = forcing.tensors()
    tensors.check()
    assert tensors.cells == len(some)
    # a pit that ends at 40 cm ends in the layer 0.32-0.48 m or the one above
    shallow = np.abs(some.soils.soil_depth - 0.4) < 0.05
    assert set(forcing.bedrock[shallow].tolist()) <= {4, 5}
    assert (forcing.bedrock[~forcing.bedrock_known] == 19).all()


def test_real_months_agree_with_weather_stations(data_dir: Path, table: SoilTable) -> None:
    from fieldflux.tiles.measurements.counties import join

    stations, places = read_stations(data_dir), read_places(data_dir)
    air, errors = county_air(table.counties), []
    for name, (lat, lon) in places.items():
        station = station_of(name, stations)
        row = join(data_dir, table.counties, np.array([lat]), np.array([lon])).row[0] if station else -1
        if station is None or row < 0:
            continue
        month = (station.start + np.arange(len(station.tmax))).astype("datetime64[M]").astype(int) % 12
        days = (station.tmax + station.tmin) / 2
        errors.append(air.temperature[row] - [np.nanmean(days[month == m]) for m in range(12)])
    assert len(errors) > 5
    assert np.sqrt(np.square(errors).mean()) < 2.0
    assert np.abs(np.mean(errors)) < 1.0


def test_real_table_has_no_gap_and_no_coordinates(table: SoilTable) -> None:
    assert np.isfinite(table.x).all()
    assert not {"latitude", "longitude", "map_carbon"} & set(table.names)
    assert len(table.mineral()) < len(table)
    assert table.own.mean() > 0.7
    assert (table.distance < 200).all()
    profiles = problem_of(table, "density")
    assert profiles.x.shape[1] == len(table.names) + 2
    with pytest.raises(ValueError, match="must be one of"):
        problem_of(table, "colour")


def test_real_floors_and_their_table(table: SoilTable, tmp_path: Path) -> None:
    soils = table.mineral()
    kept = soils.where((soils.soils.dataset == "RaCA") & (soils.soils.land_use == "cropland"))
    split = blocks(kept.soils.latitude, kept.soils.longitude, 0, 3)
    found = floors(problem_of(kept, "stock_30"), split, {"mean": mean, "ridge": ridge})
    assert found[0].log.nse < 0.02
    assert found[1].log.nse > found[0].log.nse + 0.05
    # smearing takes the bias of logarithms away
    assert abs(found[1].plain.bias) < 0.05 * found[1].plain.observed
    write_floors(tmp_path / "floors.csv", found)
    rows = list(csv.DictReader((tmp_path / "floors.csv").open()))
    assert [row["method"] for row in rows] == ["mean", "ridge"]
    assert float(rows[1]["log_r2"]) == pytest.approx(found[1].log.nse, rel=1e-3)


@pytest.mark.parametrize("method", [boosting, network])
def test_methods_learn_what_a_line_cannot(method) -> None:  # type: ignore[no-untyped-def]
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 3))
    y = np.abs(x[:, 0]) + 0.05 * draw.normal(size=600)
    curved = method(x[:500], y[:500], x[500:], 0)
    straight = ridge(x[:500], y[:500], x[500:], 0)
    assert np.square(curved - y[500:]).mean() < 0.3 * np.square(straight - y[500:]).mean()


def test_limits_recover_a_made_up_world() -> None:
    draw = np.random.default_rng(1)
    group = np.repeat(np.arange(400), 4)
    values = draw.normal(size=400)[group] + 2.0 * draw.normal(size=1600)
    found = within_groups(values, group)
    assert found.within == pytest.approx(4.0, rel=0.1)
    assert found.ceiling == pytest.approx(0.2, abs=0.06)
    lat = 40 + draw.uniform(0, 1, 500)
    pure = semivariance(draw.normal(size=500), lat, np.full(500, -93.0), np.full(500, "cropland"), [0, 5, 20])
    assert all(abs(half - 1.0) < 0.25 and pairs > 500 for _, half, pairs in pure)
