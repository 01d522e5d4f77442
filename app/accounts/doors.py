"""Where the links that are made for GIS programs lead: addresses to paste, with their token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import quote

ENTRANCES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "maps": {
            "wmts": "/v1/wmts/1.0.0/WMTSCapabilities.xml",
            "ogc_tiles": "/v1/ogc",
            "tilejson": "/v1/tiles/nee/tilejson.json",
        },
        "fields": {"vector_tiles": "/v1/fields/tiles/tilejson.json"},
        "series": {"edr": "/v1/edr"},
        "stac": {"stac": "/v1/stac"},
        "stores": {"stores": "/v1/stores"},
    }
)


def addresses(root: str, doors: Sequence[str], token: str) -> dict[str, str]:
    """Entrances of what a link is for. root: address of the service.

    >>> addresses("http://a", ["stac"], "t")
    {'stac': 'http://a/v1/stac?token=t'}
    """
    return {
        name: f"{root.rstrip('/')}{path}?token={quote(token)}"
        for door in doors
        for name, path in ENTRANCES[door].items()
    }
