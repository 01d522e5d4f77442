"""Readers of measurements, against the raw lines of their files."""

from __future__ import annotations

import csv
import gzip
import math
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from fieldflux.tiles.measurements import BadMeasurements, Tower, read_towers, tower_forcing, with_monthly_rain


def lines(path: Path) -> list[dict[str, str]]:
    """Raw rows of a gzipped CSV, through no reader of the project."""
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def towers(data_dir: Path) -> dict[str, Tower]:
    return {tower.site: tower for tower in read_towers(data_dir)}


def at(tower: Tower, day: date) -> int:
    return (day - tower.start).days


def test_a_day_of_mead_is_its_raw_line_in_our_units(towers: dict[str, Tower], data_dir: Path) -> None:
    raw = lines(data_dir / "flux/us-ne_daily_flux_and_forcing_2001_2011.csv.gz")
    row = next(r for r in raw if r["site"] == "US-Ne3" and r["date"] == "2007-07-15")
    tower = towers["US-Ne3"]
    day = at(tower, date(2007, 7, 15))
    assert tower.forcing["tmean"][day] == float(row["TA_mean"])
    assert tower.forcing["tmin"][day] == float(row["TA_min"])
    assert tower.forcing["vpd"][day] == pytest.approx(float(row["VPD_mean"]) / 10)
    assert tower.forcing["precip"][day] == float(row["precip_prism_mm"])
    assert tower.forcing["wind"][day] == float(row["wind_ms"])
    assert tower.observed["nee"][day] == float(row["NEE"])
    assert tower.observed["gpp"][day] == float(row["GPP_NT"])
    assert tower.observed["reco"][day] == pytest.approx(float(row["NEE"]) + float(row["GPP_NT"]))
    assert tower.good["nee"][day] == (float(row["NEE_QC"]) >= 0.8)


def test_mead_crops_dates_and_grain_are_those_of_its_management_files(towers: dict[str, Tower]) -> None:
    ne1, ne2, ne3 = (towers[f"US-Ne{i}"] for i in (1, 2, 3))
    assert ne1.annual["crop"].tolist() == [1.0] * 11
    assert ne2.annual["crop"].tolist() == [1, 5, 1, 5, 1, 5, 1, 5, 1, 1, 1]
    assert ne3.annual["crop"].tolist() == [1, 5, 1, 5, 1, 5, 1, 5, 1, 5, 1]
    assert (ne1.annual["irrigated"].tolist(), ne3.annual["irrigated"].tolist()) == ([1.0] * 11, [0.0] * 11)
    # 2004, a leap year: planted 3 May = day 124, harvested 15 October = day 289
    assert (ne1.annual["sowing_doy"][3], ne1.annual["harvest_doy"][3]) == (124.0, 289.0)
    # 2001: 13.51 t/ha of grain at 15.5 % water and 44.7 % carbon
    assert ne1.harvested["yield"][0] == pytest.approx(13.51e6 / 1e4 * (1 - 0.155) * 0.447)
    # Rain-fed soybean 2010: recorded, 4.14 t/ha at 13 % water; maize 2005 at Ne3: dates of Ne1, grain not recorded
    assert ne3.harvested["yield"][9] == pytest.approx(4.14 * 100 * 0.87 * 0.510)
    assert ne3.annual["sowing_doy"][4] == ne1.annual["sowing_doy"][4]
    assert math.isnan(ne3.harvested["yield"][4])


def test_years_that_the_data_note_drops_are_never_scored(towers: dict[str, Tower]) -> None:
    for site, dropped in (("US-Ne1", {2001}), ("US-Ne2", {2001, 2002}), ("US-Ne3", {2001})):
        tower = towers[site]
        scored = set(tower.year_of_day()[tower.good["nee"]].tolist())
        assert scored == set(range(2001, 2012)) - dropped


def test_missing_heat_fluxes_are_nan_and_present_ones_the_official_files(
    towers: dict[str, Tower], data_dir: Path
) -> None:
    raw = lines(data_dir / "flux/us-ne1_fluxnet2015_subset_daily_2001_2011.csv.gz")
    row = next(r for r in raw if r["TIMESTAMP"] == "20050714")
    tower = towers["US-Ne1"]
    day = at(tower, date(2005, 7, 14))
    assert tower.observed["le"][day] == float(row["LE_F_MDS"])
    assert tower.forcing["rnet"][day] == pytest.approx(float(row["NETRAD"]) * 86400 / 1e6)
    assert np.isnan(tower.forcing["rnet"][: at(tower, date(2001, 5, 30))]).all()
    assert "le" not in towers["US-Ne2"].observed
    assert np.isnan(tower.forcing["irrigation"]).all()


