"""Visitors who become users: what their browser sent is theirs, also what was in flight."""

import datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from diagnosis.inference import serving
from diagnosis.models import Upload
from diagnosis.tests.test_accounts import log_in, send, text

pytestmark = pytest.mark.django_db


def test_coming_in_by_the_admin_keeps_what_the_browser_sent(client, bob, xray):
    send(client, xray())
    client.post("/admin/login/", {"username": "bob", "password": "secret of bob", "next": "/admin/"})
    assert Upload.objects.get().owner == bob


@pytest.fixture
def tab(client, alice, xray, monkeypatch) -> Client:
    """Another tab of the same browser, where its visitor, who has sent a picture, logs in while one is analysed."""
    send(client, xray())
    tab, diagnose = Client(), serving.diagnose
    tab.cookies["sessionid"] = client.cookies["sessionid"].value

    def log_in_meanwhile(*args, **kwargs):
        log_in(tab, "alice", "secret of alice")
        return diagnose(*args, **kwargs)

    monkeypatch.setattr(serving, "diagnose", log_in_meanwhile)
    return tab


def test_a_picture_in_flight_while_its_visitor_logs_in_is_theirs(client, tab, alice, xray):
    late = send(client, xray(seed=1))
    assert Upload.objects.filter(owner=alice).count() == 1
    page = tab.get(f"/predictions/{late.pk}/")
    assert page.status_code == 200
    assert "1 picture sent from this browser now belongs to your account" in text(page)
    assert Upload.objects.filter(owner=alice).count() == 2


def test_who_logs_in_meanwhile_gets_the_answer_all_the_same(client, tab, xray, monkeypatch):
    """The first sending of a day writes to the session, which the log-in has ended."""
    monkeypatch.setattr(timezone, "localdate", lambda: datetime.date(2099, 1, 1))
    late = client.post("/predict", {"file": SimpleUploadedFile("late.jpg", xray(seed=1))})
    assert (late.status_code, late.cookies) == (200, {})
    assert tab.get(late.json()["url"]).status_code == 200


def test_what_is_for_everybody_is_kept_by_anybody(client, alice):
    client.force_login(alice)
    for address in ("/words/fr.js", "/model/roc_curve.svg"):
        assert "Cookie" not in client.get(address)["Vary"]


def test_a_visitor_who_comes_again_keeps_the_history_for_another_term(client, xray, monkeypatch):
    send(client, xray())
    client.cookies["sessionid"]["max-age"] = 1
    send(client, xray(seed=1))
    assert client.cookies["sessionid"]["max-age"] == 1, "on the same day nothing is written"
    monkeypatch.setattr(timezone, "localdate", lambda: datetime.date(2099, 1, 1))
    send(client, xray(seed=2))
    assert client.cookies["sessionid"]["max-age"] == 1_209_600
    assert len(client.get("/api/predictions/").json()["results"]) == 3
