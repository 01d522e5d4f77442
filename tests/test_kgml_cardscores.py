"""Experiments' tables as scores of a card."""

from __future__ import annotations

import shutil
from pathlib import Path

from fieldflux.app.kgml.cardscores import add_to_card, put_beside, scores_of_table
from fieldflux.models.checkpoint import read_checkpoint, write_checkpoint
from fieldflux.models.registry import SHIPPED


def test_a_table_is_our_network_beside_the_others(tmp_path: Path) -> None:
    table = tmp_path / "small-samples.csv"
    table.write_text(
        "part,model,variable,gpp,size,replicate,n,r2\n"
        "towers,KGML,reco,given,1,0,100,0.70\n"
        "towers,KGML,reco,given,1,1,100,0.80\n"
        "towers,pure ML,reco,given,1,0,100,0.30\n"
        "towers,pure ML,reco,given,all,0,100,0.60\n"  # nothing of ours beside it
        "towers,KGML,nee,own,1,0,50,nan\n"
    )
    (found,) = scores_of_table(table)
    assert (found.variable, found.value, found.n) == ("reco", 0.75, 200)
    assert found.spread == 0.0707
    assert found.baseline == {"pure ML": 0.3}
    assert found.split == "small samples: learned from 1, held-out places, given GPP"


def test_a_card_holds_the_last_result_of_an_experiment_only(tmp_path: Path) -> None:
    folder = tmp_path / "kgml-ag-carbon" / "1"
    shutil.copytree(SHIPPED / "kgml-ag-carbon" / "1", folder)
    before = read_checkpoint(folder).card
    head = "model,split,crops,variable,n,r2,rmse,bias\n"
    for r2 in (0.5, 0.9):
        (tmp_path / "synthetic.csv").write_text(f"{head}closed,unseen places,all,ra,10,{r2},1,0\n")
        assert add_to_card(folder, [tmp_path / "synthetic.csv", tmp_path / "synthetic.png"]) == 1
    after = read_checkpoint(folder).card
    mine = [s for s in after.scores if s.split.startswith("synthetic test:")]
    assert [s.value for s in mine] == [0.9]
    others = [s for s in before.scores if not s.split.startswith("synthetic test:")]
    assert [s for s in after.scores if s not in mine] == others
    assert after.weights_sha256 == before.weights_sha256


def test_another_model_stands_beside_where_the_rows_are_the_same(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "kgml-ag-carbon" / "1", tmp_path / "kgml-ag-carbon-paper" / "1"
    shutil.copytree(SHIPPED / "kgml-ag-carbon" / "1", ours)
    checkpoint = read_checkpoint(ours)
    first, second, third = [s for s in checkpoint.card.scores if s.metric == "rmse"][:3]
    other = (
        first.model_copy(update={"value": 7.5}),
        second.model_copy(update={"value": 8.5, "n": second.n + 1}),  # of other days
    )
    update = {"scores": other, "name": "kgml-ag-carbon-paper"}
    write_checkpoint(theirs, checkpoint.card.model_copy(update=update), checkpoint.weights)
    assert put_beside(ours, theirs, "published network") == 1
    scores = {(s.split, s.variable, s.metric): s for s in read_checkpoint(ours).card.scores}
    kept = [scores[s.split, s.variable, s.metric] for s in (first, second, third)]
    assert kept[0].baseline == {**first.baseline, "published network": 7.5}
    assert kept[0].value == first.value
    assert kept[1:] == [second, third]