def test_half_hours_of_bouldin_belong_to_the_day_in_which_they_lie(towers: dict[str, Tower], data_dir: Path) -> None:
    tower = towers["US-Bi1"]
    assert tower.start == date(2018, 7, 1)
    flux = {r["TIMESTAMP_END"]: r for r in lines(data_dir / "flux/us-bi1_flux_halfhourly_2018_2021.csv.gz")}
    weather = {r["TIMESTAMP_END"]: r for r in lines(data_dir / "flux/us-bi1_forcing_halfhourly_2018_2021.csv.gz")}
    # A stamp is the end of its half hour: 10 May runs from 00:30 on 10 May to 00:00 on 11 May.
    first = datetime(2019, 5, 10, 0, 30)
    stamps = [str(first + timedelta(minutes=30 * i)) for i in range(48)]
    assert stamps[-1] == "2019-05-11 00:00:00"
    day = at(tower, date(2019, 5, 10))
    nee = sum(float(flux[s]["NEE_VUT_REF"]) for s in stamps) / 48
    assert tower.observed["nee"][day] == pytest.approx(nee * 1.0377504)
    assert tower.observed["le"][day] == pytest.approx(sum(float(flux[s]["LE_F_MDS"]) for s in stamps) / 48)
    temperatures = [float(weather[s]["TA_F"]) for s in stamps]
    vpd = [
        max(0.6108 * math.exp(17.27 * t / (t + 237.3)) - float(weather[s]["eair"]), 0.0)
        for t, s in zip(temperatures, stamps, strict=True)
    ]
    assert tower.forcing["vpd"][day] == pytest.approx(sum(vpd) / 48)
    assert (tower.forcing["tmin"][day], tower.forcing["tmax"][day]) == (min(temperatures), max(temperatures))
    assert tower.forcing["precip"][day] == pytest.approx(sum(float(flux[s]["P_F"]) for s in stamps))
    radiation = sum(float(weather[s]["SW_IN_F"]) for s in stamps) * 1800 / 1e6
    assert tower.forcing["srad"][day] == pytest.approx(radiation)
    # The first stamp, midnight of 1 July, ends 30 June: no day is made of it.
    assert np.isfinite(tower.observed["nee"]).all()
    assert "gpp" not in tower.observed


def test_every_tower_is_in_range_of_the_vocabulary_and_says_what_it_lacks(towers: dict[str, Tower]) -> None:
    from fieldflux.models.variables import VARIABLES

    assert len(towers) >= 19
    for tower in towers.values():
        for name, values in {**tower.forcing, **tower.annual}.items():
            known = VARIABLES[name]
            finite = values[np.isfinite(values)]
            assert ((finite >= known.low) & (finite <= known.high)).all(), (tower.site, name)
        for name, value in tower.static.items():
            assert VARIABLES[name].low <= value <= VARIABLES[name].high, (tower.site, name)
        assert (tower.forcing["tmin"] <= tower.forcing["tmax"]).all()
        assert tower.missing
        assert set(tower.good) == set(tower.observed)


def test_european_seasons_are_those_of_the_dated_operations(towers: dict[str, Tower]) -> None:
    lonzee = towers["BE-Lon"]
    year = {y: i for i, y in enumerate(lonzee.years)}
    # 2012: maize sown 14 May, harvested 13 October; 2005: wheat sown 14 October 2004, harvested 3 August
    assert lonzee.annual["crop"][year[2012]] == 1
    assert lonzee.annual["sowing_doy"][year[2012]] == date(2012, 5, 14).timetuple().tm_yday
    assert lonzee.annual["harvest_doy"][year[2012]] == date(2012, 10, 13).timetuple().tm_yday
    assert lonzee.annual["crop"][year[2005]] == 24
    assert lonzee.annual["sowing_doy"][year[2005]] == date(2004, 10, 14).timetuple().tm_yday
    assert lonzee.annual["harvest_doy"][year[2005]] == date(2005, 8, 3).timetuple().tm_yday
    # 2004: sugar beet, tubers only, 7.82 t C / ha
    assert lonzee.harvested["yield"][year[2004]] == pytest.approx(782.0)
    assert np.isnan(towers["US-ARM"].annual["crop"]).all()


