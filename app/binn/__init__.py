"""Soil carbon learned from measured soils: the data, how they are split, and what simpler methods reach on them."""
