"""How far today's scores lie from those of validation, and the reference that travels with a bundle."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_model import Classifier, bundle, phantom
from ml_model.dataset import DataError
from ml_model.evaluation import drift


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.current(), tmp_path / "copy"))


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(4))


def test_equal_scores_have_not_drifted():
    scores = np.linspace(0, 1, 300)
    assert drift.population_stability_index(scores, scores) == 0
    assert drift.kolmogorov_smirnov(scores, scores) == (0, 1)
    assert drift.compare(scores, scores).level == drift.STABLE


def test_the_index_is_that_of_its_definition():
    # Tenths of the reference hold 100 each; of the scores the lower five hold 150 each, the upper five 50.
    reference = np.arange(1000) / 1000
    scores = np.concatenate([np.repeat(np.arange(5) + 0.5, 150), np.repeat(np.arange(5, 10) + 0.5, 50)]) / 10
    by_hand = 5 * (0.15 - 0.10) * np.log(1.5) + 5 * (0.05 - 0.10) * np.log(0.5)
    assert drift.population_stability_index(reference, scores) == pytest.approx(by_hand, rel=0.02)


def test_a_bin_without_a_score_leaves_the_index_finite():
    assert 1 < drift.population_stability_index(np.linspace(0, 1, 500), np.full(500, 0.05)) < 10


def test_kolmogorov_smirnov_agrees_with_scipy():
    # ks_2samp of scipy 1.17.1: D 0.1, p 0.5083 exact, and 0.4836 asymptotic, without Stephens' correction.
    distance, p = drift.kolmogorov_smirnov(np.arange(200) / 200, np.arange(100) / 100 * 0.9 + 0.1)
    assert distance == pytest.approx(0.1)
    assert p == pytest.approx(0.5083, abs=0.015)


def test_what_chance_makes_is_as_often_exceeded_as_told(generator):
    made = [
        drift.population_stability_index(generator.random(400), generator.random(150)) > drift.psi_by_chance(400, 150)
        for _ in range(400)
    ]
    assert 0.01 < np.mean(made) < 0.10


@pytest.mark.parametrize(("moved", "level"), [(0.0, drift.STABLE), (0.35, drift.DIFFERS), (1.0, drift.DIFFERS_MUCH)])
def test_levels_follow_the_rule_of_thumb(generator, moved, level):
    found = drift.compare(generator.normal(size=2000), generator.normal(moved, size=2000))
    assert found.level == level
    assert (found.p_value < 0.001) == (level != drift.STABLE)


def test_few_scores_tell_nothing_and_chance_is_not_called_drift(generator):
    reference = generator.normal(size=800)
    assert drift.compare(reference, reference[: drift.FEWEST - 1]) == drift.Comparison(99, 800, drift.TOO_FEW)
    levels = [drift.compare(reference, generator.normal(size=100)).level for _ in range(50)]
    assert levels.count(drift.STABLE) > 40


def test_the_served_bundle_keeps_what_it_said_of_its_validation_pictures():
    card, reference = bundle.read(bundle.current()), drift.read(bundle.current())
    for name, point in card.operating_points.items():
        told = card.metrics["validation"]["operating_points"][name]
        ill = (reference.probabilities >= point.threshold).sum()
        assert ill == told["true_positive"] + told["false_positive"]
    accepted = (reference.chest_xray_scores >= card.gate.threshold).sum()
    assert accepted == card.gate.measured["accepted"]["validation"]["accepted"]


def test_a_reference_is_read_as_it_was_written_and_names_nobody(copied):
    kept = drift.read(copied)
    path = drift.write(copied, kept)
    assert path.read_text().splitlines()[0] == "probability,chest_xray_score"
    again = drift.read(copied)
    assert np.array_equal(again.probabilities, kept.probabilities)
    assert np.array_equal(again.chest_xray_scores, kept.chest_xray_scores)
    drift.write(copied, drift.Reference(kept.probabilities, None))
    assert drift.read(copied).chest_xray_scores is None


@pytest.mark.parametrize("harm", [b"", b"probability\n0.5\n", b"probability\nmuch\n", b"\x00\xff"])
def test_a_damaged_reference_is_told(copied, harm):
    (copied / "report" / drift.FILE).write_bytes(harm)
    with pytest.raises(drift.NoReference, match="validation_scores DATA_DIR"):
        drift.read(copied)


def test_a_bundle_without_a_reference_says_what_helps(copied):
    (copied / "report" / drift.FILE).unlink()
    with pytest.raises(drift.NoReference, match="validation_scores DATA_DIR"):
        drift.read(copied)


def test_the_validation_part_is_scored_anew_as_the_card_draws_it(copied, tmp_path):
    for name, pattern in (("NORMAL", "IM-{:04}-0001.png"), ("PNEUMONIA", "person{}_virus_1.png")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(1, 5):
            phantom.draw(96, 80, seed=number).save(tmp_path / "train" / name / pattern.format(number))
    card = bundle.read(copied)
    training = {**card.training, "validation_share": 0.999}
    told = {**card.data, "validation": {"normal": 4, "pneumonia": 4, "patients": 8}}
    bundle.write_card(copied, replace(card, training=training, data=told))
    reference = drift.measure(Classifier(copied), tmp_path)
    assert len(reference.probabilities) == len(reference.chest_xray_scores) == 8

    (tmp_path / "train" / "NORMAL" / "IM-0001-0001.png").unlink()
    with pytest.raises(DataError, match=r"is not what .* was trained from"):
        drift.measure(Classifier(copied), tmp_path)
    bundle.write_card(copied, replace(card, training={}))
    with pytest.raises(DataError, match="trained elsewhere"):
        drift.measure(Classifier(copied), tmp_path)
