"""What is told when the machine fails: a full disk, a database that cannot be written, too many writers."""

import errno
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.test import Client

from diagnosis import audit, faults
from diagnosis.models import AuditEvent, Prediction, Upload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sender(alice) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    return client


def send(client: Client, xray, address: str = "/predict", **headers):
    files = {"file": [SimpleUploadedFile(f"{seed}.jpg", xray(seed=seed)) for seed in range(2)]}
    return client.post(address, files if address != "/predict" else {"file": files["file"][0]}, headers=headers)


def files(settings) -> list[Path]:
    return [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]


@pytest.fixture
def full_disk(monkeypatch):
    """The second file begins and does not end."""
    save, calls = FileSystemStorage._save, []

    def fail(self, name, content):
        calls.append(name)
        if len(calls) % 2:
            return save(self, name, content)
        Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
        Path(self.path(name)).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSystemStorage, "_save", fail)


@pytest.fixture
def full_database(db):
    with connection.cursor() as cursor:
        pages = cursor.execute("PRAGMA page_count").fetchone()[0]
        cursor.execute("CREATE TABLE filler (content)")
        cursor.execute(f"PRAGMA max_page_count = {pages + 2}")
        while True:
            try:
                cursor.execute("INSERT INTO filler VALUES (zeroblob(500))")
            except Exception:
                break
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count = 4294967294")
        cursor.execute("DROP TABLE filler")


@pytest.fixture
def read_only_database(db):
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = 1")
    yield
    connection.close()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("full_disk", 507, "storage_full"),
        ("full_database", 507, "storage_full"),
        ("read_only_database", 503, "storage_unavailable"),
    ],
)
def test_a_program_is_told_and_nothing_is_kept(sender, xray, settings, request, fault, status, code):
    request.getfixturevalue(fault)
    # A full database has room in pages that are there already.
    answer = next(answer for _ in range(60) if (answer := send(sender, xray)).status_code != 200)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Retry-After"] == "10"
    assert answer.json()["code"] == code
    assert answer.json()["detail"].endswith("try again later.") or "in a minute" in answer.json()["detail"]
    assert Upload.objects.count() == Prediction.objects.count()
    assert len(files(settings)) == 3 * Upload.objects.count()


def test_of_several_files_each_is_told(sender, xray, full_disk):
    answer = send(sender, xray, "/api/predictions/")
    assert answer.status_code == 200
    assert [each["problem"]["code"] for each in answer.json()["results"]] == ["storage_full"] * 2


def test_people_are_told_on_the_page(sender, xray, full_disk):
    answer = send(sender, xray, "/")
    assert answer.status_code == 507
    assert answer.content.decode().count(str(faults.FULL.detail)) == 2


def test_files_stay_where_the_database_is_lost_while_it_commits(sender, xray, settings, monkeypatch):
    """It may have kept the rows."""
    cause = sqlite3.OperationalError("disk I/O error")
    cause.sqlite_errorcode = sqlite3.SQLITE_IOERR

    def fail():
        raise OperationalError("disk I/O error") from cause

    with monkeypatch.context() as patch:
        patch.setattr(connection, "commit", fail)
        assert send(sender, xray).status_code == 503
    assert len(files(settings)) == 3
    call_command("sweep", "--older-than", "0", "--even-most")
    assert not files(settings)


def test_after_the_fault_the_same_request_is_answered(sender, xray, read_only_database):
    key = {"Idempotency-Key": "b1946ac9"}
    assert send(sender, xray, **key).status_code == 503
    # The connection was let go, and the next one writes.
    assert send(sender, xray, **key).status_code == 200


def test_looking_at_a_result_while_nothing_can_be_noted_is_told(sender, xray, read_only_database):
    connection.close()
    url = send(sender, xray).json()["url"]
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = 1")
    answer = sender.get(url)
    assert answer.status_code == 503
    assert str(faults.NOT_WRITABLE.detail) in answer.content.decode()
    assert answer["Retry-After"]


@pytest.mark.parametrize("address", ["/accounts/login/", "/predict"])
def test_a_session_that_cannot_be_kept_is_told(alice, xray, monkeypatch, address):
    """The middleware writes it, after the view."""

    def fail(self, must_create=False):
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA query_only = 1")
            cursor.execute("DELETE FROM django_session")

    client = Client(raise_request_exception=False)
    monkeypatch.setattr(SessionStore, "save", fail)
    if address == "/predict":
        answer = send(client, xray)
        assert answer.json()["code"] == "storage_unavailable"
    else:
        answer = client.post(address, {"username": "alice", "password": "secret of alice"})
        assert str(faults.NOT_WRITABLE.detail) in answer.content.decode()
    assert answer.status_code == 503
    connection.close()


def test_an_error_of_the_program_stays_one(sender, xray):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE diagnosis_auditevent RENAME TO elsewhere")
    try:
        assert send(sender, xray).status_code == 500
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO diagnosis_auditevent")


def test_thirty_two_writers_at_once_wait_for_each_other():
    failures = []

    def write(number: int) -> None:
        try:
            for n in range(10):
                with transaction.atomic():
                    before = AuditEvent.objects.filter(actor=f"writer {number}").count()
                    assert before == n
                    audit.record_many(f"writer {number}", audit.Action.EXPORTED, str(n))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=[number]) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert AuditEvent.objects.count() == 320


def test_the_database_is_set_for_many_readers_and_writers():
    with connection.cursor() as cursor:
        asked = {
            name: cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert asked == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 20_000}


def test_sweep_removes_what_no_record_tells_of_and_nothing_in_flight(sender, xray, settings, capsys):
    assert send(sender, xray).status_code == 200
    kept = sorted(files(settings))
    stray = Path(settings.MEDIA_ROOT, "uploads/0a/0a000000-0000-4000-8000-000000000000/xray.jpg")
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"x")
    call_command("sweep")
    assert stray.exists(), "its record may be about to come"
    call_command("sweep", "--older-than", "0", "--dry-run")
    assert "Would delete 1 files" in capsys.readouterr().out
    call_command("sweep", "--older-than", "0")
    assert sorted(files(settings)) == kept
    assert not stray.parent.exists()


def test_in_front_of_another_database_sweep_and_purge_keep_all_pictures(sender, xray, settings):
    for _ in range(2):
        assert send(sender, xray).status_code == 200
    kept = sorted(files(settings))
    for path in kept:
        os.utime(path, (0, 0))
    Upload.objects.all().delete()
    for command in (["sweep", "--older-than", "0"], ["purge", "--older-than", "30"]):
        with pytest.raises(CommandError, match=r"tells of 0 stored files.* 6 others.*DATABASE_URL.*--even-most"):
            call_command(*command)
    assert sorted(files(settings)) == kept
    call_command("sweep", "--even-most")
    assert not files(settings)
