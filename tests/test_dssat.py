"""Field experiments in DSSAT's files are read as they are meant, and become arrays that models learn from."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from fieldflux.app.crop.fieldcrops import american_soybean, maturity_group
from fieldflux.app.crop.fieldinputs import as_needed, field_inputs
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import SOYBEAN, interpolate
from fieldflux.models.processes.lintul5.season import simulate
from fieldflux.models.processes.lintul5.step import Variant
from fieldflux.tiles.measurements.dssat import read_fields
from fieldflux.tiles.measurements.dssattables import day, day_after, number, read_text
from fieldflux.tiles.measurements.tables import BadMeasurements
from hypothesis import given
from hypothesis import strategies as st

from .dssat_files import experiment, weather


def test_a_treatment_is_read_with_its_weather_soil_and_measurements(tmp_path: Path) -> None:
    experiment(tmp_path)
    fields = read_fields(tmp_path)
    assert [s.name for s in fields.seasons] == ["XXTS0101-1", "XXTS0101-2", "XXTS0101-3", "XXTS0101-4"]
    dry, wet, free, spoilt = fields.of("maize")
    assert str(dry.sowing) == "2001-04-30"
    assert str(dry.weather.days[0]) == "2001-04-25", "it begins with the measured soil water"
    assert str(free.weather.days[0]) == "2001-04-30", "and without it with the sowing"
    assert str(dry.flowering) == "2001-07-14"
    assert np.isnat(free.flowering)
    assert dry.place == "XXTS"
    assert dry.cultivar == "MADE UP ONE"
    assert dry.plants == 7.2
    assert dry.rows == pytest.approx(0.76)
    # kg ha-1 to g m-2; of 30 mm that reach the soil of 40; replicates averaged
    assert wet.irrigation.sum() == pytest.approx(30.0)
    assert (dry.nitrogen.sum(), wet.nitrogen.sum()) == pytest.approx((3.0, 15.0))
    first = 0.8 * 1800.0 / (1.0 + np.exp(47.0 / 14.0))
    assert dry.biomass.mean[0] == pytest.approx(0.5 * (first + 70.0), abs=0.05)
    assert (dry.biomass.count[0], dry.biomass.count[1]) == (2, 1)
    assert np.isnan(dry.biomass.spread[1])
    assert dry.biomass.day.size == 9, "a lone point is no measurement"
    assert (dry.irrigation_known, free.irrigation_known) == (True, False)
    assert (dry.damaged, spoilt.damaged) == (False, True)
    # the shelter keeps rain off for 20 days of the second treatment alone
    covered = (wet.weather.days >= wet.sowing + 40) & (wet.weather.days < wet.sowing + 60)
    assert wet.weather.precip[covered].sum() == 0.0
    assert dry.weather.precip[covered].sum() > 30.0
    assert wet.weather.precip[~covered].sum() == dry.weather.precip[~covered].sum()
    assert dry.weather.wind[0] == pytest.approx(2.0)
    assert np.isnan(dry.weather.vapour).all()
    assert any("Made up for a test" in note for note in dry.notes)


def test_layers_become_two_zones(tmp_path: Path) -> None:
    experiment(tmp_path)
    soil = read_fields(tmp_path).seasons[0].soil
    assert soil.wilting == pytest.approx((0.3 * 0.10 + 1.2 * 0.12) / 1.5)
    assert soil.capacity == pytest.approx((0.3 * 0.20 + 1.2 * 0.24) / 1.5)
    assert soil.depth == 1.5, "roots do not reach the layer without rooting"
    assert (soil.start, soil.start_below) == pytest.approx((1.0, 0.25))
    assert soil.n_mineral == pytest.approx(5.0 * 1.4 * 0.3 + 1.0 * 1.5 * 1.2)
    assert soil.n_organic == pytest.approx(1000.0 * 10.0 * 1.4 * 0.3 * 0.1 * 0.02)


def test_quirks_of_the_format() -> None:
    assert [str(day(w)) for w in ("99365", "00001", "2021060", "-99")] == [
        "1999-12-31",
        "2000-01-01",
        "2021-03-01",
        "NaT",
    ]
    assert np.isnan([number(w) for w in ("-99", "-99.0", ".", "", None)]).all()
    assert number("2981.") == 2981.0
    sown = np.datetime64("1983-11-30")
    assert str(day_after("048", sown)) == "1984-02-17"
    assert str(day_after("84048", sown)) == "1984-02-17"
    with pytest.raises(ValueError, match="'82o57' is no day"):
        day("82o57")


CELL = st.one_of(st.none(), st.integers(0, 9999), st.floats(0, 99).map(lambda v: round(v, 2)))


@given(rows=st.lists(st.lists(CELL, min_size=5, max_size=5), min_size=1, max_size=6), shift=st.integers(-1, 1))
def test_numbers_are_found_under_their_header_though_columns_are_off_by_one(
    rows: list[list[float | None]], shift: int
) -> None:
    names = ["CWAD", "LAID", "GWAD", "LWAD", "SWAD"]
    lines = ["*EXP", "@TRNO" + "".join(f"{name:>7s}" for name in names)]
    start = " " * (4 + shift) + "1"
    lines += [start + "".join(f"{'.' if v is None else v:>7}" for v in row) for row in rows]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "X.MZT"
        path.write_text("\n".join(lines) + "\n")
        (table,) = read_text(path).sections[0].tables
    found = [[number(row.get(name)) for name in names] for row in table.numbers()]
    for made, meant in zip(found, rows, strict=True):
        assert np.array_equal(made, [np.nan if v is None else v for v in meant], equal_nan=True)


def test_seasons_go_on_in_the_next_years_file_and_lost_days_are_told(tmp_path: Path) -> None:
    experiment(tmp_path, "wheat", sown=1289, days=260)
    season = read_fields(tmp_path).of("winter_wheat")[0]
    assert str(season.weather.days[-1])[:4] == "2002"
    assert np.isfinite(season.weather.tmin).all()
    assert str(season.maturity) == "2002-02-28"
    path = tmp_path / "crop" / "dssat" / "weather" / "XXTS0201.WTH"
    path.write_text(weather("XXTS", 2, 1, 365, lost=(30, 31)))
    season = read_fields(tmp_path).of("winter_wheat")[0]
    assert np.isnan(season.weather.tmin).sum() == 2
    assert any(note.startswith("2 of ") and "2002-01-30 to 2002-01-31" in note for note in season.notes)
    # what follows the lost days is not learned from, and that is told
    inputs = field_inputs([season])
    assert any("lie after the last day of weather" in note for note in inputs.notes)
    assert int((~torch.isnan(inputs.measured.biomass)).sum()) == int(
        (season.biomass.day < np.datetime64("2002-01-30")).sum()
    )


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    experiment(tmp_path)
    folder = tmp_path / "crop" / "dssat"
    (folder / "soil" / "XX.SOL").unlink()
    fields = read_fields(tmp_path)
    assert not fields.seasons
    assert ("maize", "XXTS0101-1: there is no soil XXTS000001 in the folder.") in fields.left_out
    (folder / "maize" / "XXTS0101.MZX").write_text("*EXP.DETAILS\n*TREATMENTS\n@N CU FL MP\n 1  1  1  1\n")
    with pytest.raises(BadMeasurements, match="names a cultivar, field or planting"):
        read_fields(tmp_path)
    (folder / "maize" / "XXTS0101.MZX").write_text("nothing")
    with pytest.raises(BadMeasurements, match="has no section"):
        read_fields(tmp_path)
    assert not read_fields(tmp_path / "empty").seasons


def test_the_same_plot_in_two_files_counts_once(tmp_path: Path) -> None:
    experiment(tmp_path)
    experiment(tmp_path, code="XXTS0102")
    fields = read_fields(tmp_path)
    assert len(fields.seasons) == 4
    told = [reason for _, reason in fields.left_out]
    assert "XXTS0102-2: its biomass is that of XXTS0101-2, the same plot in two files." in told


def test_inputs_are_what_the_process_model_takes(tmp_path: Path) -> None:
    experiment(tmp_path)
    inputs = field_inputs(read_fields(tmp_path).of("maize"))
    assert inputs.names == ("XXTS0101-1", "XXTS0101-2", "XXTS0101-3"), "the treatment with insects is left out"
    s = inputs.seasons
    assert s.sow.tolist() == [5.0, 5.0, 0.0]
    assert float(inputs.measured.biomass[1, 5 + 28]) == pytest.approx(1800.0 / (1.0 + np.exp(47.0 / 14.0)), abs=0.05)
    assert inputs.measured.flowering.tolist()[:2] == [80.0, 80.0]
    assert float(inputs.given["irrigation"][2].sum()) > 50.0, "watered as needed"
    grown = simulate(inputs.crop, s.weather, s.table, s.sow, rows=s.rows, variant=Variant(limits="nitrogen"))
    last = grown["biomass"][:, -1]
    assert bool(torch.isfinite(grown.outputs).all())
    assert float(last[1]) > float(last[0]), "nitrogen and water pay"
    # steps of five days from sowing: the 28th day after it is the nearest to the end of the sixth step
    assert float(s.biomass[1, 5]) == pytest.approx(float(inputs.measured.biomass[1, 33]))
    part = inputs.of(torch.tensor([2, 0]))
    assert part.names == ("XXTS0101-3", "XXTS0101-1")
    assert torch.equal(part.seasons.table[p_.START], s.table[p_.START][[2, 0]])
    with pytest.raises(ValueError, match="Seasons of one crop are expected"):
        field_inputs([])


def test_soybeans_answer_to_day_length_by_their_group() -> None:
    assert maturity_group("WILLIAMS-82", "") == 3.0
    assert maturity_group("KRUGER 2828", "97 KRUGR(MG2.7)") == 2.7
    assert maturity_group("COKER 6847 (7)", "") == 7.0
    assert maturity_group("SOMETHING", "") is None
    north, south = american_soybean(0.0), american_soybean(7.5)
    hours = 14.5
    assert interpolate(north.photoperiod, hours) > interpolate(south.photoperiod, hours) > 0.0
    assert interpolate(south.photoperiod, 12.0) == 1.0
    assert interpolate(south.photoperiod, 13.0) == pytest.approx(1.0 - 0.325 * (13.0 - 12.2))
    assert north.tsum1 == SOYBEAN.tsum1
    with pytest.raises(ValueError, match="must be between 0 and 8"):
        american_soybean(9.0)


def test_watering_as_needed_follows_evaporation() -> None:
    demand, rain = torch.full((40,), 5.0), torch.zeros(40)
    given = as_needed(demand, rain, 10)
    assert float(given[:10].sum()) == 0.0
    assert float(given.sum()) == pytest.approx(150.0, abs=30.0)
    assert float(as_needed(demand, rain + 6.0, 0).sum()) == 0.0


def test_the_real_experiments_are_all_there(data_dir: Path) -> None:
    fields = read_fields(data_dir)
    if not fields.seasons:
        pytest.skip(f"no field experiments under {data_dir}/crop/dssat")
    assert {s.place for s in fields.of("maize")} == {"Gainesville FL", "Ames IA", "Waipio HI"}
    assert len({s.place for s in fields.of("soybean")}) == 7
    assert {s.name[:4] for s in fields.of("winter_wheat")} == {"KSAS"}
    assert all(s.biomass.mean.max() < 3000.0 for s in fields.seasons)
    assert all(0.0 < s.soil.wilting < s.soil.capacity < s.soil.saturation < 0.7 for s in fields.seasons)
    assert all(maturity_group(s.cultivar, s.title) is not None for s in fields.of("soybean"))
