"""LINTUL5 against itself (balances, gradients, engines), torchcrop day by day, and pcse's LINTUL3."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from fieldflux.models.checkpoint import read_card
from fieldflux.models.processes.lintul5 import parameters as p_
from fieldflux.models.processes.lintul5.crops import (
    CROPS,
    MAIZE,
    SOYBEAN,
    WINTER_WHEAT,
    WINTER_WHEAT_AUTUMN,
    Crop,
    interpolate,
)
from fieldflux.models.processes.lintul5.season import Season, simulate
from fieldflux.models.processes.lintul5.step import DEAD_ROOT, OUTPUT, WATER, WATER_BELOW, Limits, Variant
from fieldflux.models.processes.lintul5.weather import Engine, prepare
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from .benchmarks import lintul5 as lintul5_speed
from .benchmarks import lintul5_gradients, lintul5_parity
from .benchmarks.carded import lines_of, table
from .benchmarks.lintul5_gradients import ours as gradients_of
from .benchmarks.lintul5_gradients import sowing
from .benchmarks.lintul5_parity import CASES, INSIDE, apart
from .conftest import ROOT
from .crop_weather import made_up

LATITUDE = 45.0
DOUBLE = torch.float64


def seasons(
    crop: Crop, cells: int, variant: Variant, engine: Engine = "compiled", days: int = 365
) -> tuple[Season, Tensor]:
    """Each cell with weather of its own; the parameters' table with them."""
    weather = prepare(crop, latitude=LATITUDE, engine=engine, **made_up(cells, days))  # type: ignore[arg-type]
    table = p_.table(crop, cells, {"n_organic": 6.0, "n_mineral": 3.0}, dtype=DOUBLE).requires_grad_()
    return simulate(crop, weather, table, sowing(crop), variant=variant, engine=engine), table


