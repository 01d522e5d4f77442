"""The files that measured soils come from, one reader each: a folder in, its soils out, None without the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .soilsites import DENSEST, GAP, HEAVIEST, LIGHTEST, SoilSites, carbon_density, is_organic, stock_to
from .tables import Array, BadMeasurements, find, numbers, read_table

if TYPE_CHECKING:
    import pandas as pd

RACA = "soc/raca_soc_pedons.csv.gz"
DSP4SH = "soc/dsp4sh_soc.csv.gz"
SODAH = "soc/sodah_cultivated.csv.gz"
SANDERMAN = "soc/sanderman_native_vs_ag_soc.xlsx"
MARSDEN = "soc/marsden_ames_soil_2014.csv"
MOLLISOLS = "soc/midwest_mollisol_soilc_compilation.csv"

MG_HA = 100.0  # gC m-2

_RACA_USE = {"C": "cropland", "F": "forest", "P": "pasture", "R": "grassland", "W": "wetland", "X": "reserve"}
_DSP_USE = {
    "CROP": "cropland", "FORAGE": "pasture", "GRASS": "grassland", "RANGE": "grassland", "FOREST": "forest",
    "ORCHARD": "orchard",
}  # fmt: skip
_PAIR_USE = {
    "cropping": "cropland", "irrigated cropping": "cropland", "grazing": "pasture", "grassland": "grassland",
    "savanna": "grassland", "forest": "forest", "plantation": "plantation", "semi-arid desert": "desert",
}  # fmt: skip

# Marsden farm of Iowa State University, Boone County.
MARSDEN_AT = (42.02, -93.79)
# The compilation names towns only: their centres, 0.01 degrees.
TOWNS = {
    "Batavia IL": (41.85, -88.31), "Garfield AR": (36.45, -93.97), "Lake Mills WI": (43.08, -88.91),
    "Loda IL": (40.52, -88.07), "Madison WI": (43.07, -89.40), "Mayview IL": (40.11, -88.11),
    "Metcalf IL": (39.80, -87.81), "Ogden IL": (40.11, -87.96), "Paxton IL": (40.46, -88.10),
    "Sheldon IL": (40.77, -87.57), "Urbana IL (Morrow Plot 4SB)": (40.10, -88.23),
    "Urbana IL (SoyFACE)": (40.04, -88.23),    "Weston IL": (40.75, -88.62),
}  # fmt: skip


def raca(data_dir: Path) -> SoilSites | None:
    """Rapid Carbon Assessment: cumulative stocks 0-5, 0-30 and 0-100 cm, which differ into three layers."""
    path = find(data_dir, RACA)
    if path is None:
        return None
    words = ("upedonid", "LU")
    table = read_table(path, (*words, "Gen_lat", "Gen_long", *_STOCKS, "SOC_thickness", "USE"), words)
    placed = table["Gen_lat"].notna() & table["Gen_long"].notna() & table["SOCstock5"].notna()
    notes = [_left(path, len(table) - int(placed.sum()), "without a place or a stock")]
    table = table[placed].reset_index(drop=True)
    s5, s30, s100 = (table[name].to_numpy(np.float64) * MG_HA for name in _STOCKS)
    thick = table["SOC_thickness"].to_numpy(np.float64) / 100.0
    # USE is the depth the assessment vouches for; with 100 a soil thinner than 1 m ends there, otherwise digging did.
    whole = table["USE"].to_numpy(np.float64) >= 100.0
    soil_depth = np.where(whole & (thick < 1.0), thick, np.nan)
    ends = np.where(whole, np.minimum(thick, 1.0), 1.0)
    edges = np.minimum(np.array([[0.0, 0.05, 0.30, 1.0]]), ends[:, None])
    amount = np.column_stack([s5, s30 - s5, s100 - s30])
    thickness = np.diff(edges, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        density = np.where(thickness > 0, amount / thickness, np.nan)
    # No carbon at all below 30 cm, and more than peat can hold, are faults of the record.
    bare = (thickness[:, 2] > GAP) & (amount[:, 2] <= 0.0)
    density[bare, 2], s100 = np.nan, np.where(bare, np.nan, s100)
    over = density > DENSEST
    density[over] = np.nan
    packed = over.any(axis=1)
    notes.append(
        f"RaCA: {int(bare.sum())} soils with no carbon below 30 cm lose that layer and their stock to 1 m; "
        f"{int(packed.sum())} with layers above {DENSEST / 1000:g} kgC m-3, more than peat holds, lose these layers, "
        "keep their stocks and are held to be organic."
    )
    i, k = np.nonzero(np.isfinite(density))
    layers = {"top": edges[i, k], "bottom": edges[i, k + 1], "density": density[i, k]}
    notes += [
        "RaCA: sampled 2010 to 2012, places rounded to 0.01 degrees; stocks only: organic soils are told by their "
        "stock, and neither texture nor bulk density is known."
    ]
    use = _words(table["LU"], _RACA_USE, path, "LU")
    return _soils(
        ("RaCA", "USDA-NRCS Rapid Carbon Assessment", "public domain (USA)"),
        table["upedonid"].to_numpy(str),
        (table["Gen_lat"].to_numpy(np.float64), table["Gen_long"].to_numpy(np.float64)),
        use,
        i,
        layers,
        notes,
        exact=False,
        soil_depth=soil_depth,
        stocks=(s30, np.where(whole, s100, np.nan)),
        organic=packed,
    )


_STOCKS = ("SOCstock5", "SOCstock30", "SOCstock100")


def dsp4sh(data_dir: Path) -> SoilSites | None:
    """Dynamic Soil Properties for Soil Health: profiles under contrasting management, horizon by horizon."""
    path = find(data_dir, DSP4SH)
    if path is None:
        return None
    words = ("DSP_Pedon_ID", "LU", "Date_Sampled")
    measured = ("SOC_pct_mod", "Bulk_Density", "hrzdep_t", "hrzdep_b", "Coarse_Frag_volume", "Sand_pct", "Clay_pct")
    table = read_table(path, (*words, "pedon_x", "pedon_y", *measured), words)
    deep = table["hrzdep_t"].notna() & table["hrzdep_b"].notna()
    notes = [_left(path, len(table) - int(deep.sum()), "(layers) without a depth")]
    table = table[deep]
    first, owner = _profiles(table, "DSP_Pedon_ID")
    stones = table["Coarse_Frag_volume"].to_numpy(np.float64) / 100.0
    unknown = int(np.isnan(stones).sum())
    notes.append(f"DSP4SH: stones of {unknown} of {len(table)} layers are not known and taken for none.")
    layers = _layers(table, "hrzdep_t", "hrzdep_b", "SOC_pct_mod", "Bulk_Density", stones, notes, "DSP4SH")
    layers |= {"sand": table["Sand_pct"].to_numpy(float) * 10.0, "clay": table["Clay_pct"].to_numpy(float) * 10.0}
    year = first["Date_Sampled"].astype(str).str.extract(r"(\d{4})$")[0].astype(float).to_numpy()
    return _soils(
        ("DSP4SH", "USDA DSP4SH v1.0, doi:10.15482/USDA.ADC/25122323.v1", "public domain (USA), cite"),
        first["DSP_Pedon_ID"].to_numpy(str),
        (first["pedon_y"].to_numpy(float), first["pedon_x"].to_numpy(float)),
        _words(first["LU"], _DSP_USE, path, "LU"),
        owner,
        layers,
        notes,
        year=year,
    )


def sodah(data_dir: Path) -> SoilSites | None:
    """SoDaH, cultivated sites: NEON plots and pits; Kellogg's profiles have no names of their own and are numbered."""
    path = find(data_dir, SODAH)
    if path is None:
        return None
    words = ("google_dir", "L1", "L2", "L3", "tx_L1")
    measured = ("lat", "long", "layer_top", "layer_bot", "lyr_soc", "bd_samp", "sand", "clay", "coarse_frac")
    table = read_table(path, (*words, *measured), words)
    deep = table["layer_bot"].notna() & table["lyr_soc"].notna()
    notes = [_left(path, len(table) - int(deep.sum()), "(layers) without a lower end or carbon")]
    # A profile's layers follow each other downwards; where the depth goes back up, the next one begins.
    begins = (table["layer_top"].diff().fillna(-1.0) <= 0.0) | table[["lat", "long"]].ne(
        table[["lat", "long"]].shift()
    ).any(axis=1)
    table = table.assign(profile=begins.cumsum())[deep]
    first, owner = _profiles(table, "profile")
    stones = table["coarse_frac"].to_numpy(np.float64) / 100.0
    notes.append(f"SoDaH: stones of {int(np.isnan(stones).sum())} layers are not known; they are taken for none.")
    layers = _layers(table, "layer_top", "layer_bot", "lyr_soc", "bd_samp", stones, notes, "SoDaH")
    layers |= {"sand": table["sand"].to_numpy(float) * 10.0, "clay": table["clay"].to_numpy(float) * 10.0}
    names = [
        f"{d}/{a}/{'' if b is None or b != b else b}/{p}"
        for d, a, b, p in zip(first["google_dir"], first["L1"], first["L2"], first["profile"], strict=True)
    ]
    return _soils(
        ("SoDaH", "SoDaH, EDI edi.521 (LTER, NEON)", "CC-BY, not checked against the original"),
        np.array(names),
        (first["lat"].to_numpy(float), first["long"].to_numpy(float)),
        np.full(len(first), "cropland"),
        owner,
        layers,
        notes,
        exact=np.char.startswith(first["google_dir"].to_numpy(str), "NEON"),
    )


