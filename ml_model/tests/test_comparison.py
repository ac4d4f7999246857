"""What a bundle keeps of its measuring, and when one network counts as not worse than another."""

import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from ml_model import bundle
from ml_model.evaluation import comparison, metrics, scores
from ml_model.evaluation.scores import Scores


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.current(), tmp_path / "copy"))


def drawn(quality: float, *, seed: int = 0, patients: int = 300) -> Scores:
    """Two pictures of each patient; `quality` is how far ill and healthy lie apart."""
    generator = np.random.Generator(np.random.PCG64(seed))
    who = np.repeat(np.arange(patients), 2)
    labels = who % 2
    probabilities = metrics.sigmoid(quality * (2 * labels - 1) + generator.normal(size=len(who)))
    digests = np.array([f"{number:064x}" for number in range(len(who))])
    return Scores(digests, who, labels, probabilities, np.ones(len(who), bool))


def verdicts(newcomer: Scores, served: Scores) -> dict[str, bool]:
    return {each.name: each.not_worse for each in comparison.compare(newcomer, 0.5, served, 0.5)}


def test_the_served_bundles_figures_follow_from_its_scores():
    folder = bundle.current()
    card, kept = bundle.read(folder), scores.read(folder, "test")
    thresholds = {name: point.threshold for name, point in card.operating_points.items()}
    figures = metrics.measure(kept.probabilities, kept.labels, kept.patients, thresholds)
    told = card.metrics["test"]
    assert {**figures, "accepted": int(kept.accepted.sum())} == {
        name: value for name, value in told.items() if name != "shifts"
    }


def test_scores_are_read_as_they_were_written(tmp_path):
    path, given = tmp_path / "test_scores.csv", drawn(1.0)
    scores.write(path, given)
    shown = path.read_text().splitlines()
    assert shown[0] == "sha256,patient,label,probability,accepted"
    assert [float(line.split(",")[3]) for line in shown[1:]] == given.probabilities.tolist()


@pytest.mark.parametrize(
    "harm", ["", "sha256,patient\nab,1\n", "\x00\xff", "sha256,patient,label,probability,accepted\n"]
)
def test_damaged_scores_are_told(copied, harm):
    path = scores.path_of(copied, "test")
    path.write_bytes(harm.encode("latin-1"))
    with pytest.raises(scores.NotMeasured, match=r"test_scores\.csv"):
        scores.read(copied, "test")


def test_scores_of_another_network_are_told(copied):
    path = scores.path_of(copied, "test")
    kept = scores.read(copied, "test")
    scores.write(path, replace(kept, probabilities=1 - kept.probabilities))
    with pytest.raises(scores.NotMeasured, match="computed from"):
        scores.read(copied, "test")


def test_a_network_is_not_worse_than_itself_in_any_order():
    served = drawn(1.0)
    order = np.random.Generator(np.random.PCG64(1)).permutation(len(served))
    shuffled = Scores(*(getattr(served, field.name)[order] for field in fields(Scores)))
    differences = comparison.compare(shuffled, 0.5, served, 0.5)
    assert [(each.newcomer - each.served, each.low) for each in differences] == [(0, 0)] * 3


def test_a_worse_network_is_worse_and_a_better_one_is_not():
    weak, strong = drawn(1.0), drawn(1.5, seed=1)
    assert verdicts(weak, strong) == {
        "AUROC": False,
        "balanced accuracy": False,
        "share that passes the gate": True,
    }
    assert all(verdicts(strong, weak).values())


def test_few_pictures_prove_nothing():
    """The same quality with other errors: where little is known, a newcomer is not taken on trust."""
    assert not verdicts(drawn(1.0, seed=1, patients=20), drawn(1.0, patients=20))["balanced accuracy"]


def test_a_gate_that_refuses_chests_is_worse():
    served = drawn(1.0)
    strict = replace(served, accepted=served.patients % 20 > 0)
    assert verdicts(strict, served) == {
        "AUROC": True,
        "balanced accuracy": True,
        "share that passes the gate": False,
    }


def test_each_is_judged_at_its_own_threshold():
    served = drawn(1.0)
    moved = replace(served, probabilities=served.probabilities / 2)
    assert all(each.low == 0 for each in comparison.compare(moved, 0.25, served, 0.5))
    assert not comparison.compare(moved, 0.5, served, 0.5)[1].not_worse


@pytest.mark.parametrize(
    ("what", "told"), [("digests", "the pictures differ"), ("labels", "labels"), ("patients", "pat")]
)
def test_other_pictures_are_not_compared(what, told):
    served = drawn(1.0)
    other = getattr(served, what).copy()
    other[0] = "f" * 64 if what == "digests" else 1 if what == "labels" else 299
    with pytest.raises(comparison.Incomparable, match=told):
        comparison.compare(replace(served, **{what: other}), 0.5, served, 0.5)