@pytest.mark.parametrize(("crop", "mode"), [(MAIZE, "smooth"), (WINTER_WHEAT_AUTUMN, "hard")])
def test_compiled_and_torch_agree_with_gradients(crop: Crop, mode: str) -> None:
    variant = Variant(mode, "nitrogen")  # type: ignore[arg-type]
    ours, table = seasons(crop, 5, variant, days=180)
    plain, twin = seasons(crop, 5, variant, engine="torch", days=180)
    assert torch.allclose(ours.outputs, plain.outputs, rtol=1e-9, atol=1e-9)
    weight = torch.randn(ours.outputs.shape, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    (a,) = torch.autograd.grad((ours.outputs * weight).sum(), table)
    (b,) = torch.autograd.grad((plain.outputs * weight).sum(), twin)
    crop_rows = slice(0, len(p_.LEARNED))  # a soil at field capacity sits on a kink, where rounding chooses the side
    assert torch.allclose(a[crop_rows], b[crop_rows], rtol=1e-6, atol=1e-8 * float(b[crop_rows].abs().max()))
    assert bool((a[crop_rows].abs().sum(1) > 0).sum() >= 9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_season_on_a_graphics_processor_is_that_of_the_processor() -> None:
    results = []
    for device in ("cpu", "cuda"):
        made = {name: value.to(device) for name, value in made_up(7, 180).items()}
        weather = prepare(MAIZE, latitude=LATITUDE, **made)  # type: ignore[arg-type]
        table = p_.table(MAIZE, 7, {"n_organic": 6.0}, dtype=DOUBLE).to(device).requires_grad_()
        season = simulate(MAIZE, weather, table, sowing(MAIZE), variant=Variant("smooth", "nitrogen"))
        (slope,) = torch.autograd.grad(season["grain"][:, -1].sum(), table)
        assert season.outputs.device.type == device
        results.append((season.outputs.detach().cpu(), slope.cpu()))
    (a, da), (b, db) = results
    assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)
    crop_rows = slice(0, len(p_.LEARNED))
    assert torch.allclose(da[crop_rows], db[crop_rows], rtol=1e-6, atol=1e-8 * float(db[crop_rows].abs().max()))


@settings(max_examples=12, deadline=None)
@given(
    place=st.integers(0, 3), limits=st.sampled_from(["potential", "water", "nitrogen"]), seed=st.integers(0, 10**6),
    ksub=st.floats(1.0, 40.0), wilting=st.floats(0.08, 0.2), room=st.floats(0.05, 0.2), depth=st.floats(0.4, 2.0),
    runoff=st.floats(0.0, 0.3),
)  # fmt: skip
def test_water_and_dry_matter_balance(
    place: int, limits: Limits, seed: int, ksub: float, wilting: float, room: float, depth: float, runoff: float
) -> None:
    crop = CROPS[place]
    given_weather = made_up(1, seed=seed)
    weather = prepare(crop, latitude=LATITUDE, **given_weather)  # type: ignore[arg-type]
    soil = {"ksub": ksub, "wilting": wilting, "air_dry": 0.5 * wilting, "capacity": wilting + room,
            "saturation": wilting + room + 0.1, "rdmso": depth, "runoff_share": runoff}  # fmt: skip
    table = p_.table(crop, 1, soil, dtype=DOUBLE)
    sow = sowing(crop)
    once = simulate(crop, weather, table, sow, variant=Variant("smooth", limits))
    before = simulate(crop, replace_days(weather.columns, weather, 1), table, sow, variant=Variant("smooth", limits))
    stored = once.state[WATER] + once.state[WATER_BELOW] - before.state[WATER] - before.state[WATER_BELOW]
    left = sum(once[name][:, 1:].sum(1) for name in ("transpiration", "evaporation", "runoff", "drainage"))
    assert torch.allclose(given_weather["rain"][:, 1:].sum(1) - left, stored, atol=1e-6)
    mass = once["biomass"][:, -1] + once["root"][:, -1] + once["dead"][:, -1] + once.state[DEAD_ROOT]
    assert torch.allclose(once["growth"].sum(1) + crop.seed, mass, atol=1e-7)
    stage = once["stage"][0]
    assert bool((stage.diff() >= 0.0).all())
    assert bool((once["biomass"] >= 0.0).all())
    assert float(once["depth"].max()) <= min(crop.deepest, depth) + 1e-9


def replace_days(columns: Tensor, weather: object, days: int):  # type: ignore[no-untyped-def]
    """The weather's first days."""
    return replace(weather, columns=columns[:, : days * weather.rows].contiguous(), days=days)  # type: ignore


def test_single_precision_is_enough() -> None:
    for crop in (MAIZE, SOYBEAN, WINTER_WHEAT):
        results = []
        for dtype in (DOUBLE, torch.float32):
            made = {name: value.to(dtype) for name, value in made_up(32).items()}
            weather = prepare(crop, latitude=LATITUDE, **made)  # type: ignore[arg-type]
            table = p_.table(crop, 32, dtype=dtype).requires_grad_()
            grain = simulate(crop, weather, table, sowing(crop))["grain"][:, -1]
            (slope,) = torch.autograd.grad(grain.sum(), table)
            results.append((grain.double(), slope[p_.RUE].double()))
        (a, da), (b, db) = results
        assert float(((a - b) / a).abs().median()) < 2e-5
        assert float(((a - b) / a).abs().max()) < 2e-3
        assert float(((da - db) / da).abs().median()) < 1e-4


def test_a_cell_does_not_depend_on_the_others() -> None:
    weather = prepare(MAIZE, latitude=LATITUDE, **made_up(3))  # type: ignore[arg-type]
    many = p_.table(MAIZE, 41, {"rue_factor": torch.linspace(0.6, 1.4, 41, dtype=DOUBLE)}, dtype=DOUBLE)
    rows = torch.arange(41) % 3
    together = simulate(MAIZE, weather, many, 110, rows=rows).outputs
    for cell in (0, 17, 40):
        alone = simulate(MAIZE, weather, many[:, cell : cell + 1], 110, rows=rows[cell : cell + 1]).outputs
        assert torch.equal(alone[:, 0], together[:, cell])


def test_a_season_goes_on_from_its_state() -> None:
    made = made_up(2)
    weather = prepare(MAIZE, latitude=LATITUDE, **made)  # type: ignore[arg-type]
    table = p_.table(MAIZE, 2, dtype=DOUBLE)
    whole = simulate(MAIZE, weather, table, 110)
    cut = 200
    first = replace_days(weather.columns, weather, cut)
    rest = replace(weather, columns=weather.columns[:, cut * 2 :].contiguous(), days=365 - cut)
    early = simulate(MAIZE, first, table, 110)
    late = simulate(MAIZE, rest, table, 110 - cut, state=early.state)
    assert torch.allclose(torch.cat([early.outputs, late.outputs], dim=2), whole.outputs, rtol=1e-12, atol=1e-12)


def test_missing_weather_comes_out_missing_and_wrong_input_is_refused() -> None:
    made = made_up(2)
    made["radiation"][1, 200] = torch.nan
    weather = prepare(MAIZE, latitude=LATITUDE, **made)  # type: ignore[arg-type]
    table = p_.table(MAIZE, 2, dtype=DOUBLE)
    out = simulate(MAIZE, weather, table, 110, outputs=("grain",))["grain"]
    assert bool(out[0].isfinite().all())
    assert bool(out[1].isnan().all())
    with pytest.raises(ValueError, match="has no output 'yield'"):
        simulate(MAIZE, weather, table, 110, outputs=("yield",))
    with pytest.raises(ValueError, match="the weather on cpu: move one of them"):
        simulate(MAIZE, weather, table.to("meta"), 110)
    with pytest.raises(ValueError, match="say which row"):
        simulate(MAIZE, weather, table[:, :1], 110)
    with pytest.raises(ValueError, match="no parameter 'tsum'"):
        p_.table(MAIZE, 2, {"tsum": 1.0})
    with pytest.raises(ValueError, match="add up to 1"):
        replace(MAIZE, to_grain=((0.0, 0.1),))


@pytest.mark.parametrize("crop", [MAIZE, SOYBEAN, WINTER_WHEAT], ids=lambda crop: crop.name)
def test_gradients_of_a_season_are_those_of_finite_differences(crop: Crop) -> None:
    names = [parameter.name for parameter in p_.LEARNED]
    for name, found in gradients_of(crop, "smooth", 64, 9, names).items():
        # one soybean in a dry spring reaches water or does not, by a minute of emergence: no gradient tells that
        assert int(found.tips.sum()) == (1 if (crop, name) == (SOYBEAN, "tsumem") else 0)
        assert found.without_tips().together > 0.998, f"{name}: {found.together:.4f}"
        assert found.off < 0.06, f"{name}: {found.off:.1e}"


def test_hard_switches_hide_the_date_of_emergence() -> None:
    hard = gradients_of(MAIZE, "hard", 16, 5, ["tsumem", "tsum1"])
    assert bool((hard["tsumem"].gradient == 0.0).all())
    assert bool((hard["tsumem"].difference != 0.0).any())
    assert hard["tsum1"].together < 0.9


@pytest.mark.parametrize(("crop", "limits"), CASES, ids=lambda given: getattr(given, "name", given))
def test_days_are_those_of_torchcrop(crop: Crop, limits: Limits) -> None:
    pytest.importorskip("torchcrop", reason="torchcrop comes with the extra `peers`")
    found = apart(crop, limits, 2)
    assert float(found.pop(INSIDE).max()) < 0.03
    worst = {name: float(differences.max()) for name, differences in found.items()}
    assert max(worst.values()) < 1e-6, worst


@pytest.mark.parametrize("benchmark", [lintul5_parity, lintul5_gradients, lintul5_speed], ids=lambda of: of.NAME)
def test_the_card_says_what_the_tables_say(benchmark: ModuleType) -> None:
    folder = ROOT / "models" / "checkpoints" / "hybrid-crop" / "1"
    said = [s for s in read_card(folder).scores if s.split.startswith(f"python -m {benchmark.__name__}:")]
    assert said
    assert said == benchmark.scores_of(lines_of(table(folder, benchmark.NAME)))


def test_a_season_is_that_of_lintul3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where pcse puts files when it is imported
    pcse = pytest.importorskip("pcse", reason="pcse comes with the extra `peers`")
    import yaml
    from pcse.base import ParameterProvider
    from pcse.engine import Engine as PcseEngine
    from pcse.input import CABOWeatherDataProvider, PCSEFileReader

    data = Path(pcse.__file__).parent / "tests" / "test_data"
    files = {part: PCSEFileReader(str(data / f"lintul3_springwheat.{part}")) for part in ("soil", "site", "crop")}
    wheat = dict(files["crop"])
    for name in ("NLUE", "NPART", "NSLA", "NLAI", "RDRNS"):
        wheat[name] = 0.0
    calendar = yaml.safe_load((data / "lintul3_springwheat.agro").read_text())["AgroManagement"]
    for event in calendar[0][datetime.date(1997, 1, 1)]["TimedEvents"][0]["events_table"]:
        for applied in event.values():
            applied["amount"] = 500.0
    days = CABOWeatherDataProvider("NL1", str(data), ETmodel="P")
    model = PcseEngine(
        ParameterProvider(sitedata=files["site"], soildata=files["soil"], cropdata=wheat), days,
        agromanagement=calendar, config="Lintul3.conf",
    )  # fmt: skip
    model.run(days=300)
    theirs = {row["day"]: row for row in model.get_output() if row["WSO"] is not None}

    def table(name: str) -> tuple[tuple[float, float], ...]:
        flat = wheat[name]
        return tuple(zip(flat[::2], flat[1::2], strict=True))

    grid = sorted({*(round(0.01 * i, 2) for i in range(102)), 2.0})  # shares of the shoot, not of the whole plant
    shoot = {
        part: tuple((x, interpolate(table(name), x) / (1.0 - interpolate(table("FRTTB"), x))) for x in grid)
        for part, name in (("to_leaf", "FLVTB"), ("to_stem", "FSTTB"), ("to_grain", "FSOTB"))
    }
    free = ((0.0, 1.0),)
    crop = replace(
        WINTER_WHEAT, name="lintul3", tsumem=0.0, tsum1=wheat["TSUM1"], tsum2=wheat["TSUM2"],
        rue=((0.0, wheat["LUE"]),),
        development=((0.0, 0.0), (50.0, 50.0)), by_day_temperature=free, by_least_temperature=free, by_co2=free,
        leaf_area=((0.0, wheat["SLAC"]),), to_root=table("FRTTB"), **shoot, seed=6.0, juvenile=wheat["RGRL"],
        late_death=0.0, laii=0.0,
    )  # fmt: skip
    start = datetime.date(1997, 3, 30)
    dates = [start + datetime.timedelta(days=i) for i in range((max(theirs) - start).days + 1)]
    records = [days(date) for date in dates]

    def column(values: list[float]) -> Tensor:
        return torch.tensor([values], dtype=DOUBLE)

    cold = [0.0] + [1.0] * (len(records) - 1)  # nothing happens on the eve of emergence
    weather = prepare(
        crop, t_min=column([r.TMIN * c for r, c in zip(records, cold, strict=True)]),
        t_max=column([r.TMAX * c for r, c in zip(records, cold, strict=True)]),
        radiation=column([r.IRRAD * 1e-6 for r in records]), rain=column([10.0 * r.RAIN for r in records]),
        latitude=records[0].LAT, day_of_year=torch.tensor([d.timetuple().tm_yday for d in dates]),
    )  # fmt: skip
    ours = simulate(crop, weather, p_.table(crop, 1, dtype=DOUBLE), 0, variant=Variant("hard", "potential"))
    # a row of theirs is the state in the morning; the first has no sum yet
    lines = [(i, theirs[date]) for i, date in enumerate(dates[1:]) if date in theirs][1:]
    before = [(i, row) for i, row in lines if row["DVS"] < 1.0]
    assert len(before) > 50
    for i, row in before:
        assert float(ours["lai"][0, i]) == pytest.approx(row["LAI"], rel=1e-4)
        total = float(ours["biomass"][0, i] + ours["dead"][0, i])
        assert total == pytest.approx(row["TAGBM"], rel=1e-4, abs=1e-3)
    # at flowering LINTUL3 loses the rest of the day's warmth and LINTUL5 does not: a hundredth of the season
    last, end = lines[-1]
    total = float(ours["biomass"][0, last] + ours["dead"][0, last])
    assert end["TAGBM"] == pytest.approx(1692.72, abs=0.1)
    assert total == pytest.approx(end["TAGBM"], rel=0.015)
    assert float(ours["grain"][0, last]) == pytest.approx(end["WSO"], rel=0.03)


def test_every_output_is_named_once() -> None:
    assert len(set(OUTPUT)) == len(OUTPUT)
    assert len(set(p_.NAMES)) == p_.COUNT
