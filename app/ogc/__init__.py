"""Documents of OGC and STAC interfaces: plain values from a cube and a model, without HTTP."""
