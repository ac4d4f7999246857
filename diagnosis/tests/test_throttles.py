"""How often a caller may ask, and how what exceeds it is answered."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis.models import Upload
from diagnosis.tests.test_problems import assert_problem

pytestmark = pytest.mark.django_db


def test_one_caller_is_throttled_and_others_are_not(client, alice, charlie, xray, monkeypatch):
    monkeypatch.setattr("diagnosis.api.throttles.CallerThrottle.THROTTLE_RATES", {"api": "2/min", "predict": "9/min"})
    callers = {"alice": Client(), "charlie": Client()}
    callers["alice"].force_login(alice)
    callers["charlie"].force_login(charlie)
    for _ in range(2):
        assert callers["alice"].get("/api/predictions/").status_code == 200
    for spoofed in ("1.2.3.4", "5.6.7.8"):
        refused = callers["alice"].get("/api/predictions/", headers={"x-forwarded-for": spoofed})
        assert_problem(refused, 429, "throttled")
        assert 0 < int(refused["Retry-After"]) <= 60
    assert callers["charlie"].get("/api/predictions/").status_code == 200
    for number in range(2):
        client.get("/api/predictions/", headers={"x-forwarded-for": f"10.0.0.{number}"})
    assert client.get("/api/predictions/", headers={"x-forwarded-for": "10.0.0.9"}).status_code == 429
    assert Client(REMOTE_ADDR="192.0.2.9").get("/api/predictions/").status_code == 200


def test_each_file_counts_as_an_analysis_and_the_excess_costs_no_other(client, xray, monkeypatch):
    monkeypatch.setattr("diagnosis.api.throttles.PredictThrottle.THROTTLE_RATES", {"predict": "3/min"})
    files = [SimpleUploadedFile("x.jpg", xray()) for _ in range(5)]
    response = client.post("/api/predictions/", {"file": files})
    assert response.status_code == 200
    codes = [answer["problem"] and answer["problem"]["code"] for answer in response.json()["results"]]
    assert codes == [None, None, None, "throttled", "throttled"]
    assert 0 < int(response["Retry-After"]) <= 60
    assert Upload.objects.count() == 3
    assert_problem(client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())}), 429, "throttled")


def test_many_files_under_one_key_are_all_answered_in_the_end(client, alice, xray, monkeypatch):
    monkeypatch.setattr("diagnosis.api.throttles.PredictThrottle.THROTTLE_RATES", {"predict": "3/min"})
    client.force_login(alice)
    done = []
    for minute in range(2):
        monkeypatch.setattr("diagnosis.api.throttles.PredictThrottle.timer", lambda self, at=minute: 1e9 + 61 * at)
        files = [SimpleUploadedFile(f"{seed}.jpg", xray(seed=seed)) for seed in range(5)]
        answer = client.post("/api/predictions/", {"file": files}, headers={"Idempotency-Key": "all-five"})
        done.append([result["problem"] is None for result in answer.json()["results"]])
    assert done == [[True, True, True, False, False], [True] * 5]
    assert Upload.objects.count() == 5


def test_a_clock_that_was_put_back_makes_nobody_wait_longer(client, monkeypatch):
    monkeypatch.setattr("diagnosis.api.throttles.CallerThrottle.THROTTLE_RATES", {"api": "1/min", "predict": "9/min"})
    for ahead in (7200, 0):
        monkeypatch.setattr("diagnosis.api.throttles.CallerThrottle.timer", lambda self, at=ahead: 1e9 + at)
        answer = client.get("/api/predictions/")
    assert_problem(answer, 429, "throttled")
    assert int(answer["Retry-After"]) <= 60


def test_callers_by_ipv6_are_counted_by_their_network(client, settings, monkeypatch):
    monkeypatch.setattr("diagnosis.api.throttles.CallerThrottle.THROTTLE_RATES", {"api": "1/min", "predict": "9/min"})

    def get(address):
        return Client(REMOTE_ADDR=address).get("/api/predictions/").status_code

    assert [get("2001:db8:1:2::3"), get("2001:db8:1:2:ffff::4"), get("2001:db8:1:3::3")] == [200, 429, 200]
    assert [get("::ffff:192.0.2.1"), get("::ffff:192.0.2.2"), get("192.0.2.1")] == [200, 200, 429]
    assert get("") == 200


@pytest.mark.parametrize("page", ["xray", "report.pdf"])
def test_pages_that_decode_a_picture_count_as_requests(client, xray, monkeypatch, page):
    monkeypatch.setattr("diagnosis.api.throttles.CallerThrottle.THROTTLE_RATES", {"api": "2/min", "predict": "9/min"})
    prediction = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())}).json()["id"]
    address = f"/predictions/{prediction}/{page}"
    assert client.get("/api/predictions/").status_code == client.get(address).status_code == 200
    refused = client.get(address)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 60
    assert re.search(r"Try again in \d+ seconds?\.", refused.content.decode())
