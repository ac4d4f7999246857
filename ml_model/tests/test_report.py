"""Measuring writes figures, plots and a card to read; the same each time."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_model import Classifier, bundle, phantom
from ml_model.dataset import DataError
from ml_model.evaluation import drift, measuring, report, scores
from ml_model.evaluation.shifts import SHIFTS


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        (root / name).mkdir()
        for number in range(4):
            phantom.draw(200, 180, opacity=float(label), seed=number).save(root / name / f"person{number}_virus_1.png")
    return root


def measure(folder: Path, pictures: Path, output: Path) -> tuple[dict, Path]:
    copy = Path(shutil.copytree(bundle.current(), folder / bundle.current().name))
    shutil.rmtree(copy / "report", ignore_errors=True)
    return measuring.evaluate(Classifier(copy), pictures, output=output), copy


@pytest.fixture(scope="module")
def measured(tmp_path_factory, pictures) -> tuple[dict, Path, Path]:
    output = tmp_path_factory.mktemp("output")
    figures, copy = measure(tmp_path_factory.mktemp("one"), pictures, output)
    return figures, copy, output


def test_figures_are_kept_in_the_card(measured, pictures):
    figures, copy, _ = measured
    assert bundle.read(copy).metrics[pictures.name] == figures
    assert (figures["normal"], figures["pneumonia"], figures["patients"]) == (4, 4, 4)
    assert set(figures["shifts"]) == set(SHIFTS)


def test_the_report_has_its_plots_and_tells_the_cards_figures(measured, pictures):
    figures, copy, _ = measured
    assert {path.name for path in (copy / "report").iterdir()} == {pictures.name, f"{pictures.name}_scores.csv"}
    folder = copy / "report" / pictures.name
    names = {path.name for path in folder.iterdir()}
    expected = "roc_curve precision_recall_curve reliability_diagram score_histogram shifts class_distribution"
    expected += " training_history confusion_matrix_balanced confusion_matrix_screening"
    assert names == {f"{name}.svg" for name in expected.split()} | {"model_card.md", "classification_report.csv"}
    text = (folder / "model_card.md").read_text()
    for at in figures["operating_points"].values():
        assert f"{at['sensitivity']['value']:.4f} ({at['sensitivity']['low']:.4f} to" in text
    for heading in ("Intended use", "Training data", "Quantitative analyses", "Under shifts", "The gate", "caveats"):
        assert heading in text
    assert "of which 50.0 % are ill" in text
    assert "| Pneumonia |" in text
    assert "nan" not in text
    assert sum(path.stat().st_size for path in folder.iterdir()) < 500_000


def test_measuring_again_gives_the_same_bytes(measured, pictures, tmp_path):
    _, copy, _ = measured
    _, again = measure(tmp_path / "two", pictures, tmp_path / "output")
    for first in (path for path in (copy / "report").rglob("*") if path.is_file()):
        assert first.read_bytes() == (again / first.relative_to(copy)).read_bytes(), first.name


def test_scores_and_plots_name_no_file_and_outlive_measuring_other_pictures(measured, pictures, tmp_path):
    figures, copy, _ = measured
    again, name = Path(shutil.copytree(copy, tmp_path / copy.name)), pictures.name
    kept = scores.read(again, name)
    assert len(kept) == figures["pictures"]
    assert "person" not in scores.path_of(again, name).read_text()
    plots = {path: path.read_bytes() for path in (again / "report" / name).iterdir()}
    other = tmp_path / "other"
    for label in ("NORMAL", "PNEUMONIA"):
        (other / label).mkdir(parents=True)
        phantom.draw(100, 90).save(os.fsencode(other / label) + b"/\xe9t\xe9.png", "PNG")  # as Latin-1 writes it
    measuring.evaluate(Classifier(again), other, output=tmp_path / "output")
    assert len(scores.read(again, "other")) == 2
    assert len(scores.read(again, name)) == len(kept)
    assert plots == {path: path.read_bytes() for path in (again / "report" / name).iterdir()}
    assert "?t?.png" in (tmp_path / "output" / f"{copy.name}-other.csv").read_text()


def test_what_another_process_measured_meanwhile_is_kept(pictures, tmp_path):
    copy = Path(shutil.copytree(bundle.current(), tmp_path / "copy"))
    classifier = Classifier(copy)
    other = {"operating_points": {}}
    bundle.write_card(copy, replace(classifier.card, metrics={"other": other}))
    measuring.evaluate(classifier, pictures)
    assert bundle.read(copy).metrics["other"] == other


@pytest.mark.parametrize("name", ["validation", "validation_augmented"])
def test_a_folder_under_a_name_of_trainings_own_is_refused(pictures, tmp_path, name):
    """Its scores would take the place of those that drift is told by."""
    copy = Path(shutil.copytree(bundle.current(), tmp_path / "copy"))
    before = bundle.read(copy), (copy / "report" / drift.FILE).read_bytes()
    with pytest.raises(DataError, match=f"{name}.*Rename"):
        measuring.evaluate(Classifier(copy), Path(shutil.copytree(pictures, tmp_path / name)))
    assert (bundle.read(copy), (copy / "report" / drift.FILE).read_bytes()) == before


def test_a_bundle_that_cannot_be_written_is_told_before_measuring(pictures, tmp_path):
    copy = Path(shutil.copytree(bundle.current(), tmp_path / "copy"))
    classifier = Classifier(copy)
    shutil.rmtree(copy)
    with pytest.raises(OSError, match="copy"):
        measuring.evaluate(classifier, pictures, progress=lambda done, total: pytest.fail("measured"))


def test_the_card_says_only_what_is_known_of_the_training_pictures(tmp_path):
    card, kept = bundle.read(bundle.current()), scores.read(bundle.current(), "test")

    def caveats(data: dict) -> str:
        path = report.write(
            tmp_path, replace(card, data=data), "test", card.metrics["test"], kept.labels, kept.probabilities
        )
        return path.read_text()

    assert "learned from children of one hospital" in caveats(card.data)
    elsewhere = caveats({})
    assert "trained elsewhere" in elsewhere
    assert "children" not in elsewhere.partition("caveats")[2]


def test_scores_and_worst_errors_are_written_outside_the_bundle(measured, pictures):
    _, copy, output = measured
    stem = f"{copy.name}-{pictures.name}"
    rows = (output / f"{stem}.csv").read_text().splitlines()
    assert rows[0] == "file,label,probability"
    assert len(rows) == 9
    assert (output / f"{stem}-errors.jpg").read_bytes().startswith(b"\xff\xd8")
    assert np.isfinite(float(rows[1].split(",")[2]))
