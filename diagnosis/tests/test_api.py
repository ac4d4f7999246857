"""The contract with programs: `POST /predict` and `/api/predictions/`."""

import io
import shutil
import uuid
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image, ImageOps

from diagnosis.inference import serving
from diagnosis.models import ApiToken, Prediction, Upload
from ml_model import bundle

pytestmark = pytest.mark.django_db


def post(client: Client, data: bytes, path: str = "/predict", name: str = "xray.jpg", **fields: str):
    return client.post(path, {"file": SimpleUploadedFile(name, data), **fields})


def assert_problem(response, status: int, code: str) -> None:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"].endswith(".")
    assert not Upload.objects.exists()


@pytest.mark.parametrize("path", ["/predict", "/predict/"])
def test_answer_has_the_promised_fields(client, xray, path):
    response = post(client, xray(opacity=1), path)
    assert response.status_code == 200
    body = response.json()
    assert body["prediction"] in ("Pneumonia", "Normal")
    assert (body["prediction"] == "Pneumonia") == (body["probability"] >= body["threshold"])
    assert 0 <= body["probability"] <= 1
    assert body["model_version"] == serving.model_version()
    assert body["operating_point"] == "balanced"
    assert uuid.UUID(body["id"])
    assert body["created"].endswith("Z")
    assert client.get(body["url"]).status_code == 200
    assert client.get(body["heatmap_url"])["Content-Type"] == "image/png"
    assert client.get(body["xray_url"])["Content-Type"] == "image/jpeg"
    assert (body["status"], body["reliable"], body["inverted"]) == ("ok", True, False)
    for figure in ("sensitivity", "specificity"):
        measured = body["measured"][figure]
        assert 0 < measured["low"] <= measured["value"] <= measured["high"] <= 1
    assert "Not for clinical use" in body["notice"]


@pytest.mark.parametrize("file_format", serving.FORMATS)
def test_every_format_is_answered(client, xray, file_format):
    assert post(client, xray(file_format)).status_code == 200


@pytest.mark.parametrize(
    ("sent", "content_type"),
    [
        ({}, None),
        ({"file": "text, not a file"}, None),
        ({"picture": "x"}, None),
        (b"\xff\xd8raw", "image/jpeg"),
        (b"{}", "application/json"),
        (b"", ""),
    ],
)
def test_without_a_file_the_answer_says_how_to_send_one(client, sent, content_type):
    response = client.post("/predict", sent, **({} if content_type is None else {"content_type": content_type}))
    if content_type:
        assert_problem(response, 415, "unsupported_media_type")
    else:
        assert_problem(response, 400, "no_file")
    assert "`file`" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/predict", "/api/predictions/"])
def test_a_file_that_came_as_text_is_not_passed_over(client, xray, path):
    for sent in ("scan.jpg", [SimpleUploadedFile("xray.jpg", xray()), "scan.jpg"]):
        response = client.post(path, {"file": sent})
        assert_problem(response, 400, "no_file")
        assert "`-F file=@xray.jpg`" in response.json()["detail"]
    nothing_chosen = client.post(path, {"file": [SimpleUploadedFile("xray.jpg", xray()), ""]})
    assert nothing_chosen.status_code == 200


@pytest.mark.parametrize("path", ["/predict", "/api/predictions/"])
def test_options_tells_what_is_sent(client, path):
    assert set(client.options(path).json()["actions"]["POST"]) == {"file", "operating_point", "force"}


def test_an_id_may_be_written_in_large_letters(client, xray):
    key = post(client, xray()).json()["id"]
    address = f"/api/predictions/{key.upper()}/"
    assert client.get(address).json()["id"] == key
    assert client.get(f"{address}heatmap/").status_code == 200
    assert client.delete(address).status_code == 204


def test_a_broken_form_is_a_clear_error(client):
    response = client.post("/predict", b"--x\r\nnonsense", content_type="multipart/form-data; boundary=x")
    assert response.status_code == 400
    response = client.post("/predict", b"nonsense", content_type="multipart/form-data")
    assert response.status_code == 400


def test_what_is_no_picture_is_415(client):
    assert_problem(post(client, b"%PDF-1.7 hello"), 415, "unsupported_format")


def test_an_empty_file_is_415(client):
    assert_problem(post(client, b""), 415, "unsupported_format")


def test_a_truncated_picture_is_422(client, xray):
    assert_problem(post(client, xray()[:4000]), 422, "unreadable")


