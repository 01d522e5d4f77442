"""A card on a terminal names the best of a score's floors."""

from __future__ import annotations

from fieldflux.app.showcard import beside, telling
from fieldflux.models.card import Score


def score(metric: str, value: float, split: str = "held-out years", **floors: float) -> Score:
    return Score(variable="nee", metric=metric, value=value, unit="1", split=split, data="towers", n=9, baseline=floors)


def test_the_best_floor_is_the_one_that_the_metric_prefers() -> None:
    assert beside(score("rmse", 1.0, climatology=2.0, ridge=1.5)) == "ridge 1.5 (of 2)"
    assert beside(score("nse", 0.8, climatology=0.2, ridge=0.5)) == "ridge 0.5 (of 2)"
    assert beside(score("bias", 0.1, climatology=0.2, ridge=-0.5)) == "climatology 0.2 (of 2)"
    assert beside(score("R2 of logarithms", 0.1, forest=0.2)) == "forest 0.2"
    assert beside(score("coverage of the 90 % interval", 0.91, spread=0.5, ridge=0.8)) == "spread 0.5, ridge 0.8"
    assert beside(score("rmse", 1.0)) == ""


def test_one_score_of_each_split_tells_most() -> None:
    scores = [score("nse", 0.8), score("rmse", 1.0), score("bias", 0.1), score("nse", 0.7, "unseen towers")]
    assert [(s.metric, s.split) for s in telling(scores)] == [("rmse", "held-out years"), ("nse", "unseen towers")]
