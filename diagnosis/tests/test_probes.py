"""What load balancers and Prometheus are told."""

import os
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from prometheus_client import REGISTRY

from diagnosis.inference import serving
from diagnosis.models import Prediction

TOKEN = {"HTTP_AUTHORIZATION": "Bearer of-a-scraper"}


@pytest.fixture
def scraped(settings, client):
    """The figures, as Prometheus reads them."""
    settings.METRICS_TOKEN = "of-a-scraper"

    def read() -> str:
        response = client.get("/metrics", **TOKEN)
        assert response.status_code == 200
        return response.content.decode()

    return read


def figure(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"pneumonia_site_{name}", labels) or 0


def test_the_process_is_up_without_a_database(client):
    response = client.get("/healthz")  # this test may not use one
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert client.head("/healthz").status_code == 200
    refused = client.post("/healthz")
    assert (refused.status_code, refused["Allow"], refused.content) == (405, "GET, HEAD", b"Ask this with GET.\n")


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/metrics"])
def test_probes_are_answered_by_number_and_without_https(client, settings, address):
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["xray.example.org"], True
    settings.METRICS_TOKEN = "of-a-scraper"
    response = client.get(address, HTTP_HOST="10.0.0.7:8000", **TOKEN)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/model/", HTTP_HOST="10.0.0.7:8000").status_code == 400, "pages are not"


@pytest.mark.django_db
def test_ready_is_told_by_one_look_that_leaves_nothing(client, settings, tmp_path, django_assert_num_queries):
    settings.MEDIA_ROOT = str(tmp_path / "not" / "yet" / "there")
    with django_assert_num_queries(1) as asked:
        response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"ready": True, "database": "ok", "storage": "ok", "cache": "ok", "model": "ok"}
    assert asked.captured_queries[0]["sql"].startswith("SELECT")
    assert list(tmp_path.iterdir()) == []
    assert not response.cookies


def refused(client, part: str) -> str:
    response = client.get("/readyz")
    said = response.json()
    assert response.status_code == 503
    assert [name for name, word in said.items() if word not in (True, "ok")] == ["ready", part]
    return said[part]


@pytest.mark.django_db
def test_a_database_that_does_not_answer_is_told_without_its_address(client):
    def broken(*args):
        raise OperationalError("connection to 10.0.0.9 failed for user 'xray' with password 'secret'")

    with connection.execute_wrapper(broken):
        assert refused(client, "database").startswith("The database does not answer")


@pytest.mark.django_db
def test_a_storage_that_cannot_be_written_or_is_full_is_told_without_its_path(client, settings, tmp_path):
    (tmp_path / "file").touch()
    settings.MEDIA_ROOT = str(tmp_path / "file")
    assert refused(client, "storage") == "The storage of pictures cannot be written."
    settings.MEDIA_ROOT, settings.MAX_UPLOAD_MB = str(tmp_path), 1e12
    assert "no room" in refused(client, "storage")


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/predict", "/api/predictions/", "/accounts/sign-up/"])
def test_a_cache_that_fails_is_told_and_what_needs_it_is_503(client, settings, tmp_path, address):
    (tmp_path / "file").touch()
    backend = "django.core.cache.backends.filebased.FileBasedCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": str(tmp_path / "file" / "cache")}}
    said = refused(client, "cache")
    assert "cannot be written" in said
    assert str(tmp_path) not in said
    response = client.post(address, headers={"accept-language": "en"})
    assert response.status_code == 503
    assert response["Retry-After"]
    assert b"cannot count requests at the moment" in response.content


@pytest.mark.django_db
def test_a_model_that_does_not_open_is_told_without_its_path(client, settings, tmp_path):
    settings.MODEL_BUNDLE = str(tmp_path)
    with pytest.raises(serving.Unavailable):
        serving.load()
    assert str(tmp_path) not in refused(client, "model")


@pytest.mark.parametrize("given", [None, "", "Bearer wrong", "Bearer of-a-scraper2", "of-a-scraper", "Bearer ä"])
def test_metrics_are_closed_without_the_token(client, settings, given):
    header = {} if given is None else {"HTTP_AUTHORIZATION": given}
    assert client.get("/metrics", **header).status_code == 404, "as long as there is no token at all"
    settings.METRICS_TOKEN = "of-a-scraper"
    response = client.get("/metrics", **header)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert b"pneumonia_site" not in response.content


