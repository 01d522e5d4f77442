"""Addresses of the HTTP API. Handlers parse, call and wrap; the work is in tiles and models."""
