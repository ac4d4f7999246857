"""What the site tells of drift, on the command line and to the staff."""

import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.template.loader import render_to_string
from django.utils import translation

from diagnosis import access, drift
from diagnosis.inference import serving
from diagnosis.models import Prediction, Upload
from ml_model import bundle
from ml_model.evaluation.drift import read

pytestmark = pytest.mark.django_db


@pytest.fixture
def upload(client, xray) -> Upload:
    client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray(size=(64, 64)))})
    upload = Upload.objects.get()
    upload.predictions.all().delete()
    return upload


@pytest.fixture
def served_elsewhere(settings, tmp_path) -> Path:
    """A copy of the served bundle, served."""
    folder = Path(shutil.copytree(bundle.current(), tmp_path / "copy"))
    settings.MODEL_BUNDLE = str(folder)
    serving.load()
    return folder


def keep(upload: Upload, probabilities, chest_xray_scores, **fields) -> None:
    told = {"status": "ok", "threshold": 0.5, "operating_point": "balanced", "milliseconds": 1.0, "heatmap": "x"}
    told |= {"model_version": serving.model_version(), **fields}
    Prediction.objects.bulk_create(
        Prediction(
            upload=upload,
            owner=upload.owner,
            visitor=upload.visitor,
            probability=probability,
            label=fields.get("label", "Pneumonia" if probability is not None and probability >= 0.5 else "Normal"),
            chest_xray_score=score,
            **{name: value for name, value in told.items() if name != "label"},
        )
        for probability, score in zip(probabilities, chest_xray_scores, strict=True)
    )


def report(*options: str) -> str:
    out = StringIO()
    call_command("drift_report", *options, stdout=out)
    return out.getvalue()


def test_few_rows_are_too_few_to_tell(upload):
    keep(upload, [0.1] * 99, [0.99] * 99)
    assert report().count("Too few to tell: 99 scores; at least 100 are needed.") == 2


def test_pictures_like_those_of_validation_are_stable_and_others_drift(upload):
    reference = read(bundle.current())
    keep(upload, reference.probabilities.tolist(), reference.chest_xray_scores.tolist())
    said = report("--last", "790")
    assert said.count("Stable: the scores differ from validation no more than by chance.") == 2
    assert "Of the validation pictures 77 % show pneumonia." in said
    keep(upload, [0.2] * 150, reference.chest_xray_scores[::5][:150].tolist())
    told = json.loads(report("--last", "150", "--format", "json"))
    score, gate = told["measures"]
    assert (score["name"], score["comparison"]["level"], score["comparison"]["rows"]) == ("probability", "much", 150)
    assert (gate["name"], gate["comparison"]["level"]) == ("chest_xray_score", "stable")
    assert score["comparison"]["p_value"] < 1e-6


def test_only_what_the_served_model_said_of_its_own_accord_counts(upload):
    keep(upload, [0.1] * 100, [0.99] * 100)
    keep(upload, [0.1] * 100, [0.99] * 100, model_version="2020.01-1")
    keep(upload, [0.1] * 100, [0.01] * 100, status="forced")
    keep(upload, [None] * 3, [0.01] * 3, status="rejected", label="", heatmap="")
    score, gate = drift.drift().measures
    assert (score.comparison.rows, gate.comparison.rows) == (100, 103)


def test_a_model_without_validation_scores_says_what_helps(served_elsewhere):
    (served_elsewhere / "report" / "validation_scores.csv").unlink()
    with pytest.raises(CommandError, match="validation_scores DATA_DIR"):
        report()
    assert "validation_scores DATA_DIR" in render_to_string("diagnosis/includes/drift.html", {"drift": drift.drift()})
    with translation.override("fr"):
        assert "scores de validation" in drift.drift().missing


def test_a_card_that_vanished_under_the_server_is_told(served_elsewhere):
    (served_elsewhere / "model_card.json").unlink()
    assert "no validation scores" in drift.drift().missing


def test_validation_scores_refuses_a_folder_that_the_model_was_not_trained_from(served_elsewhere, tmp_path):
    with pytest.raises(CommandError, match="No pictures in"):
        call_command("validation_scores", str(tmp_path / "none"))


@pytest.mark.parametrize("number", ["0", "-1", "many", "99999999"])
def test_a_number_without_sense_is_refused(number):
    with pytest.raises(CommandError, match="whole number"):
        report(f"--last={number}")


def test_staff_see_it_and_nobody_else(upload, alice, bob):
    reference = read(bundle.current())
    keep(upload, [0.2] * 150, reference.chest_xray_scores[::5][:150].tolist())
    assert drift.drift_for(access.Person(user=alice)) is None
    assert render_to_string("diagnosis/includes/drift.html", {"drift": None}).strip() == ""
    page = render_to_string("diagnosis/includes/drift.html", {"drift": drift.drift_for(access.Person(user=bob))})
    assert "Much drift" in page
    assert "Stable" in page
    assert "77 %" in page
