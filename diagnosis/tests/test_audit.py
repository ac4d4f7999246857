"""Who did what to which prediction is kept, and nobody alters it. What is old is deleted, rows and files."""

import datetime
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from diagnosis.models import AuditEvent, Prediction, Upload

pytestmark = pytest.mark.django_db
LIST = "/admin/diagnosis/auditevent/"


@pytest.fixture
def prediction(client, xray, alice) -> Prediction:
    client.force_login(alice)
    client.post("/predict", {"file": SimpleUploadedFile("DOE^JANE.jpg", xray())})
    return Prediction.objects.get()


def events() -> list[tuple[str, str, str]]:
    return [(event.actor, event.action, event.detail) for event in AuditEvent.objects.order_by("id")]


@pytest.mark.django_db(transaction=True)
def test_making_looking_and_deleting_are_kept_without_the_file_name(client, prediction, ada):
    client.get(f"/predictions/{prediction.pk}/")
    client.get(f"/predictions/{prediction.pk}/xray")
    staff = Client()
    staff.force_login(ada)
    staff.post(f"/admin/diagnosis/prediction/{prediction.pk}/delete/", {"post": "yes"})
    assert events() == [
        ("alice", "made", ""),
        ("alice", "viewed", "result"),
        ("alice", "viewed", "picture"),
        ("ada", "deleted", ""),
    ]
    assert set(AuditEvent.objects.values_list("prediction", flat=True)) == {prediction.pk}


def test_looking_at_what_is_not_shown_is_no_event(prediction, charlie):
    stranger = Client()
    stranger.force_login(charlie)
    assert stranger.get(f"/predictions/{prediction.pk}/").status_code == 404
    assert events() == [("alice", "made", "")]


def test_a_stranger_who_exports_nothing_writes_nothing(client, prediction):
    for query in ("", "?label=Normal"):
        assert Client().get(f"/history/export.csv{query}").status_code == 200
    assert events() == [("alice", "made", "")]
    client.get("/history/export.csv?name=none")
    assert events()[1] == ("alice", "exported", "0 predictions as csv; name=…")


def test_a_visitor_is_known_by_the_key_of_the_session(client, xray):
    client.post("/predict", {"file": SimpleUploadedFile("a.jpg", xray())})
    assert AuditEvent.objects.get().actor == f"visitor {Upload.objects.get().visitor}"


def test_events_are_written_once(prediction):
    event = AuditEvent.objects.get()
    event.actor = "somebody else"
    for change in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(actor="somebody else"),
    ):
        with pytest.raises(TypeError, match="append-only"):
            change()
    assert AuditEvent.objects.get().actor == "alice"


def test_the_admin_shows_events_and_changes_none(client, prediction, bob, admin_client):
    page = admin_client.get(f"{LIST}?q={prediction.pk}").content.decode()
    assert "alice" in page
    event = AuditEvent.objects.get()
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{LIST}{event.pk}/change/", {"actor": "x"}).status_code == 403
    assert admin_client.post(f"{LIST}{event.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in page


@pytest.mark.django_db(transaction=True)
def test_purge_deletes_what_is_old_rows_and_files(prediction, client, xray, settings, capsys):
    folder = Path(prediction.upload.file.path).parent
    Upload.objects.update(created=timezone.now() - datetime.timedelta(days=31))
    client.post("/predict", {"file": SimpleUploadedFile("new.jpg", xray())})

    call_command("purge", "--older-than", "30", "--dry-run")
    assert "Would delete 1 uploads" in capsys.readouterr().out
    assert Upload.objects.count() == 2

    call_command("purge", "--older-than", "30")
    assert "Deleted 1 uploads" in capsys.readouterr().out
    assert Upload.objects.get().original_name == "new.jpg"
    assert len([path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]) == 3
    assert not folder.exists()
    assert ("manage.py purge", "deleted", "") in events()


def test_no_user_passes_for_a_command(prediction):
    Upload.objects.update(created=timezone.now() - datetime.timedelta(days=31))
    call_command("purge", "--older-than", "30")
    with pytest.raises(ValidationError):
        get_user_model().username_validator(AuditEvent.objects.get(action="deleted").actor)


def test_purge_finds_files_without_a_record(prediction, settings, capsys, monkeypatch):
    """What a crash between writing files and rows leaves."""
    stray = "uploads/0a/0a000000-0000-4000-8000-000000000000/xray.jpg"
    default_storage.save(stray, ContentFile(b"x"))
    default_storage.save("uploads/notes/mine/readme.txt", ContentFile(b"x"))
    call_command("purge", "--older-than", "1")
    assert default_storage.exists(stray), "it may belong to a request that is under way"
    later = timezone.now() + datetime.timedelta(days=2)
    Upload.objects.update(created=later)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    call_command("purge", "--older-than", "1")
    assert "0 uploads and 1 files" in capsys.readouterr().out.splitlines()[-1]
    assert not default_storage.exists(stray)
    assert default_storage.exists("uploads/notes/mine/readme.txt")
    assert default_storage.exists(prediction.upload.file.name)


@pytest.mark.parametrize("days", ["0", "-3", "999999"])
def test_purge_asks_for_a_sensible_number_of_days(days):
    with pytest.raises(CommandError, match="number of days"):
        call_command("purge", f"--older-than={days}")
