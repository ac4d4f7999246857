"""`backup` and `restore`: one file that holds all, and the way back."""

import errno
import json
import os
import shutil
import sqlite3
import zipfile
from pathlib import Path

import pytest
import requests
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.core.signals import request_finished
from django.db import OperationalError, close_old_connections, connection

from diagnosis import backup, services
from diagnosis.models import AuditEvent, Prediction, Review, Upload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_stays(settings):
    """A restore puts aside what was there beside the tests' database, which lies in no folder of the test's own."""
    there = set(settings.VAR_DIR.glob(".before-*"))
    yield
    for folder in {*settings.VAR_DIR.glob(".before-*")} - there:
        shutil.rmtree(folder)


@pytest.fixture
def send(client, alice, xray):
    """Sends the phantom `seed` as alice."""
    client.force_login(alice)

    def post(seed: int = 0) -> Prediction:
        answer = client.post("/predict", {"file": _file(xray(seed=seed))})
        return Prediction.objects.get(pk=answer.json()["id"])

    return post


def _file(content: bytes):
    from django.core.files.uploadedfile import SimpleUploadedFile

    return SimpleUploadedFile("xray.jpg", content)


def stored(settings) -> dict[str, bytes]:
    root = Path(settings.MEDIA_ROOT)
    files = (path for folder in ("uploads", "predictions") for path in (root / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def rows() -> list:
    return [list(model.objects.order_by("pk").values()) for model in (Upload, Prediction, Review, AuditEvent)]


def test_a_round_trip_brings_everything_back(send, bob, settings, tmp_path, capsys):
    predictions = [send(seed) for seed in range(3)]
    Review.objects.create(prediction=predictions[0], reviewer=bob, reading="Normal", note="clear")
    before_rows, before_files = rows(), stored(settings)
    call_command("backup", str(tmp_path / "all.zip"))
    assert "3 uploads and 3 predictions with 9 files" in capsys.readouterr().out
    assert (tmp_path / "all.zip").stat().st_mode & 0o077 == 0, "it holds people's X-rays"

    services.delete([predictions[1].upload], by="test")
    send(7)
    call_command("restore", str(tmp_path / "all.zip"), "--force")
    assert rows() == before_rows
    assert stored(settings) == before_files
    made = [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o077 for path in made} == {0}, "nobody else looks into them"
    assert not list(tmp_path.glob(".backup-*"))


def test_a_browser_that_stays_connected_to_the_tests_server_does_not_keep_the_database_in_use(live_server):
    with requests.Session() as browser:
        request_finished.disconnect(close_old_connections)  # as the test client does while it ends a request
        try:
            assert browser.get(f"{live_server.url}/readyz").ok
        finally:
            request_finished.connect(close_old_connections)
        connection.close()
        backup._be_alone(backup._database())


def test_data_are_not_replaced_without_being_told_to(send, settings, tmp_path):
    send()
    call_command("backup", str(tmp_path / "all.zip"))
    files = stored(settings)
    with pytest.raises(CommandError, match="--force"):
        call_command("restore", str(tmp_path / "all.zip"))
    assert stored(settings) == files
    with pytest.raises(CommandError, match="exists"):
        call_command("backup", str(tmp_path / "all.zip"))


def test_a_failed_migration_leaves_everything_as_it_was(send, settings, tmp_path, monkeypatch):
    send(1)
    call_command("backup", str(tmp_path / "all.zip"))
    send(2)
    before_rows, before_files = rows(), stored(settings)

    def fail(*args, **options):
        raise OperationalError("disk I/O error")

    monkeypatch.setattr(backup, "call_command", fail)
    with pytest.raises(CommandError, match="existing data are unchanged"):
        call_command("restore", str(tmp_path / "all.zip"), "--force")
    assert rows() == before_rows
    assert stored(settings) == before_files
    assert not [*tmp_path.rglob(".before-*"), *tmp_path.rglob(".backup-*")]


def test_an_upload_deleted_during_the_backup_is_left_out_whole(send, settings, tmp_path, monkeypatch):
    send(1), send(2)
    kept, doomed = Upload.objects.order_by("pk")
    put = backup.shutil.copyfileobj

    def delete_meanwhile(*args):
        if Upload.objects.filter(pk=doomed.pk).exists():
            services.delete([doomed], by="test")
        return put(*args)

    monkeypatch.setattr(backup.shutil, "copyfileobj", delete_meanwhile)
    made = backup.write(tmp_path / "all.zip")
    assert (made.uploads, made.predictions, made.files, made.deleted) == (1, 1, 3, 1)
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert sorted(set(archive.namelist()) - {"backup.json", "database.sqlite3"}) == sorted(
            f"media/{name}" for name in (kept.file, kept.thumbnail, kept.predictions.get().heatmap)
        )
    monkeypatch.undo()
    settings.MEDIA_ROOT = str(tmp_path / "media")
    call_command("restore", str(tmp_path / "all.zip"), "--force")
    assert Upload.objects.get() == kept


def test_a_record_without_its_file_is_told(send, tmp_path):
    prediction = send()
    default_storage.delete(prediction.heatmap.name)
    with pytest.raises(CommandError, match="missing"):
        call_command("backup", str(tmp_path / "all.zip"))
    assert not list(tmp_path.glob("*.zip")) + list(tmp_path.glob(".all*"))


def _damage_picture(content: dict[str, bytes]) -> None:
    name = next(name for name in content if name.endswith("xray.jpg"))
    del content[name]


def _damage_database(content: dict[str, bytes]) -> None:
    content["database.sqlite3"] = content["database.sqlite3"][:-5000]


def _lead_elsewhere(content: dict[str, bytes]) -> None:
    path = Path(content.pop("folder").decode()) / "evil.sqlite3"
    path.write_bytes(content["database.sqlite3"])
    with sqlite3.connect(path) as database:
        database.execute("UPDATE diagnosis_upload SET file = '../../evil.jpg'")
    database.close()
    content["database.sqlite3"] = path.read_bytes()
    contents = json.loads(content["backup.json"])
    content["backup.json"] = json.dumps({**contents, "sha256": backup._sha256(path)}).encode()
    content["media/../../evil.jpg"] = b"x"


def _of_the_future(content: dict[str, bytes]) -> None:
    path = Path(content.pop("folder").decode()) / "new.sqlite3"
    path.write_bytes(content["database.sqlite3"])
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('diagnosis', '9999_new', '2030-01-01')"
        )
    database.close()
    content["database.sqlite3"] = path.read_bytes()
    contents = json.loads(content["backup.json"])
    content["backup.json"] = json.dumps({**contents, "sha256": backup._sha256(path)}).encode()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_damage_picture, "no whole backup"),
        (_damage_database, "damaged"),
        (_lead_elsewhere, "damaged"),
        (_of_the_future, "newer version"),
        (lambda content: content.pop("backup.json"), "no whole backup"),
    ],
)
def test_what_is_not_sound_is_not_restored(send, settings, tmp_path, spoil, sentence):
    send()
    call_command("backup", str(tmp_path / "all.zip"))
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["folder"] = str(tmp_path).encode()
    spoil(content)
    content.pop("folder", None)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    before_rows, before_files = rows(), stored(settings)
    with pytest.raises(CommandError, match=sentence):
        call_command("restore", str(tmp_path / "bad.zip"), "--force")
    assert (rows(), stored(settings)) == (before_rows, before_files)