def test_a_file_over_the_limit_is_413(client, xray, settings):
    settings.MAX_UPLOAD_MB = 0.01
    assert_problem(post(client, xray()), 413, "too_large")


def test_a_body_over_the_limit_is_refused_before_it_is_read(client):
    response = client.post("/predict", b"", content_type="multipart/form-data; boundary=x", CONTENT_LENGTH="999999999")
    assert_problem(response, 413, "too_large")


def test_too_many_pixels_are_413(client, xray, settings):
    settings.MAX_MEGAPIXELS = 0.1
    assert_problem(post(client, xray()), 413, "too_large")


def test_what_is_no_chest_xray_is_422_and_kept_and_analysed_on_request(client, no_xray):
    response = post(client, no_xray)
    body = response.json()
    assert (response.status_code, body["code"]) == (422, "not_a_chest_xray")
    assert response["Content-Type"] == "application/problem+json"
    assert "frontal chest X-ray" in body["detail"]
    assert "force=true" in body["detail"]
    kept = client.get(f"/api/predictions/{body['id']}/").json()
    assert (kept["status"], kept["prediction"], kept["probability"]) == ("rejected", None, None)
    assert kept["heatmap_url"] is None
    assert client.get(body["url"]).status_code == 200
    assert client.get(f"/predictions/{body['id']}/heatmap.png").status_code == 404

    forced = post(client, no_xray, force="true")
    assert forced.status_code == 200
    body = forced.json()
    assert (body["status"], body["reliable"]) == ("forced", False)
    assert body["prediction"] in ("Pneumonia", "Normal")
    assert client.get(body["heatmap_url"]).status_code == 200


def test_force_changes_nothing_for_a_chest_xray(client, xray):
    plain, forced = post(client, xray()).json(), post(client, xray(), force="true").json()
    assert forced["status"] == "ok"
    assert forced["probability"] == plain["probability"]


def test_a_negative_is_turned_and_answered_like_the_positive(client, xray):
    picture = Image.open(io.BytesIO(xray("PNG")))
    file = io.BytesIO()
    ImageOps.invert(picture).save(file, "PNG")
    upright, negative = post(client, xray("PNG")).json(), post(client, file.getvalue()).json()
    assert (upright["inverted"], negative["inverted"]) == (False, True)
    assert negative["probability"] == pytest.approx(upright["probability"], abs=0.01)


def test_the_caller_chooses_the_operating_point(client, xray, settings):
    balanced = post(client, xray(), operating_point="balanced").json()
    screening = post(client, xray(), operating_point="screening").json()
    assert screening["threshold"] < balanced["threshold"]
    assert (balanced["operating_point"], screening["operating_point"]) == ("balanced", "screening")
    assert balanced["probability"] == screening["probability"]
    settings.OPERATING_POINT = "screening"
    assert post(client, xray()).json()["operating_point"] == "screening"


@pytest.mark.parametrize("fields", [{"operating_point": "wishful"}, {"force": "perhaps"}])
def test_an_unknown_option_is_400_and_named(client, xray, fields):
    response = post(client, xray(), **fields)
    assert_problem(response, 400, "invalid")
    (name,) = fields
    assert f"`{name}`" in response.json()["detail"]
    if name == "operating_point":
        assert "balanced" in response.json()["detail"]


def test_an_option_in_the_address_is_not_passed_over(client, xray):
    for path in ("/predict", "/api/predictions/"):
        response = client.post(f"{path}?operating_point=screening", {"file": SimpleUploadedFile("x.jpg", xray())})
        assert_problem(response, 400, "invalid")
        assert "`operating_point`" in response.json()["detail"]
    assert not Upload.objects.exists()


def test_one_picture_at_a_time_is_not_one_of_several(client, xray):
    files = [SimpleUploadedFile(f"{seed}.jpg", xray(seed=seed)) for seed in range(2)]
    response = client.post("/predict", {"file": files})
    assert_problem(response, 400, "invalid")
    assert "/api/predictions/" in response.json()["detail"]
    assert not Upload.objects.exists()


def test_between_the_thresholds_the_answer_is_uncertain(client, xray):
    thresholds = sorted(post(client, xray(), operating_point=p).json()["threshold"] for p in ("balanced", "screening"))
    for seed in range(6):
        for opacity in (0.0, 0.5, 1.0):
            body = post(client, xray(seed=seed, opacity=opacity)).json()
            assert body["uncertain"] == (thresholds[0] <= body["probability"] < thresholds[1])