@pytest.mark.django_db
def test_requests_pictures_and_predictions_are_counted(client, scraped, xray, no_xray):
    version = serving.model_version()
    looks = {
        "answers": ("http_requests_total", {"view": "api:predict", "method": "POST", "status": "200"}),
        "durations": ("http_request_seconds_count", {"view": "api:predict", "method": "POST"}),
        "decoded": ("decode_seconds_count", {}),
        "analysed": ("inference_seconds_count", {}),
        "rejected": ("predictions_total", {"label": "none", "status": "rejected", "model_version": version}),
        "not a chest": ("uploads_failed_total", {"code": "not_a_chest_xray"}),
        "damaged": ("uploads_failed_total", {"code": "unreadable"}),
        "unknown": ("uploads_failed_total", {"code": "unsupported_format"}),
    }
    before = {name: figure(of, **labels) for name, (of, labels) in looks.items()}
    picture = xray()
    sent = [picture, no_xray, picture[:3000], b"no picture"]
    stati = [client.post("/predict", {"file": SimpleUploadedFile("x.jpg", data)}).status_code for data in sent]
    assert stati == [200, 422, 422, 415]
    after = {name: figure(of, **labels) - before[name] for name, (of, labels) in looks.items()}
    assert after == {**dict.fromkeys(looks, 1), "durations": 4, "decoded": 2, "analysed": 2}
    assert 'pneumonia_site_predictions_total{label="Normal",model_version=' in scraped()


@pytest.mark.django_db
def test_what_calls_somebody_out_of_bed_is_counted_under_its_own_code(client, xray, no_xray, monkeypatch):
    codes = ("not_found", "storage_unavailable", "unavailable", "server_error")
    before = {code: figure("uploads_failed_total", code=code) for code in codes}
    client.post("/predict", {"file": SimpleUploadedFile("x.png", no_xray)})
    rejected = Prediction.objects.get()
    rejected.upload.file.delete(save=False)
    assert client.post(f"/predictions/{rejected.pk}/all-the-same").status_code == 404

    def broken(execute, sql, *args):
        if '"idempotency_key" IN' in sql:
            raise OperationalError("the connection was lost")
        return execute(sql, *args)

    with connection.execute_wrapper(broken):
        files = {"file": SimpleUploadedFile("x.jpg", xray())}
        assert client.post("/predict", files, headers={"Idempotency-Key": "7"}).status_code == 503
    monkeypatch.setattr(serving, "_classifier", None)
    assert client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())}).status_code == 503
    after = {code: figure("uploads_failed_total", code=code) - before[code] for code in codes}
    assert after == {"not_found": 1, "storage_unavailable": 1, "unavailable": 1, "server_error": 0}


@pytest.mark.django_db
def test_what_people_write_becomes_no_label(client, scraped):
    client.get("/Jane_Doe.jpg")
    client.get("/history/?name=Jane_Doe")
    client.generic("JANE_DOE", "/history/")
    client.get("/predictions/0a000000-0000-4000-8000-000000000000/")
    text = scraped()
    assert "jane" not in text.lower()
    assert "0a000000" not in text
    assert 'method="other",status="405",view="diagnosis:history"' in text


def test_what_dead_workers_counted_is_kept_in_one_place(tmp_path):
    program = """
import os
from pathlib import Path
from diagnosis import metrics
folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
for _ in range(3):
    worker = os.fork()
    if not worker:
        metrics.prediction_stored("Normal", "ok", "1")
        metrics.picture_read(2, 5)
        os._exit(0)
    os.waitpid(worker, 0)
    metrics.worker_gone(worker)
    metrics.worker_gone(worker)  # once more costs nothing
text = metrics.exposition("")[0].decode()
assert 'pneumonia_site_predictions_total{label="Normal",model_version="1",status="ok"} 3.0' in text, text
assert "pneumonia_site_decode_seconds_count 3.0" in text, text
assert 'pneumonia_site_decode_seconds_bucket{le="0.0025"} 3.0' in text, text
print(sorted(path.name for path in folder.glob("*_gone.db")), len(list(folder.glob("*.db"))))
"""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=django_settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("['counter_gone.db', 'histogram_gone.db']")
