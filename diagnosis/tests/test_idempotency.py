"""Requests under an `Idempotency-Key`: repeated, changed, and at the same time."""

import json
import threading
from pathlib import Path

import pytest
import requests
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis import services
from diagnosis.inference import serving
from diagnosis.models import ApiToken, Upload
from diagnosis.tests.test_problems import assert_problem

pytestmark = pytest.mark.django_db


def test_the_same_key_gets_the_same_answer_and_another_request_under_it_is_refused(client, alice, charlie, xray):
    client.force_login(alice)

    def post(caller, seed=0, **fields):
        data = {"file": SimpleUploadedFile("x.jpg", xray(seed=seed)), **fields}
        return caller.post("/predict", data, headers={"idempotency-key": "one"})

    first = post(client)
    assert post(client).json() == first.json()
    assert_problem(post(client, seed=1), 422, "idempotency_key_reused")
    assert_problem(post(client, operating_point="screening"), 422, "idempotency_key_reused")
    other = Client()
    other.force_login(charlie)
    assert post(other).json()["id"] != first.json()["id"]
    assert Upload.objects.count() == 2


def test_a_key_is_of_a_whole_request_with_its_address_and_all_its_files(client, alice, xray, no_xray):
    client.force_login(alice)

    def post(address, *files, key="M", **fields):
        data = {"file": [SimpleUploadedFile(f"{n}.jpg", content) for n, content in enumerate(files)], **fields}
        return client.post(address, data, headers={"idempotency-key": key})

    several, one = "/api/predictions/", "/predict"
    a, b, broken = xray(), xray(seed=1), b"no picture"
    first = post(several, broken, a, b)
    assert [bool(answer["prediction"]) for answer in first.json()["results"]] == [False, True, True]
    again = post(several, broken, a, b).json()["results"]
    assert [answer["prediction"] for answer in again] == [answer["prediction"] for answer in first.json()["results"]]
    others = [(several, broken), (several, broken, a), (several, broken, b, a), (several, broken, a, b, a), (one, b)]
    for other in others:
        assert_problem(post(*other), 422, "idempotency_key_reused")
    assert_problem(post(several, broken, a, b, operating_point="screening"), 422, "idempotency_key_reused")
    assert Upload.objects.count() == 2
    for key in ("M/0", "M/1", "M1", "m"):
        assert post(one, a, key=key).status_code == 200
        assert_problem(post(several, a, key=key), 422, "idempotency_key_reused")
    assert Upload.objects.count() == 6


def test_another_request_under_a_key_that_comes_at_the_same_time_is_refused_and_leaves_nothing(
    client, alice, xray, monkeypatch, settings
):
    """Also where they store different files, since the first of one cannot be read."""
    client.force_login(alice)
    diagnose, answers = serving.diagnose, []

    def post(*files):
        data = {"file": [SimpleUploadedFile("x.jpg", content) for content in files]}
        return client.post("/api/predictions/", data, headers={"idempotency-key": "one"})

    def slowly(picture, **options):
        monkeypatch.setattr(serving, "diagnose", diagnose)
        answers.append(post(b"no picture", xray()))
        return diagnose(picture, **options)

    monkeypatch.setattr(serving, "diagnose", slowly)
    assert_problem(post(xray(seed=1), xray(seed=2)), 422, "idempotency_key_reused")
    assert [bool(answer["prediction"]) for answer in answers[0].json()["results"]] == [False, True]
    kept = Upload.objects.get()
    stored = {str(path) for path in Path(settings.MEDIA_ROOT, "uploads").rglob("*.*")}
    assert stored == {kept.file.path, kept.thumbnail.path}


def test_a_key_is_free_where_what_was_quicker_is_deleted_at_the_same_time(client, alice, xray, monkeypatch):
    client.force_login(alice)
    store = services._store

    def post():
        data = {"file": SimpleUploadedFile("x.jpg", xray())}
        return client.post("/predict", data, headers={"Idempotency-Key": "once"})

    others = [post]

    def store_after_another(*args, **options):
        if not others:
            return store(*args, **options)
        assert others.pop()().status_code == 200
        try:
            return store(*args, **options)
        finally:
            services.delete(Upload.objects.all(), by="another")

    monkeypatch.setattr("diagnosis.services._store", store_after_another)
    answer = post()
    assert answer.status_code == 200
    assert str(Upload.objects.get().predictions.get().pk) == answer.json()["id"]
    assert client.get(f"/api/predictions/{answer.json()['id']}/heatmap/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_the_same_key_at_the_same_time_makes_one_row(live_server, alice, xray, settings):
    _token, secret = ApiToken.objects.create(alice, name="x")
    data, answers = xray(), []

    def post(address: str, key: str) -> None:
        answers.append(
            requests.post(
                live_server.url + address,
                files={"file": ("x.jpg", data)},
                headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": key},
                timeout=30,
            )
        )

    for address, keys in (("/predict", ["one"] * 8), ("/api/predictions/", ["many"] * 8), ("/predict", [*"abcdefgh"])):
        answers.clear()
        threads = [threading.Thread(target=post, args=(address, key)) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 8, [answer.text for answer in answers]
        assert len({json.dumps(answer.json()) for answer in answers}) == len(set(keys))
    assert Upload.objects.count() == 1 + 1 + 8
