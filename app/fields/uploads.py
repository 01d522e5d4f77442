"""Files of fields: GeoParquet (as fiboa writes it) and a shapefile in a zip, as GeoJSON features in WGS 84.

A file is not trusted: sizes are looked at before anything is unpacked, nothing is written where a name in it says,
and coordinates of an unknown reference system are refused rather than guessed.
"""

from __future__ import annotations

import io
import math
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

from fieldflux.app.ask import over
from fieldflux.app.problems import Refused
from fieldflux.app.settings import Limits

from .given import check_count, features_of, read_json

GEOPARQUET = "application/vnd.apache.parquet"
ZIP = "application/zip"
GEOJSON = "application/geo+json"

_ENTRIES = 1000
_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")


def read_features(body: bytes, limits: Limits) -> list[Any]:
    """The features of a body: GeoJSON, GeoParquet or a zip with a shapefile, told apart by their first bytes.

    Raises Refused (invalid-json, invalid-request, invalid-upload, wrong-crs, over-limit).
    """
    if body[:4] == b"PAR1":
        return _geoparquet(body, limits)
    if body[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _shapefile(body, limits)
    if not body.strip():
        raise Refused("invalid-request", "The body is empty. Send GeoJSON, GeoParquet, or a zip with a shapefile.")
    return features_of(read_json(body), limits)


def _geoparquet(body: bytes, limits: Limits) -> list[Any]:
    import geopandas
    from pyarrow import ArrowException, BufferReader, parquet

    try:
        about = parquet.ParquetFile(BufferReader(body)).metadata
        rows = int(about.num_rows)
        unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    except (ArrowException, OSError, ValueError) as error:
        raise Refused("invalid-upload", f"The Parquet file cannot be read: {_first_line(error)}") from error
    check_count(rows, limits)
    _check_unpacked(unpacked, limits)
    try:
        frame = geopandas.read_parquet(io.BytesIO(body))
    except Refused:
        raise
    except Exception as error:
        # What a damaged file raises in there is not limited to any kinds.
        raise Refused(
            "invalid-upload", f"The Parquet file is no GeoParquet that can be read: {_first_line(error)}"
        ) from error
    return _features(frame, "The GeoParquet file says that its reference system is unknown (`crs` is null)")


def _shapefile(body: bytes, limits: Limits) -> list[Any]:
    import geopandas

    with tempfile.TemporaryDirectory(prefix="fieldflux-") as folder:
        _unpack(body, Path(folder), limits)
        rows = _shp_records(Path(folder) / "fields.shx")
        if rows is not None:
            check_count(rows, limits)
        try:
            frame = geopandas.read_file(Path(folder) / "fields.shp", engine="pyogrio")
        except Exception as error:
            raise Refused("invalid-upload", f"The shapefile cannot be read: {_first_line(error)}") from error
    check_count(len(frame), limits)
    return _features(frame, "The shapefile's .prj names no reference system that is known")


def _unpack(body: bytes, folder: Path, limits: Limits) -> None:
    """Write the parts of the one shapefile in a zip to folder/fields.*; names in the zip decide no path."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
            if len(entries) > _ENTRIES:
                raise over("entries", len(entries), _ENTRIES, "A zip holds one shapefile.")
            shapes = [e for e in entries if e.filename.lower().endswith(".shp")]
            if len(shapes) != 1:
                raise Refused("invalid-upload", f"The zip has {len(shapes)} .shp files; put exactly one in it.")
            stem = PurePosixPath(shapes[0].filename).with_suffix("")
            parts = {
                PurePosixPath(e.filename).suffix.lower(): e
                for e in entries
                if PurePosixPath(e.filename).with_suffix("") == stem
                and PurePosixPath(e.filename).suffix.lower() in _PARTS
            }
            for needed, why in ((".shx", "index"), (".dbf", "table"), (".prj", "reference system")):
                if needed not in parts:
                    code = "wrong-crs" if needed == ".prj" else "invalid-upload"
                    raise Refused(code, f"The shapefile has no {needed} file, its {why}. Put it into the zip.")
            _check_unpacked(sum(e.file_size for e in parts.values()), limits)
            left = limits.unpacked_bytes
            for suffix, entry in parts.items():
                if entry.flag_bits & 1:
                    raise Refused("invalid-upload", "The zip is encrypted. Send it without a password.")
                with archive.open(entry) as source, (folder / f"fields{suffix}").open("wb") as target:
                    # What the zip says of sizes may be a lie.
                    while piece := source.read(1 << 20):
                        left -= len(piece)
                        if left < 0:
                            _check_unpacked(limits.unpacked_bytes + 1, limits)
                        target.write(piece)
    except Refused:
        raise
    # zipfile's own: RuntimeError for an encrypted file, NotImplementedError for a compression it does not know
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise Refused("invalid-upload", f"The zip cannot be unpacked: {_first_line(error)}") from error
    except Exception as error:
        # Decompressors raise their own.
        raise Refused("invalid-upload", "The zip is damaged.") from error


def _shp_records(index: Path) -> int | None:
    """Records of a shapefile by the size of its index, before they are read."""
    size = index.stat().st_size
    return (size - 100) // 8 if size >= 100 else None


def _check_unpacked(size: int, limits: Limits) -> None:
    if size > limits.unpacked_bytes:
        raise over("unpacked_bytes", size, limits.unpacked_bytes, "Send the fields in several files.")


def _features(frame: Any, without_crs: str) -> list[Any]:
    """GeoJSON features of a GeoDataFrame, reprojected to WGS 84; its columns but `id` and the outline as properties."""
    import shapely

    if frame.crs is None:
        raise Refused("wrong-crs", f"{without_crs}; where the fields lie would be a guess. Give it one.")
    try:
        frame = frame.to_crs("EPSG:4326")
    except Exception as error:
        raise Refused("wrong-crs", f"The coordinates cannot be transformed to WGS 84: {_first_line(error)}") from error
    geometry_name = frame.geometry.name
    names = [str(c) for c in frame.columns if c != geometry_name and c != "id"]
    columns = {name: [_plain(v) for v in frame[name].tolist()] for name in names}
    ids = [_plain(v) for v in frame["id"].tolist()] if "id" in frame.columns else None
    found: list[Any] = []
    for i, outline in enumerate(frame.geometry):
        geometry = None
        if outline is not None and not outline.is_empty:
            geometry = shapely.geometry.mapping(shapely.force_2d(outline))
        found.append(
            {
                "type": "Feature",
                **({"id": ids[i]} if ids is not None and ids[i] is not None else {}),
                "geometry": geometry,
                "properties": {name: column[i] for name, column in columns.items()},
            }
        )
    return found


def _plain(value: Any) -> Any:
    """A table's value as JSON has it: dates as ISO 8601, missing ones as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        text = value.isoformat()
        # pandas' NaT is a datetime that says so.
        return None if text == "NaT" else text
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return _plain(float(value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple | set):
        return [_plain(v) for v in value]
    listed: Callable[[], Any] | None = getattr(value, "tolist", None)
    if listed is not None:
        return _plain(listed())
    text = str(value)
    return None if text in ("<NA>", "NaT") else text


def _first_line(error: BaseException) -> str:
    """The first sentence of a library's error, without paths."""
    from fieldflux.app.problems import shorten_paths

    return shorten_paths((str(error).splitlines() or [type(error).__name__])[0][:200])
