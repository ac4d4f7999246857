"""What people read becomes training data: the right label, no name, and nothing of the frozen test split."""

import csv
import hashlib
import io
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command

from diagnosis.models import AuditEvent, Prediction, Review
from ml_model import dataset

pytestmark = pytest.mark.django_db


def send(client, data: bytes, name: str = "DOE^JANE.jpg") -> Prediction:
    client.post("/predict", {"file": SimpleUploadedFile(name, data)})
    return Prediction.objects.get(pk=Prediction.objects.latest("created").pk)


def read(prediction: Prediction, reviewer, reading: str, *, blind: bool = True, **more) -> Review:
    return Review.objects.create(prediction=prediction, reviewer=reviewer, reading=reading, blind=blind, **more)


def export(folder: Path, *options: str) -> str:
    out = io.StringIO()
    call_command("export_reviewed", str(folder), *options, stdout=out)
    return out.getvalue()


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_read_pictures_lie_in_the_training_layout_with_a_manifest(client, alice, bob, xray, tmp_path):
    client.force_login(alice)
    normal, ill = send(client, xray(seed=1)), send(client, xray("PNG", seed=2))
    send(client, xray(seed=3))  # nobody reads it
    read(normal, bob, "Normal")
    read(ill, bob, "Pneumonia", note="left base of JANE DOE")
    folder = tmp_path / "deeper" / "reviewed"
    assert "1 normal and 1 pneumonia" in export(folder)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {
        f"NORMAL/{normal.upload.pk}.jpg",
        f"PNEUMONIA/{ill.upload.pk}.png",
        "manifest.csv",
    }
    first, second = rows(folder)
    assert first == {
        "file": f"NORMAL/{normal.upload.pk}.jpg",
        "sha256": hashlib.sha256(xray(seed=1)).hexdigest(),
        "reading": "Normal",
        "reviewer": "bob",
        "reviewed": first["reviewed"],
        "blind": "True",
        "model_version": normal.model_version,
        "model_label": normal.label,
        "probability": str(normal.probability),
        "prediction": str(normal.pk),
    }
    assert second["reading"] == "Pneumonia"
    with normal.upload.file.open() as stored:
        assert (folder / first["file"]).read_bytes() == stored.read()
    assert "DOE" not in (folder / "manifest.csv").read_text()
    event = AuditEvent.objects.get(action="exported")
    with pytest.raises(ValidationError):
        get_user_model().username_validator(event.actor)
    assert (event.actor, event.detail) == ("manage.py export_reviewed", "2 reviewed pictures for training")


def test_the_latest_reading_of_a_picture_counts_however_often_it_was_sent(client, alice, bob, ada, xray, tmp_path):
    client.force_login(alice)
    first, again = send(client, xray()), send(client, xray())
    read(first, bob, "Normal")
    read(again, ada, "Normal")
    read(first, ada, "Pneumonia")
    export(tmp_path / "reviewed")
    (row,) = rows(tmp_path / "reviewed")
    assert (row["reading"], row["reviewer"], row["prediction"]) == ("Pneumonia", "ada", str(first.pk))


def test_readers_who_had_seen_the_answer_teach_only_where_asked_to_and_nobody_else_did(
    client, alice, bob, ada, xray, tmp_path
):
    client.force_login(alice)
    both, led = send(client, xray(seed=1)), send(client, xray(seed=2))
    read(both, bob, "Normal")
    read(both, ada, "Normal")
    for prediction in (both, led):
        read(prediction, bob, "Pneumonia", blind=False)
    told = export(tmp_path / "blind")
    assert "1 normal and 0 pneumonia" in told
    assert "0 unreadable, 0 negatives, 1 without a blind reading" in told
    assert [(row["reading"], row["reviewer"], row["blind"]) for row in rows(tmp_path / "blind")] == [
        ("Normal", "ada", "True")
    ]
    told = export(tmp_path / "all", "--all")
    assert "1 normal and 1 pneumonia" in told
    assert "1 of them without a blind reading; left out: 0 unreadable, 0 negatives." in told
    assert [(row["reading"], row["blind"]) for row in rows(tmp_path / "all")] == [
        ("Normal", "True"),
        ("Pneumonia", "False"),
    ]


def test_what_cannot_be_read_and_negatives_are_left_out_and_counted(client, alice, bob, xray, tmp_path):
    client.force_login(alice)
    blurred, negative = send(client, xray(seed=1)), send(client, xray(seed=2))
    Prediction.objects.filter(pk=negative.pk).update(inverted=True)
    read(blurred, bob, "Pneumonia")
    read(blurred, bob, "Unreadable")
    read(negative, bob, "Normal")
    assert "left out: 1 unreadable, 1 negatives" in export(tmp_path / "reviewed")
    assert rows(tmp_path / "reviewed") == []
    with pytest.raises(CommandError, match="No pictures"):
        train(tmp_path, extra=tmp_path / "reviewed")


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("")
    with pytest.raises(CommandError, match="not empty"):
        export(tmp_path)
    with pytest.raises(CommandError, match=r"note\.txt"):
        export(tmp_path / "note.txt")
    assert not AuditEvent.objects.exists()


def test_a_lost_file_is_told(client, alice, bob, xray, tmp_path):
    client.force_login(alice)
    prediction = send(client, xray())
    read(prediction, bob, "Normal")
    prediction.upload.file.storage.delete(prediction.upload.file.name)
    with pytest.raises(CommandError, match="not whole"):
        export(tmp_path / "reviewed")


def train(data: Path, **options) -> None:
    """As far as the check of the folders, which comes before anything slow."""
    for part in ("train", "test"):
        for name in ("NORMAL", "PNEUMONIA"):
            folder = data / part / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "known.jpg").write_bytes(f"{part} {name}".encode())
    call_command("train_model", str(data), **options)


def test_pictures_that_the_public_set_holds_are_not_learned_from_again(client, alice, bob, xray, tmp_path):
    """Neither as they lie there, nor after the site has taken their metadata out."""
    client.force_login(alice)
    frozen, new = xray(seed=1, comment=b"a scanner's note"), xray(seed=2)
    read(send(client, frozen), bob, "Normal")
    read(send(client, new), bob, "Normal")
    reviewed, data = tmp_path / "reviewed", tmp_path / "data"
    export(reviewed)
    (data / "test" / "NORMAL").mkdir(parents=True)
    (data / "test" / "NORMAL" / "IM-0001-0001.jpeg").write_bytes(frozen)
    (reviewed / "PNEUMONIA" / "copy.jpg").write_bytes(frozen)
    kept, left_out = dataset.extra_files(reviewed, data)
    assert ([label for _, label in kept], left_out) == ([0], 2)
    assert str(Prediction.objects.latest("created").upload.pk) in kept[0][0].name
    pictures = dataset.load_extra(kept * 2, 64)
    assert pictures.counts() == {"normal": 2, "pneumonia": 0, "patients": 1}


@pytest.mark.parametrize("manifest", [b"name\nx\n", b"\xff\xfe\x00"])
def test_a_manifest_of_another_kind_is_refused_before_tensorflow_is_loaded(tmp_path, manifest):
    reviewed = tmp_path / "reviewed"
    (reviewed / "NORMAL").mkdir(parents=True)
    (reviewed / "NORMAL" / "a.jpg").write_bytes(b"x")
    (reviewed / "manifest.csv").write_bytes(manifest)
    with pytest.raises(CommandError, match=r"manifest\.csv is not what export_reviewed writes"):
        train(tmp_path, extra=reviewed)