def sanderman(data_dir: Path) -> SoilSites | None:
    """Native soils and farmed ones beside them, world-wide, from the literature."""
    path = find(data_dir, SANDERMAN)
    if path is None:
        return None
    sites, horizons = _sheet(path, "sites", _SITES), _sheet(path, "horizons", _HORIZONS)
    sites = sites.assign(name=sites["Site ID"].astype(str).str.strip())
    placed = sites["Latitude"].notna() & sites["Longitude"].notna() & ~sites["name"].duplicated()
    notes = [_left(path, len(sites) - int(placed.sum()), "without a place, or named twice")]
    first = sites[placed].reset_index(drop=True)
    index = {name: i for i, name in enumerate(first["name"])}
    horizons = horizons.assign(soil=horizons["Site"].astype(str).str.strip().map(index))
    horizons = horizons.dropna(subset=["soil", "U_depth (m)", "L_depth (m)"]).sort_values("soil", kind="stable")
    top, bottom = (_numbers(horizons[name]) for name in ("U_depth (m)", "L_depth (m)"))
    amount = _numbers(horizons["calculated SOC stock (tC/ha)"]) * MG_HA
    reported = np.isnan(_numbers(horizons["measured BD (Mg/m3)"])) & np.isnan(
        _numbers(horizons["reported SOC stock (tC/ha)"])
    )
    notes.append(
        f"Sanderman: the stocks of {int(reported.sum())} of {len(horizons)} layers rest on an estimated bulk density "
        "(their formula); their bulk density is left empty here. Stones are counted in some sources and not in others."
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        density = np.where(bottom > top, amount / (bottom - top), np.nan)
    layers = {
        "top": top,
        "bottom": bottom,
        "density": density,
        "soc": _numbers(horizons["OC (g/kg)"]),
        "bulk_density": _numbers(horizons["measured BD (Mg/m3)"]),
    }
    s30, s100 = (_numbers(first[name]) * MG_HA for name in ("30 cm SOC", "100 cm SOC"))
    summed = stock_to(0.3, len(first), horizons["soil"].to_numpy(np.int64), top, bottom, density)
    apart = np.abs(np.nan_to_num(summed / s30, nan=1.0) - 1.0) > 0.05
    notes.append(
        f"Sanderman: the stock to 30 cm of {int(apart.sum())} soils is over 5 % off the sum of layers; both are kept."
    )
    return _soils(
        ("Sanderman", "Sanderman et al. 2017, doi:10.7910/DVN/QQQM8V", "none stated: cite, ship nothing"),
        first["name"].to_numpy(str),
        (_numbers(first["Latitude"]), _numbers(first["Longitude"])),
        _words(first["LULC category"].astype(str).str.strip(), _PAIR_USE, path, "LULC category"),
        horizons["soil"].to_numpy(np.int64),
        layers,
        notes,
        exact=first["Location accuracy"].astype(str).str.lower().str.startswith("exact").to_numpy(),
        stocks=(s30, s100),
        history=first["Native/Ag/Restored"].astype(str).str.lower().to_numpy(str),
        pair=first["Pair ID"].astype(str).str.strip().to_numpy(str),
    )


_SITES = (
    "Pair ID", "Site ID", "Latitude", "Longitude", "Location accuracy", "LULC category", "Native/Ag/Restored",
    "30 cm SOC", "100 cm SOC",
)  # fmt: skip
_HORIZONS = (
    "Site", "U_depth (m)", "L_depth (m)", "OC (g/kg)", "measured BD (Mg/m3)", "reported SOC stock (tC/ha)",
    "calculated SOC stock (tC/ha)",
)  # fmt: skip


def marsden(data_dir: Path) -> SoilSites | None:
    """Plots of the Marsden rotation experiment in 2014, cores to 1 m; inorganic carbon is taken off in the file."""
    path = find(data_dir, MARSDEN)
    if path is None:
        return None
    names = ("rot", "block", "plot", "SOCfinal_prct", "bulkden_g.cm3", "sand_prct", "clay_prct")
    table = read_table(path, (*names, "depth_cm"), ("depth_cm",))
    span = table["depth_cm"].astype(str).str.extract(r"^(\d+)-(\d+)$").astype(float)
    table = table.assign(top=span[0], bottom=span[1]).dropna(subset=["top", "bottom", "plot", "SOCfinal_prct"])
    notes: list[str] = ["Marsden: one place for all plots; stones are not known and taken for none."]
    table = table.assign(name=[f"block {b:g} plot {p:g}" for b, p in zip(table["block"], table["plot"], strict=True)])
    # A layer sampled in pieces or twice is the mean of what was found.
    merged = table.groupby(["name", "top", "bottom"], as_index=False)[list(names[3:])].mean()
    first, owner = _profiles(merged, "name")
    layers = _layers(merged, "top", "bottom", names[3], names[4], np.full(len(merged), np.nan), notes, "Marsden")
    layers |= {"sand": merged["sand_prct"].to_numpy(float) * 10.0, "clay": merged["clay_prct"].to_numpy(float) * 10.0}
    n = len(first)
    return _soils(
        ("Marsden", "Iowa State University, Marsden farm (maRsden)", "MIT"),
        first["name"].to_numpy(str),
        (np.full(n, MARSDEN_AT[0]), np.full(n, MARSDEN_AT[1])),
        np.full(n, "cropland"),
        owner,
        layers,
        notes,
        exact=False,
        year=np.full(n, 2014.0),
    )


def mollisols(data_dir: Path) -> SoilSites | None:
    """Prairie and farmed Mollisols of the Midwest, 1850 to 2009, from the literature; few reach 30 cm."""
    path = find(data_dir, MOLLISOLS)
    if path is None:
        return None
    table = read_table(path, ("site", "rotation", "soil_series", "sim_year"), ("site", "rotation", "soil_series"))
    table.columns = [str(c).strip() for c in table.columns]
    measured = ("bulk_density", "layer_top_cm", "layer_bottom_cm", "g_soilC_m2_thislayer", "g_soilC_kg")
    absent = [name for name in measured if name not in table.columns]
    if absent:
        raise BadMeasurements(f"The file of measurements {path} has no column {', '.join(absent)}.")
    known = table["site"].isin(list(TOWNS))
    notes = [
        _left(path, len(table) - int(known.sum()), "of a town whose place is not known"),
        "Mollisols: places are the centres of the towns named; 'prairie 1850' are remnants taken for the state then.",
    ]
    key = ["site", "rotation", "soil_series", "sim_year"]
    table = table[known].reset_index(drop=True)
    table["again"] = table.groupby([*key, "layer_top_cm"]).cumcount()
    table["name"] = table[[*key, "again"]].astype(str).agg("/".join, axis=1)
    first, owner = _profiles(table, "name")
    top, bottom = (numbers(table, name, path) / 100.0 for name in measured[1:3])
    layers = {
        "top": top,
        "bottom": bottom,
        "density": numbers(table, measured[3], path) / (bottom - top),
        "soc": numbers(table, "g_soilC_kg", path),
        "bulk_density": numbers(table, "bulk_density", path),
    }
    prairie = (first["rotation"] == "prairie").to_numpy()
    at = np.array([TOWNS[name] for name in first["site"]])
    return _soils(
        ("Mollisols", "literature compilation; citation and DOI per row of the file", "MIT"),
        first["name"].to_numpy(str),
        (at[:, 0], at[:, 1]),
        np.where(prairie, "grassland", "cropland"),
        owner,
        layers,
        notes,
        exact=False,
        year=first["sim_year"].to_numpy(float),
        history=np.where(prairie, "native", "agriculture"),
        pair=first["site"].to_numpy(str),
    )


def read_soil_sites(data_dir: Path) -> tuple[SoilSites, ...]:
    """Every set of measured soils that the folder has. Raises BadMeasurements."""
    found = (reader(data_dir) for reader in (raca, dsp4sh, sodah, sanderman, marsden, mollisols))
    return tuple(soils for soils in found if soils is not None)


# --- shared ---------------------------------------------------------------------------------------------


def _soils(
    whose: tuple[str, str, str],
    names: NDArray[np.str_],
    place: tuple[Array, Array],
    land_use: NDArray[np.str_],
    owner: NDArray[Any],
    layers: dict[str, Array],
    notes: list[str],
    exact: bool | NDArray[np.bool_] = True,
    **more: Any,
) -> SoilSites:
    n, owner = len(names), owner.astype(np.int64)
    order = np.lexsort((layers["top"], owner))
    owner = owner[order]
    nothing = np.full(len(owner), np.nan)
    of: dict[str, Any] = {
        name: layers[name][order] if name in layers else nothing
        for name in ("top", "bottom", "density", "soc", "bulk_density", "sand", "clay")
    }
    span = (owner, of["top"], of["bottom"])
    s30, s100 = more.get("stocks") or (stock_to(depth, n, *span, of["density"]) for depth in (0.3, 1.0))
    empty = np.full(n, "")
    return SoilSites(
        *(np.full(n, whose[0]), names, np.full(n, whose[1]), np.full(n, whose[2])),
        *place,
        np.broadcast_to(np.asarray(exact), (n,)).copy(),
        land_use,
        more.get("history", empty),
        more.get("pair", empty),
        more.get("year", np.full(n, np.nan)),
        more.get("soil_depth", np.full(n, np.nan)),
        s30,
        s100,
        is_organic(n, s30, *span, of["soc"]) | more.get("organic", np.zeros(n, np.bool_)),
        owner,
        **of,
        notes=tuple(note for note in notes if note),
    )


def _layers(
    table: pd.DataFrame, top: str, bottom: str, percent: str, bulk: str, stones: Array, notes: list[str], name: str
) -> dict[str, Array]:
    density = table[bulk].to_numpy(np.float64).copy()
    odd = (density < LIGHTEST) | (density > HEAVIEST)
    if odd.any():
        notes.append(
            f"{name}: {int(odd.sum())} bulk densities outside {LIGHTEST} to {HEAVIEST} Mg m-3 are taken for missing."
        )
    density[odd] = np.nan
    soc = table[percent].to_numpy(np.float64) * 10.0
    return {
        "top": table[top].to_numpy(np.float64) / 100.0,
        "bottom": table[bottom].to_numpy(np.float64) / 100.0,
        "density": carbon_density(soc, density, stones),
        "soc": soc,
        "bulk_density": density,
    }


def _profiles(table: pd.DataFrame, key: str) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """First row of each profile, in order, and the index of each row's profile."""
    import pandas as pd

    owner, _ = pd.factorize(table[key])
    return table[~table[key].duplicated()].reset_index(drop=True), owner.astype(np.int64)


def _sheet(path: Path, name: str, needed: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_excel(path, sheet_name=name)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BadMeasurements(f"The sheet '{name}' of {path} cannot be read: {error}.") from error
    absent = [column for column in needed if column not in table.columns]
    if absent:
        raise BadMeasurements(f"The sheet '{name}' of {path} has no column {', '.join(absent)}.")
    return table


def _numbers(column: pd.Series[Any]) -> Array:
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64)


def _words(column: pd.Series[Any], known: dict[str, str], path: Path, name: str) -> NDArray[np.str_]:
    other = sorted({str(word) for word in column if word not in known})
    if other:
        raise BadMeasurements(
            f"Column {name} of {path} has '{other[0]}', but must be one of {', '.join(known)}: a land use that is not "
            "known cannot be compared."
        )
    return np.array([known[word] for word in column])


def _left(path: Path, count: int, why: str) -> str:
    return f"{path.name}: {count} rows {why} are left out." if count else ""