def _scratch(content: bytearray, database: zipfile.ZipInfo) -> None:
    for place in range(200, 260):
        content[database.header_offset + place] ^= 0xFF


def _lock(content: bytearray, database: zipfile.ZipInfo) -> None:
    for head, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = -1
        while (place := content.find(head, place + 1)) >= 0:
            content[place + flags] |= 1


@pytest.mark.parametrize("spoil", [_scratch, _lock])
def test_a_file_that_was_damaged_afterwards_is_told(send, settings, tmp_path, spoil):
    send()
    call_command("backup", str(tmp_path / "all.zip"))
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        database = archive.getinfo("database.sqlite3")
    content = bytearray((tmp_path / "all.zip").read_bytes())
    spoil(content, database)
    (tmp_path / "bad.zip").write_bytes(content)
    files = stored(settings)
    with pytest.raises(CommandError, match="damaged"):
        call_command("restore", str(tmp_path / "bad.zip"), "--force")
    assert stored(settings) == files


def test_a_database_without_tables_is_told(tmp_path, settings, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "NAME", str(tmp_path / "empty.sqlite3"))
    with pytest.raises(CommandError, match="migrate"):
        call_command("backup", str(tmp_path / "all.zip"))


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_links_takes_a_backup(send, tmp_path, monkeypatch, number):
    send()

    def refuse(*_args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(backup.os, "link", refuse)
    call_command("backup", str(tmp_path / "all.zip"))
    assert zipfile.is_zipfile(tmp_path / "all.zip")


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_what_is_no_backup_is_not_restored(send, tmp_path, content):
    send()
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(CommandError, match="no backup"):
        call_command("restore", str(tmp_path / "bad.zip"), "--force")
    with pytest.raises(CommandError, match="There is no file"):
        call_command("restore", str(tmp_path / "none.zip"), "--force")


def test_nothing_is_restored_under_a_running_site(send, tmp_path):
    send()
    call_command("backup", str(tmp_path / "all.zip"))
    other = sqlite3.connect(connection.settings_dict["NAME"])
    other.execute("SELECT count(*) FROM diagnosis_upload").fetchone()
    with pytest.raises(CommandError, match="Stop the site first"):
        call_command("restore", str(tmp_path / "all.zip"), "--force")
    other.close()


def test_another_database_is_copied_by_its_own_tool(send, tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "vendor", "postgresql")
    with pytest.raises(CommandError, match="pg_dump"):
        call_command("backup", str(tmp_path / "all.zip"))
