"""Evaluation: a model against measurements, beside floors. `evaluate` is the one door."""

from __future__ import annotations

from .evaluation import PARTS, evaluate
from .report import Report, Row, as_csv, as_json, as_text, to_scores

__all__ = ["PARTS", "Report", "Row", "as_csv", "as_json", "as_text", "evaluate", "to_scores"]
