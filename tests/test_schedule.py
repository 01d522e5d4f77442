"""DayCent schedules and soil layers, read by hand-written examples and against the files' own lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from fieldflux.tiles.measurements.schedule import NotASeason, nitrogen, read_layers, read_schedule, seasons
from fieldflux.tiles.measurements.tables import BadMeasurements

SCHEDULE = """1990          Starting year
1995          Last year
Here.100      Site file name
C6            Initial crop

Year Month Option
1            Block # maize and soybean
1993         Last year
2            Repeats # years
1990         Output starting year
F            Weather choice
here.wth
1  100  CULT  K        # Moldboard plow
1  120  FERT  (10.5N,1.0F)
1  120  CROP  C6
1  121  PLTM
1  290  LAST
1  290  HARV  G75S
1  320  CULT  I
#1  330  CULT  K
2  140  CROP  SYBN
2  140  PLTM
2  200  IRIG  (3C)
2  280  HARV  G
-999 -999 X
2            Block # no-till
1995         Last year
1            Repeats # years
1994         Output starting year
C            Weather choice
1  110  CULT  NOTILL
1  110  CROP  C1
1  285  HARV  SIL
-999 -999 X
"""


@pytest.fixture
def schedule(tmp_path: Path) -> Path:
    path = tmp_path / "here.sch"
    path.write_text(SCHEDULE)
    return path


def test_blocks_are_rolled_out_over_the_calendar(schedule: Path) -> None:
    found = read_schedule(schedule)
    assert [(o.year, o.doy, o.what) for o in found if o.event == "HARV"] == [
        (1990, 290, "G75S"), (1991, 280, "G"), (1992, 290, "G75S"), (1993, 280, "G"), (1994, 285, "SIL"),
        (1995, 285, "SIL"),
    ]  # fmt: skip
    assert not [o for o in found if o.doy == 330]


def test_operations_become_seasons(schedule: Path) -> None:
    operations = read_schedule(schedule)
    found = seasons(operations, range(1990, 1996))
    maize, soybean, silage = found[1990], found[1991], found[1994]
    assert (maize.crop, maize.sowing_doy, maize.harvest_doy) == (1.0, 121.0, 290.0)
    assert (maize.tillage, maize.residue_removed, maize.irrigated) == (1.0, 0.75, 0.0)
    # the disk of the autumn before is the soybean's
    assert (soybean.crop, soybean.sowing_doy, soybean.harvest_doy) == (5.0, 140.0, 280.0)
    assert (soybean.tillage, soybean.residue_removed, soybean.irrigated) == (0.5, 0.0, 1.0)
    assert (silage.sowing_doy, silage.tillage, silage.residue_removed) == (110.0, 0.0, 0.95)
    assert nitrogen(operations, range(1990, 1994)) == pytest.approx(21.0 / 4)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2  140  CROP  SORG", "SORG in 1991 is not a crop"),
        ("2  140  OMAD  M", "OMAD M in 1991"),
        ("2  141  CULT  X", "tillage 'X' of 1991"),
        ("2  200  HARV  G", "1991 has two harvests"),
        ("1  291  HARV  Q", "two harvests|harvest 'Q'"),
    ],
)
def test_what_the_inputs_cannot_say_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "here.sch"
    path.write_text(SCHEDULE.replace("2  200  IRIG  (3C)", line))
    with pytest.raises(NotASeason, match=reason):
        seasons(read_schedule(path), range(1990, 1994))


def test_years_without_a_harvest_are_counted(schedule: Path) -> None:
    with pytest.raises(NotASeason, match=r"1996 has no harvest \(2 such years\)"):
        seasons(read_schedule(schedule), range(1994, 1998))


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "no field operation"), ("1  1  CROP  C6\n-999 -999 X\n", "starting year"), ("x Starting year\n", "a year")],
)
def test_a_file_that_is_no_schedule_says_so(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "bad.sch"
    path.write_text(text)
    with pytest.raises(BadMeasurements, match=word):
        read_schedule(path)
    with pytest.raises(BadMeasurements, match="cannot be read"):
        read_schedule(tmp_path / "none.sch")


LAYER = "{top} {bottom} {density} {fc} 0.15 0.8 0.01 0.30 0.20 0.01 0.13 0.001 6.5\n"


def test_layers_are_averaged_by_thickness_to_30_cm(tmp_path: Path) -> None:
    path = tmp_path / "soils.in"
    path.write_text(
        LAYER.format(top=0, bottom=10, density=1.0, fc=0.30)
        + LAYER.format(top=10, bottom=40, density=1.3, fc=0.36)
        + LAYER.format(top=40, bottom=90, density=9.0, fc=0.99)
    )
    found = read_layers(path)
    assert found["bulk_density"] == pytest.approx((1.0 + 2 * 1.3) / 3)
    assert found["field_capacity"] == pytest.approx(0.34)
    assert found["ksat"] == pytest.approx(36.0)  # 0.001 cm s-1
    assert (found["sand"], found["clay"], found["silt"]) == pytest.approx((300.0, 200.0, 500.0))
    path.write_text("1 2 3\n")
    with pytest.raises(BadMeasurements, match="13 columns"):
        read_layers(path)


def test_a_real_schedule_has_the_crops_of_its_lines(data_dir: Path) -> None:
    path = data_dir / "soc/lte_management/Wooster/wooster_cb_ct.sch"
    if not path.is_file():
        pytest.skip("no long-term experiments in this folder")
    found = seasons(read_schedule(path), range(1962, 1993))
    assert [found[y].crop for y in (1962, 1963, 1992)] == [5.0, 1.0, 5.0]
    assert (found[1962].sowing_doy, found[1962].harvest_doy, found[1962].tillage) == (155.0, 305.0, 1.0)
    assert (found[1963].sowing_doy, found[1963].harvest_doy) == (127.0, 289.0)
    soil = read_layers(path.parent / "soils.in")
    assert soil["bulk_density"] == pytest.approx(1.23)
    assert soil["field_capacity"] == pytest.approx((20 * 0.32952 + 10 * 0.33286) / 30)