def test_without_a_classifier_the_answer_is_503(client, xray, monkeypatch):
    monkeypatch.setattr(serving, "_classifier", None)
    assert_problem(post(client, xray()), 503, "unavailable")
    assert_problem(post(client, xray(), operating_point="screening"), 503, "unavailable")


def test_what_is_wrong_with_a_model_is_told_without_its_path(client, settings, tmp_path):
    settings.MODELS_DIR, settings.MODEL_BUNDLE = str(tmp_path), ""
    (tmp_path / "2026.01-1").mkdir()
    (broken,) = client.get("/api/models/").json()
    assert (broken["version"], broken["served"]) == ("2026.01-1", False)
    assert "list_models" in broken["error"]
    assert str(tmp_path) not in broken["error"]


def test_looking_at_the_models_reads_no_file_twice_until_it_changes(client, settings, tmp_path, monkeypatch):
    settings.MODELS_DIR, settings.MODEL_BUNDLE = str(tmp_path), ""
    version = serving.model_version()
    folder = shutil.copytree(bundle.TRAINED / version, tmp_path / version)
    read, files = bundle.sha256, []
    monkeypatch.setattr(bundle, "sha256", lambda path: files.append(path.name) or read(path))

    def errors():
        return [model["error"] for model in client.get("/api/models/").json()]

    assert errors() == errors() == [""]
    assert files == ["pneumonia_cnn.tflite"]
    (folder / "pneumonia_cnn.tflite").write_bytes(b"x")
    assert errors() != [""]


def test_anonymous_uploads_can_be_switched_off(client, xray, settings, alice):
    settings.ANONYMOUS_UPLOADS = False
    response = post(client, xray())
    assert response.status_code in (401, 403)
    assert response["Content-Type"] == "application/problem+json"
    client.force_login(alice)
    assert post(client, xray()).status_code == 200


def test_a_token_owns_what_it_sends(xray, alice):
    _token, secret = ApiToken.objects.create(alice, expiry=timedelta(days=1), name="scanner")
    client = Client(headers={"authorization": f"Bearer {secret}"})
    assert post(client, xray()).status_code == 200
    assert Upload.objects.get().owner == alice
    for wrong in ("wrong", secret + "0", "\xe9", ""):
        response = post(Client(headers={"authorization": f"Bearer {wrong}"}), xray())
        assert (response.status_code, response.json()["code"]) == (401, "authentication_failed")
        assert response["WWW-Authenticate"] == "Bearer"


def test_throttle_answers_429_and_when_to_come_back(client, xray, monkeypatch):
    from diagnosis.api.views import PredictThrottle

    monkeypatch.setattr(PredictThrottle, "THROTTLE_RATES", {"predict": "2/min"})
    for _ in range(2):
        assert post(client, xray()).status_code == 200
    response = post(client, xray())
    assert (response.status_code, response.json()["code"]) == (429, "throttled")
    assert 0 < int(response["Retry-After"]) <= 60


def test_the_list_is_the_callers_own_and_paginated(client, xray, alice, charlie):
    client.force_login(alice)
    for seed in range(27):
        post(client, xray(size=(64, 64), seed=seed), name=f"{seed}.jpg")
    first = client.get("/api/predictions/").json()
    assert [row["file_name"] for row in first["results"][:2]] == ["26.jpg", "25.jpg"]
    assert len(first["results"]) == 25
    second = client.get(first["next"]).json()
    assert [row["file_name"] for row in second["results"]] == ["1.jpg", "0.jpg"]
    one = first["results"][0]
    assert client.get(f"/api/predictions/{one['id']}/").json() == one

    client.force_login(charlie)
    assert client.get("/api/predictions/").json()["results"] == []
    response = client.get(f"/api/predictions/{one['id']}/")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_what_cannot_be_done_is_a_problem_too(client):
    assert client.get("/predict").json()["code"] == "method_not_allowed"
    assert client.delete("/api/predictions/").json()["code"] == "method_not_allowed"
    assert client.get("/api/predictions/not-a-uuid/").status_code == 404
    assert client.get("/api/predictions/?cursor=nonsense").status_code == 404


def test_the_list_needs_few_queries(client, xray, alice, django_assert_max_num_queries):
    client.force_login(alice)
    for _ in range(5):
        post(client, xray(size=(64, 64)))
    with django_assert_max_num_queries(5):
        client.get("/api/predictions/")


def test_one_analysis_needs_few_queries(client, xray, alice, django_assert_max_num_queries):
    client.force_login(alice)
    with django_assert_max_num_queries(7):
        post(client, xray())
    assert Prediction.objects.count() == 1