def test_the_co2_table_agrees_with_the_monthly_files_own(towers: dict[str, Tower], data_dir: Path) -> None:
    rows = lines(data_dir / "flux/cropland_monthly_2001_2016.csv.gz")
    tower = towers["US-Ne1"]
    for y in (2001, 2006, 2011):
        theirs = np.mean([float(r["co2"]) for r in rows if r["site"] == "US-Ne1" and r["month"].startswith(str(y))])
        assert tower.forcing["co2"][at(tower, date(y, 7, 1))] == pytest.approx(theirs, abs=2.0)


def test_invented_rain_keeps_each_month_and_says_that_it_is_invented(towers: dict[str, Tower]) -> None:
    dry = towers["DE-Geb"]
    assert np.isnan(dry.forcing["precip"]).all()
    wet = with_monthly_rain(dry, seed=3)
    rain = wet.forcing["precip"]
    months = wet.dates().astype("datetime64[M]")
    assert dry.monthly_precip is not None
    for y, m in ((2003, 7), (2008, 2)):
        in_month = months == np.datetime64(f"{y}-{m:02d}")
        mean = dry.monthly_precip[y - dry.years[0], m - 1]
        assert rain[in_month].mean() == pytest.approx(mean)
    assert (rain >= 0).all()
    assert 0.2 < (rain > 0.1).mean() < 0.6
    assert any("invented" in note for note in wet.missing)
    assert np.array_equal(with_monthly_rain(dry, seed=3).forcing["precip"], rain)
    assert not np.array_equal(with_monthly_rain(dry, seed=4).forcing["precip"], rain)
    mead = towers["US-Ne1"]
    assert with_monthly_rain(mead) is mead


def test_forcing_of_a_tower_is_a_batch_of_one_cell(towers: dict[str, Tower]) -> None:
    tower = towers["US-Ne2"]
    own = tower_forcing(tower, range(2003, 2006))
    assert (own.cells, own.days, own.years, own.start) == (1, 365 + 366 + 365, (2003, 2004, 2005), date(2003, 1, 1))
    assert own.annual["crop"].tolist() == [[1, 5, 1]]
    assert own.gpp_given is None
    assert "irrigation" not in own.daily
    assert "rnet" not in own.daily
    given = tower_forcing(tower, range(2003, 2006), given_gpp=True)
    assert given.gpp_given is not None
    assert given.gpp_given.shape == (1, own.days)
    assert (given.gpp_given >= 0).all()
    i = at(tower, date(2005, 7, 20))
    assert given.gpp_given[0, i - at(tower, date(2003, 1, 1))] == np.float32(tower.observed["gpp"][i])
    with pytest.raises(ValueError, match="consecutive"):
        tower_forcing(tower, (2003, 2005))
    with pytest.raises(ValueError, match="has the years 2001 to 2011, but 2010 to 2012"):
        tower_forcing(tower, (2010, 2011, 2012))
    with pytest.raises(ValueError, match="no GPP"):
        tower_forcing(towers["US-Bi1"], given_gpp=True)


OWN_SITES = "site,latitude,longitude,clay,group\nHome,42.0,-93.6,250,Ames\n"
OWN_DAILY = (
    "site,date,tmean,tmin,tmax,precip,srad,vpd,wind,nee,nee_qc\n"
    "Home,2019-06-01,20,14,27,0,25,1.2,3,-5.5,1.0\n"
    "Home,2019-06-02,21,15,28,12,12,0.6,3,-2.5,0.4\n"
    "Home,2019-06-04,19,15,22,,,,,,\n"
)


def test_a_users_own_tower_is_read_from_three_tables(tmp_path: Path) -> None:
    flux = tmp_path / "flux"
    flux.mkdir()
    (flux / "own_sites.csv").write_text(OWN_SITES)
    (flux / "own_daily.csv").write_text(OWN_DAILY)
    (flux / "own_years.csv").write_text("site,year,crop,sowing_doy\nHome,2019,5,138\n")
    (tower,) = read_towers(tmp_path)
    assert (tower.site, tower.group, tower.start, tower.days) == ("Home", "Ames", date(2019, 6, 1), 4)
    assert tower.utc_offset == -6
    assert tower.observed["nee"][:2].tolist() == [-5.5, -2.5]
    assert tower.good["nee"].tolist() == [True, False, False, False]
    assert math.isnan(tower.forcing["tmean"][2])
    assert tower.static["clay"] == 250
    assert tower.annual["crop"].tolist() == [5]
    assert math.isnan(tower.annual["harvest_doy"][0])
    assert any("ksat" in note for note in tower.missing)


