"""What belongs to a person: to take along, and to delete."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis import services
from diagnosis.models import ApiToken, AuditEvent, Review, Upload
from diagnosis.tests.test_accounts import log_in, send, text

pytestmark = pytest.mark.django_db


def test_all_that_is_mine_is_in_the_download_and_nothing_else(client, alice, charlie, xray, no_xray):
    other = Client()
    other.force_login(charlie)
    send(other, xray(seed=9))
    client.force_login(alice)
    made = send(client, xray(), "../chest ü.jpg")
    client.post("/predict", {"file": SimpleUploadedFile("board.png", no_xray)})
    response = client.get("/accounts/download")
    assert response["Content-Disposition"] == 'attachment; filename="pneumonia-site.zip"'
    with zipfile.ZipFile(io.BytesIO(b"".join(response.streaming_content))) as archive:
        names = set(archive.namelist())
        told = json.loads(archive.read("predictions.json"))
        assert archive.read(told[0]["picture"]) == made.upload.file.open().read()
        assert archive.read(told[0]["heatmap"]) == made.heatmap.open().read()
    assert [row["file_name"] for row in told] == ["chest ü.jpg", "board.png"]
    assert [row["status"] for row in told] == ["ok", "rejected"]
    assert names == {
        "predictions.json",
        "readings.json",
        *(row[what] for row in told for what in ("picture", "heatmap") if what in row),
    }
    assert AuditEvent.objects.filter(actor="alice", action="exported").count() == 1


def test_who_only_reads_takes_the_readings_along(client, alice, bob, xray):
    client.force_login(alice)
    made = send(client, xray())
    Review.objects.create(prediction=made, reviewer=bob, reading=Review.Reading.NORMAL, note="Clear lungs.")
    client.force_login(bob)
    page = client.get("/accounts/").content.decode()
    assert 'href="/accounts/download"' in page
    assert 'href="/accounts/delete"' not in page, "there is nothing of bob's to delete"
    with zipfile.ZipFile(io.BytesIO(b"".join(client.get("/accounts/download").streaming_content))) as archive:
        assert json.loads(archive.read("predictions.json")) == []
        (told,) = json.loads(archive.read("readings.json"))
    assert (told["prediction"], told["reading"], told["note"]) == (str(made.pk), "Normal", "Clear lungs.")


def test_a_picture_that_storage_lost_keeps_nobody_from_the_rest(client, alice, xray):
    client.force_login(alice)
    send(client, xray()).upload.file.delete(save=False)
    kept = send(client, xray(seed=1))
    with zipfile.ZipFile(io.BytesIO(b"".join(client.get("/accounts/download").streaming_content))) as archive:
        told = json.loads(archive.read("predictions.json"))
        assert archive.read(told[1]["picture"]) == kept.upload.file.open().read()
    assert [row["picture"] is None for row in told] == [True, False]


def test_the_download_is_made_while_it_is_sent(client, alice, xray):
    """And nowhere kept: of somebody with many pictures it has gigabytes."""
    client.force_login(alice)
    first = send(client, xray())
    send(client, xray(seed=1))
    pieces = client.get("/accounts/download").streaming_content
    beginning = next(pieces)
    assert first.upload.file.open().read() in beginning
    with zipfile.ZipFile(io.BytesIO(beginning + b"".join(pieces))) as archive:
        assert archive.testzip() is None


@pytest.mark.django_db(transaction=True)
def test_all_that_is_mine_is_deleted_after_the_password(client, alice, bob, charlie, xray, settings):
    other = Client()
    other.force_login(charlie)
    theirs = send(other, xray(seed=9))
    client.force_login(alice)
    mine = send(client, xray())
    Review.objects.create(prediction=mine, reviewer=bob, reading=Review.Reading.NORMAL)
    refused = client.post("/accounts/delete", {"password": "wrong"})
    assert refused.status_code == 400
    assert "Nothing was done" in text(refused)
    assert Upload.objects.count() == 2
    done = client.post("/accounts/delete", {"password": "secret of alice"}, follow=True)
    assert "1 picture was deleted, with everything made from it" in text(done)
    assert [upload.owner for upload in Upload.objects.all()] == [charlie]
    assert not Review.objects.exists()
    left = {path.parent.name for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()}
    assert left == {str(theirs.pk), str(theirs.upload_id)}
    assert set(AuditEvent.objects.filter(prediction=mine.pk).values_list("action", flat=True)) == {"made", "deleted"}
    assert log_in(Client(), "alice", "secret of alice").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_others_write_while_somebody_deletes_all_that_is_theirs(client, alice, make, monkeypatch):
    for name in "abcde":
        make(name)
    left = []  # after each transaction
    monkeypatch.setattr(services, "BATCH", 2)
    monkeypatch.setattr(services, "delete_files", lambda names: left.append(Upload.objects.count()))
    client.force_login(alice)
    done = client.post("/accounts/delete", {"password": "secret of alice"}, follow=True)
    assert left == [3, 1, 0]
    assert "5 pictures were deleted, with everything made from them" in text(done)


# --- Closing the account --------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_closed_account_leaves_nothing_but_its_name_its_readings_and_the_log(client, alice, bob, xray, settings):
    settings.SIGN_UP = True
    other = Client()
    other.force_login(bob)
    theirs = send(other, xray(seed=9))
    client.force_login(alice)
    mine = send(client, xray())
    Review.objects.create(prediction=theirs, reviewer=alice, reading=Review.Reading.NORMAL)
    _token, secret = ApiToken.objects.create(alice, name="script")
    refused = client.post("/accounts/close/", {"password": "wrong"})
    assert refused.status_code == 400
    assert "Nothing was done" in text(refused)
    assert "Your account has been closed" in text(
        client.post("/accounts/close/", {"password": "secret of alice"}, follow=True)
    )
    assert client.get("/accounts/").status_code == 302, "logged out"
    assert list(Upload.objects.values_list("owner__username", flat=True)) == ["bob"]
    assert [review.reviewer for review in Review.objects.all()] == [alice]
    assert AuditEvent.objects.filter(prediction=mine.pk, action="deleted").exists()
    alice.refresh_from_db()
    assert (alice.is_active, alice.email) == (False, "")
    assert log_in(Client(), "alice", "secret of alice").status_code == 200, "the form once more"
    assert Client().get("/api/predictions/", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    again = {"username": "Alice", "password1": "Zebra-lamp-72", "password2": "Zebra-lamp-72"}
    assert Client().post("/accounts/sign-up/", again).status_code == 400, "nobody else takes the name"


@pytest.mark.django_db
def test_a_superuser_cannot_close_the_door_behind_themselves(client, django_user_model):
    root = django_user_model.objects.create_superuser("root", password="secret of root")
    client.force_login(root)
    assert "/accounts/close/" not in client.get("/accounts/").content.decode()
    said = client.post("/accounts/close/", {"password": "secret of root"}, follow=True)
    assert "by another superuser" in text(said)
    root.refresh_from_db()
    assert root.is_active
