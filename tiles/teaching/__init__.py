"""Teaching sets: synthetic runs of a family of process models, for a network to learn from before it sees measurements.

The design follows the pre-training of KGML-ag-Carbon (Liu et al. 2024, Nat. Commun. 15:357).
"""

from __future__ import annotations

from .making import TeachingStopped, teach, teach_with
from .reading import Teaching, open_teaching
from .recipe import BadTeaching, Limits, TeachingRecipe, read_recipe

__all__ = [
    "BadTeaching",
    "Limits",
    "Teaching",
    "TeachingRecipe",
    "TeachingStopped",
    "open_teaching",
    "read_recipe",
    "teach",
    "teach_with",
]
