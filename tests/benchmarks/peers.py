"""The peers' servers, run by the Python of their own environment: `python peers.py PORT`."""

import sys

import uvicorn
from fastapi import FastAPI
from titiler.core.factory import TilerFactory as CogFactory
from titiler.xarray.extensions import VariablesExtension
from titiler.xarray.factory import TilerFactory as ZarrFactory

app = FastAPI()
app.include_router(CogFactory(router_prefix="/cog").router, prefix="/cog")
app.include_router(ZarrFactory(router_prefix="/zarr", extensions=[VariablesExtension()]).router, prefix="/zarr")

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
