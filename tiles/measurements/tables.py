"""Reading a table of measurements, with errors that name the file, the column and what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


class BadMeasurements(ValueError):
    """A file of measurements that is there, but is not what its name promises."""


def find(data_dir: Path, name: str) -> Path | None:
    """`name` or `name`.gz under the folder, whichever is there."""
    for path in (data_dir / name, data_dir / f"{name}.gz", data_dir / name.removesuffix(".gz")):
        if path.is_file():
            return path
    return None


def read_table(path: Path, needed: Sequence[str], text: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV file with at least the columns `needed`; those not in `text` that are needed must be numbers.

    Raises BadMeasurements with the file and the first fault.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, low_memory=False)
    except (OSError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise BadMeasurements(f"The file of measurements {path} cannot be read as CSV: {error}.") from error
    absent = [name for name in needed if name not in table.columns]
    if absent:
        raise BadMeasurements(
            f"The file of measurements {path} has no column {', '.join(absent)}; it has: "
            f"{', '.join(map(str, table.columns))}. The layout is described in fieldflux.tiles.measurements."
        )
    for name in needed:
        if name not in text:
            numbers(table, name, path)
    return table


def numbers(table: pd.DataFrame, column: str, path: Path) -> Array:
    """A column as float64, NaN where empty. Raises BadMeasurements at the first cell that is no number."""
    import pandas as pd

    parsed = pd.to_numeric(table[column], errors="coerce")
    bad = parsed.isna() & table[column].notna()
    if bool(bad.any()):
        row = int(np.flatnonzero(bad.to_numpy())[0])
        raise BadMeasurements(
            f"Column {column} of {path} must hold numbers, but line {row + 2} has '{table[column].iloc[row]}'. "
            f"Leave a missing value empty."
        )
    return parsed.to_numpy(np.float64)


def dates(table: pd.DataFrame, column: str, path: Path, form: str | None = "%Y-%m-%d") -> NDArray[np.datetime64]:
    """A column of days as datetime64[D]. Raises BadMeasurements at the first that is none."""
    import pandas as pd

    parsed = pd.to_datetime(table[column], format=form, errors="coerce")
    bad = parsed.isna().to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise BadMeasurements(
            f"Column {column} of {path} must hold dates such as 2004-05-31, but line {row + 2} has "
            f"'{table[column].iloc[row]}'."
        )
    return parsed.to_numpy().astype("datetime64[D]")
