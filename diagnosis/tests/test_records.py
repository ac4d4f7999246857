"""What is kept: rows and files together or not at all, and nothing untrue."""

import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import ProtectedError, Q

from diagnosis import access, services
from diagnosis.inference import serving
from diagnosis.models import Prediction, Upload

pytestmark = pytest.mark.django_db


def diagnose(data: bytes, user) -> Prediction:
    return services.diagnose(file=ContentFile(data), name="x.jpg", sender=access.Person(user=user))


def stored(settings) -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


def test_the_picture_is_stored_without_its_metadata_and_described(xray, alice, settings):
    data = xray(comment=b"DOE^JANE")
    prediction = diagnose(data, alice)
    upload = prediction.upload
    assert b"DOE^JANE" not in upload.file.open().read()
    assert upload.file.open().read() == xray()
    assert (upload.width, upload.height, upload.format, upload.size) == (640, 560, "JPEG", len(data))
    assert len(stored(settings)) == 3
    assert {path.stat().st_mode & 0o077 for path in stored(settings)} == {0}


def test_a_database_that_fails_leaves_no_file(xray, alice, settings, monkeypatch):
    def fail(*args, **kwargs):
        raise DatabaseError("disk full")

    monkeypatch.setattr(Prediction, "save", fail)
    with pytest.raises(DatabaseError):
        diagnose(xray(), alice)
    assert not Upload.objects.exists()
    assert stored(settings) == []


@pytest.mark.parametrize("file_name", ["xray.jpg", "thumbnail.jpg", "heatmap.png"])
def test_a_storage_that_fails_leaves_neither_row_nor_file(xray, alice, settings, monkeypatch, file_name):
    save = default_storage.save

    def fail_for_one(name, content, max_length=None):
        if name.endswith(file_name):
            raise OSError("no space left on device")
        return save(name, content, max_length=max_length)

    monkeypatch.setattr(Upload._meta.get_field("file").storage, "save", fail_for_one)
    with pytest.raises(OSError, match="no space"):
        diagnose(xray(), alice)
    assert not Upload.objects.exists()
    assert stored(settings) == []


@pytest.mark.django_db(transaction=True)
def test_deleting_takes_rows_and_files(xray, alice, settings):
    first, second = diagnose(xray(), alice), diagnose(xray(), alice)
    assert services.delete([first.upload], by="test") == 1
    assert services.delete([first.upload], by="test") == 0, "it was deleted before"
    assert list(Prediction.objects.all()) == [second]
    assert len(stored(settings)) == 3


@pytest.mark.django_db(transaction=True)
def test_predictions_from_before_they_had_a_sender_get_their_uploads(xray, alice):
    visitor = access.Person(visitor=uuid.uuid4())
    diagnose(xray(), alice)
    services.diagnose(file=ContentFile(xray()), name="x", sender=visitor)
    before = list(Prediction.objects.values())
    call_command("migrate", "diagnosis", "0011", verbosity=0)
    call_command("migrate", "diagnosis", verbosity=0)
    assert list(Prediction.objects.values()) == before
    assert {(row["owner_id"], row["visitor"]) for row in before} == {(alice.pk, None), (None, visitor.visitor)}


def test_an_owner_of_records_is_not_deleted_by_accident(xray, alice):
    diagnose(xray(), alice)
    with pytest.raises(ProtectedError):
        alice.delete()


@pytest.mark.parametrize(
    "untrue",
    [
        {"probability": 1.2},
        {"probability": float("nan")},
        {"threshold": 0.0},
        {"label": "Pneumonia", "probability": 0.1, "threshold": 0.5},
        {"label": "Normal", "probability": 0.9, "threshold": 0.5},
        {"label": "Maybe"},
        {"milliseconds": -1},
        {"heatmap": ""},
        {"status": "rejected"},
        {"label": "", "probability": None},
        {"chest_xray_score": 1.5},
        {"owner": None},
    ],
)
def test_the_database_refuses_untrue_predictions(xray, alice, untrue):
    prediction = diagnose(xray(), alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        Prediction.objects.filter(pk=prediction.pk).update(**untrue)


@pytest.mark.parametrize(
    "untrue", [{"sha256": "abc"}, {"width": 0}, {"size": 0}, {"format": "GIF"}, {"owner": None}, {"file": ""}]
)
def test_the_database_refuses_untrue_uploads(xray, alice, untrue):
    upload = diagnose(xray(), alice).upload
    with pytest.raises(IntegrityError), transaction.atomic():
        Upload.objects.filter(pk=upload.pk).update(**untrue)


def test_the_database_knows_the_formats_that_are_read():
    assert Upload.Format.values == list(serving.FORMATS)
    (known,) = (each for each in Upload._meta.constraints if each.name == "upload_format_is_known")
    assert known.condition == Q(format__in=list(serving.FORMATS))


def test_a_file_over_the_limit_is_not_read(alice, settings):
    settings.MAX_UPLOAD_MB = 1
    file = SimpleNamespace(size=5_000_000)
    with pytest.raises(serving.PictureError, match=r"5 MB"):
        services.diagnose(file=file, name="x", sender=access.Person(user=alice))
