"""Hybrid crop models: networks that give LINTUL5 its parameters, networks held to its equations, and their floors."""
