"""API tokens: made, shown once, over and revoked."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from diagnosis.models import ApiToken
from diagnosis.tests.test_accounts import text

pytestmark = pytest.mark.django_db


def bearer(secret: str) -> Client:
    return Client(headers={"authorization": f"Bearer {secret}"})


def test_a_token_is_shown_once_and_kept_as_a_digest(client, alice):
    client.force_login(alice)
    made = client.post("/accounts/", {"name": "scanner", "days": "7"})
    assert (made.status_code, made["Location"]) == (302, "/accounts/"), "loading it anew makes no other"
    page = client.get("/accounts/")
    (secret,) = re.findall(r'id="new-token">([0-9a-f]{64})<', page.content.decode())
    assert not any(secret in str(session.get_decoded()) for session in Session.objects.all())
    assert "no-store" in page["Cache-Control"]
    token = ApiToken.objects.get()
    assert secret not in json.dumps(list(ApiToken.objects.values()), default=str)
    assert timedelta(days=6) < token.expiry - timezone.now() <= timedelta(days=7)
    assert bearer(secret).get("/api/tokens/").json()[0]["name"] == "scanner"
    for address in ("/accounts/", "/api/tokens/"):
        assert secret not in client.get(address).content.decode()
    assert "scanner" in text(client.get("/accounts/"))
    client.post(f"/accounts/tokens/{token.token_key}/revoke")
    assert bearer(secret).get("/api/tokens/").status_code == 401


def test_a_token_ends_with_its_term_and_with_its_account(alice):
    _token, over = ApiToken.objects.create(alice, expiry=timedelta(seconds=-1), name="over")
    _token, valid = ApiToken.objects.create(alice, expiry=timedelta(days=1), name="valid")
    assert bearer(valid).get("/api/tokens/").status_code == 200
    alice.is_active = False
    alice.save()
    for secret in (over, valid):
        for address in ("/api/tokens/", "/api/predictions/"):
            response = bearer(secret).get(address)
            assert (response.status_code, response.json()["code"]) == (401, "authentication_failed")
            assert response["WWW-Authenticate"] == "Bearer"


def test_a_token_that_is_over_is_told_of_until_another_is_made(client, alice, bob):
    ApiToken.objects.create(bob, expiry=timedelta(seconds=-1), name="of another account")
    _token, valid = ApiToken.objects.create(alice, expiry=timedelta(days=1), name="scanner")
    _token, over = ApiToken.objects.create(alice, expiry=timedelta(seconds=-1), name="archive")
    assert [bearer(secret).get("/api/tokens/").status_code for secret in (over, valid)] == [401, 200]
    client.force_login(alice)
    assert ", expired on" in text(client.get("/accounts/"))
    client.post("/accounts/", {"name": "archive anew", "days": "7"})
    assert set(ApiToken.objects.values_list("name", flat=True)) == {
        "of another account",
        "scanner",
        "archive anew",
    }


def test_a_token_makes_none_that_lasts_longer(alice):
    token, secret = ApiToken.objects.create(alice, expiry=timedelta(days=2), name="short")
    made = bearer(secret).post("/api/tokens/", {"name": "long", "days": 3650}, content_type="application/json").json()
    assert ApiToken.objects.get(name="long").expiry == token.expiry
    bearer(secret).post("/api/tokens/", {"name": "shorter", "days": 1}, content_type="application/json")
    assert ApiToken.objects.get(name="shorter").expiry < token.expiry
    assert bearer(made["token"]).get("/api/tokens/").status_code == 200


def test_only_what_was_a_token_of_ones_own_is_said_to_be_revoked(client, alice, bob):
    of_bob, secret = ApiToken.objects.create(bob, expiry=timedelta(days=1), name="of bob")
    mine, _secret = ApiToken.objects.create(alice, expiry=timedelta(days=1), name="mine")
    client.force_login(alice)
    said = [
        text(client.post(f"/accounts/tokens/{key}/revoke", follow=True))
        for key in (mine.token_key, mine.token_key, of_bob.token_key)
    ]
    assert ["The token has been revoked" in page for page in said] == [True, False, False]
    assert ["No token was revoked" in page for page in said] == [False, True, True]
    assert bearer(secret).get("/api/tokens/").status_code == 200


@pytest.mark.parametrize(
    "fields", [{}, {"name": ""}, {"name": 5}, {"name": "x" * 81}, {"name": "x", "days": 0}, {"name": "x", "days": 9999}]
)
def test_a_token_needs_a_name_and_a_term(client, alice, fields):
    client.force_login(alice)
    response = client.post("/api/tokens/", json.dumps(fields), content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "invalid")
    assert not ApiToken.objects.exists()


def test_name_and_password_are_no_way_into_the_api(alice):
    """A program that still sends them would otherwise be taken for a visitor, and find nothing."""
    response = Client(headers={"authorization": "Basic YWxpY2U6c2VjcmV0"}).get("/api/predictions/")
    assert response.status_code == 401
    assert "Bearer" in response.json()["detail"]