@pytest.mark.parametrize(
    ("daily", "sentence"),
    [
        (OWN_DAILY.replace("date,", "day,"), "has no column date"),
        (OWN_DAILY.replace("tmean", "Tair"), "no daily variable here: Tair"),
        (OWN_DAILY.replace("2019-06-02", "2 June"), "must hold dates such as 2004-05-31, but line 3 has '2 June'"),
        (OWN_DAILY.replace(",25,1.2", ",289,1.2"), "has 289, outside 0 to 45 MJ m-2 d-1. Check its unit"),
        (OWN_DAILY.replace("-2.5", "low"), "must hold numbers, but line 3 has 'low'"),
    ],
)
def test_a_bad_table_is_named_with_its_fault(tmp_path: Path, daily: str, sentence: str) -> None:
    (tmp_path / "flux").mkdir()
    (tmp_path / "flux/own_sites.csv").write_text(OWN_SITES)
    (tmp_path / "flux/own_daily.csv").write_text(daily)
    with pytest.raises(BadMeasurements, match=sentence):
        read_towers(tmp_path)


def test_a_folder_without_towers_has_none_and_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    assert read_towers(tmp_path) == []
    (tmp_path / "flux").mkdir()
    (tmp_path / "flux/own_daily.csv").write_text(OWN_DAILY)
    with pytest.raises(BadMeasurements, match="need both"):
        read_towers(tmp_path)
    (tmp_path / "flux/own_daily.csv").unlink()
    (tmp_path / "flux/fluxnet2015_cropland_daily.csv.gz").write_bytes(b"\x1f\x8b\x08 no gzip")
    with pytest.raises(BadMeasurements, match="cannot be read as CSV"):
        read_towers(tmp_path)


def test_county_yields_are_the_published_bushels(data_dir: Path) -> None:
    from fieldflux.models.crops import MAIZE
    from fieldflux.tiles.measurements import read_yields

    found = {y.crop: y for y in read_yields(data_dir, 17001)}
    assert set(found) >= {"maize", "soybean"}
    maize = found["maize"]
    raw = [r for r in lines(data_dir / "yield/us_county_yields.csv.gz") if r["fips"] == "17001" and r["crop"] == "corn"]
    row = next(r for r in raw if r["year"] == "2012")
    assert maize.t_ha[maize.year == 2012][0] == pytest.approx(float(row["yield_t_ha"]))
    # bushels per acre of the same year, through the crop's own conversion and back
    assert MAIZE.bu_ac(MAIZE.carbon_m2(float(row["yield_t_ha"]))) == pytest.approx(float(row["yield_bu_ac"]), abs=0.02)
    assert (np.diff(maize.year) > 0).all()
    assert read_yields(data_dir / "nowhere", 17001) == []


def test_yearly_sums_of_satellite_gpp(data_dir: Path) -> None:
    from fieldflux.tiles.measurements import read_county_gpp

    found = {g.crop: g for g in read_county_gpp(data_dir, 17001)}
    raw = lines(data_dir / "vegetation/slope_gpp_il_17001_17003_daily_2000_2020.csv.gz")
    by_hand = math.fsum(
        float(r["GPP_gC_m2_d"]) for r in raw if (r["fips"], r["crop"], r["year"]) == ("17001", "soybean", "2007")
    )
    soy = found["soybean"]
    assert soy.total[soy.year == 2007][0] == pytest.approx(by_hand)
    assert soy.year.tolist() == list(range(2000, 2021))


def test_soil_series_keep_each_treatment_apart_and_know_their_trend(data_dir: Path, tmp_path: Path) -> None:
    from fieldflux.tiles.measurements import read_soil_series

    series = {(s.site, s.treatment): s for s in read_soil_series(data_dir)}
    unfertilised = series["Broadbalk", "Broadbalk_0N"]
    assert (unfertilised.year[0], unfertilised.soc[0]) == (1843, 3568.0)
    assert (unfertilised.trend() or 0) < 0 < (series["Broadbalk", "Broadbalk_FYM1843"].trend() or 0)
    (tmp_path / "soc").mkdir()
    (tmp_path / "soc/lte_soc_timeseries.csv").write_text(
        "site,Year,treatment,soc_g_m2\nHere,2000,till,5000\nHere,2010,till,5100\nHere,2020,till,5200\n"
    )
    (mine,) = read_soil_series(tmp_path)
    assert mine.trend() == pytest.approx(10.0)
