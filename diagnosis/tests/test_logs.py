"""What the log tells, and that it never tells who a picture shows, who somebody is, or what they looked for."""

import errno
import io
import json
import logging
import os
import secrets
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, transaction
from django.test import Client

from diagnosis import logs, services
from diagnosis.inference import serving
from diagnosis.models import Upload

ID = "0123456789abcdef0123456789abcdef"
JANE = "jane_doe_1971"
"""Stands in everything that people send here, and must stand nowhere in the log."""


@pytest.fixture
def log():
    """All that the root logger says in the format of production, line by line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.Json())
    logging.getLogger().addHandler(handler)

    def lines() -> list[dict]:
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    lines.text = stream.getvalue
    yield lines
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def browser() -> Client:
    """Gets the page of a failure instead of the exception, and needs the token that guards forms."""
    return Client(raise_request_exception=False, enforce_csrf_checks=True)


def picture(data: bytes) -> dict:
    return {"file": SimpleUploadedFile(f"{JANE}.jpg", data, "image/jpeg")}


def failing(error: Exception):
    def raises(*args, **kwargs):
        raise error

    return raises


@pytest.mark.django_db
def test_no_name_of_a_file_or_person_and_no_search_is_logged(log, browser, alice, xray, no_xray, monkeypatch, settings):
    settings.AXES_FAILURE_LIMIT = 2
    api = Client(raise_request_exception=False)
    for data in (xray(), no_xray, xray()[:3000], b"no picture", b""):
        api.post("/predict", picture(data))
        api.post("/", picture(data))
        api.post("/api/predictions/", picture(data))
    api.post("/predict", picture(xray()), headers={"Idempotency-Key": JANE})
    api.post("/predict", picture(no_xray), headers={"Idempotency-Key": JANE})
    for address in ("/history/", "/api/predictions/", "/admin/diagnosis/prediction/", "/nothing/", "/api/nothing/"):
        api.get(f"{address}?name={JANE}&search={JANE}&q={JANE}")
    api.get(f"/{JANE}.jpg")
    api.get(f"/static/{JANE}.jpg")
    api.get(f"/accounts/password/reset/MQ/{JANE}/")
    api.delete(f"/history/?name={JANE}")
    api.get("/", HTTP_HOST=f"{JANE}_.example.org:wrong")
    browser.post("/", picture(xray()), headers={"Referer": f"https://testserver/history/?name={JANE}"}, secure=True)
    browser.post("/", picture(xray()), headers={"Origin": f"https://{JANE}.example.org"})
    for _ in range(4):
        api.post("/accounts/login/", {"username": JANE, "password": JANE})
    api.get("/api/tokens/", headers={"Authorization": f"Bearer {JANE}"})
    alice.email = f"{JANE}@example.org"
    alice.save()

    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"/media/{JANE}.jpg")
        patch.setattr(default_storage, "save", failing(full))
        assert api.post("/predict", picture(xray())).status_code >= 500
        patch.setattr(services, "diagnose", failing(RuntimeError(f"{JANE}.jpg made this fail")))
        for address in ("/predict", "/"):
            assert api.post(address, picture(xray())).status_code == 500
        patch.setattr(default_storage, "delete", failing(full))
        services.delete_files([f"uploads/{JANE}.jpg"])
        patch.setattr(mail.EmailMessage, "send", failing(RuntimeError(f"{JANE}@example.org was refused")))
        from django.contrib.auth.forms import PasswordResetForm

        form = PasswordResetForm({"email": alice.email})
        assert form.is_valid()
        form.save(domain_override="testserver")

    said = log.text().lower()
    assert JANE not in said
    assert "jane" not in said
    assert "alice" not in said
    told = log()
    assert {line["logger"] for line in told} >= {
        "diagnosis.middleware",
        "diagnosis.services",
        "django.contrib.auth",
        "django.request",
        "django.security.DisallowedHost",
        "django.security.csrf",
        "axes.handlers.database",
    }
    errors = "".join(line.get("error", "") for line in told)
    assert "A picture was not stored: OSError: No space left on device" in log.text(), "what the system says is kept"
    assert errors.count("RuntimeError") >= 3
    assert "Refused: DisallowedHost. The host named is not in ALLOWED_HOSTS." in log.text()


@pytest.mark.django_db
def test_the_development_server_writes_no_addresses(log):
    logging.getLogger("django.server").warning('"GET /history/?name=%s HTTP/1.1" 404', JANE)
    assert log() == []


@pytest.mark.django_db
def test_a_request_is_one_line_that_names_its_view(log, client):
    response = client.get(f"/predictions/{'0' * 8}-0000-4000-8000-{'0' * 12}/", headers={"X-Request-ID": ID})
    assert response.status_code == 404
    assert response.headers["X-Request-ID"] == ID
    (line,) = log()
    assert line["level"] == "INFO"
    assert (line["method"], line["view"], line["status"]) == ("GET", "diagnosis:prediction", 404)
    assert (line["request_id"], line["logger"]) == (ID, "diagnosis.middleware")
    assert line["message"].startswith("GET diagnosis:prediction: 404 in ")


@pytest.mark.django_db
def test_probes_and_style_sheets_are_not_logged_while_all_is_well(log, client):
    for address in ("/healthz", "/readyz", "/static/css/base.css"):
        assert client.get(address).status_code == 200
    assert log() == []
    client.get("/static/css/none.css")
    assert [line["view"] for line in log()] == ["static"]


@pytest.mark.django_db
@pytest.mark.parametrize("given", ["", "short", f"{JANE}", "Jane-Doe-was-here-today", f"{ID}\n", "a" * 65, "ä" * 20])
def test_an_id_that_could_be_words_is_replaced(client, given):
    made = client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert made != given
    assert len(made) == 32


@pytest.mark.django_db
def test_a_person_can_name_the_request_that_failed(log, browser, monkeypatch):
    monkeypatch.setattr(serving, "operating_points", failing(RuntimeError("broken")))
    page = browser.get("/", headers={"X-Request-ID": ID})
    assert page.status_code == 500
    assert f"<code>{ID}</code>" in page.content.decode()
    problem = Client().post("/predict", headers={"X-Request-ID": ID})
    assert (problem.status_code, problem.json()["request_id"]) == (400, ID)
    failed = [line for line in log() if line["level"] == "ERROR"]
    assert [line["request_id"] for line in failed] == [ID]
    assert "RuntimeError" in failed[0]["error"]
    assert logs.request_id() == "", "and nothing after it bears the same"


@pytest.mark.django_db
def test_an_answer_that_django_logs_after_the_fact_bears_its_id(log, client, settings, tmp_path, xray):
    settings.MODEL_BUNDLE = str(tmp_path)
    with pytest.raises(serving.Unavailable):
        serving.load()
    client.post("/predict", picture(xray()), headers={"X-Request-ID": ID})
    assert {line["logger"]: line["request_id"] for line in log()} == {
        "diagnosis.middleware": ID,
        "django.request": ID,
    }


@pytest.mark.django_db
def test_errors_of_the_database_are_told_by_their_name_alone(log, client, xray):
    client.post("/predict", picture(xray()))
    upload = Upload.objects.get()
    upload.size = -1
    try:
        with transaction.atomic():
            upload.save()
    except IntegrityError:
        logging.getLogger("diagnosis.tests").exception("It failed")
    error = log()[-1]["error"]
    assert "sqlite3.IntegrityError: SQLITE_CONSTRAINT_CHECK" in error
    assert JANE not in error


def test_a_line_to_read_has_all_of_it():
    record = logging.LogRecord("diagnosis.x", logging.INFO, __file__, 1, "It is %s.", ("so",), None)
    with logs.answering(ID):
        assert logs.Line().format(record).endswith(f" INFO diagnosis.x [{ID}]: It is so.")
    record.name = "somebody.else"
    assert logs.Line().format(record).endswith(" INFO somebody.else: It is ….")


@pytest.mark.parametrize(
    ("environment", "chosen"),
    [
        ({}, "diagnosis.logs.Line"),
        ({"DEBUG": "False"}, "diagnosis.logs.Json"),
        ({"DEBUG": "False", "LOG_FORMAT": "line"}, "diagnosis.logs.Line"),
        ({"LOG_FORMAT": "poem"}, "LOG_FORMAT is 'poem'; it must be one of line, json."),
    ],
)
def test_production_logs_json(tmp_path, environment, chosen):
    production = {"SECRET_KEY": secrets.token_urlsafe(60), "ALLOWED_HOSTS": "x", "VAR_DIR": str(tmp_path)}
    program = "from pneumonia_site import settings; print(settings.LOGGING['formatters'])"
    kept = {name: value for name, value in os.environ.items() if name not in ("DEBUG", "LOG_FORMAT")}
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=django_settings.BASE_DIR,
        env={**kept, **production, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert chosen in finished.stdout + finished.stderr
