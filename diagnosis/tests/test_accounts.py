"""Accounts at the door: signing up, logging in, passwords, tokens, and administrators."""

import datetime
import re
import threading

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis.models import ApiToken, Prediction, Review, Upload
from diagnosis.web.accounts import LetterForm, SignUpForm

pytestmark = pytest.mark.django_db
PASSWORD = "Zebra-lamp-72"
SIGN_UP = {"username": "dora", "email": "dora@example.org", "password1": PASSWORD, "password2": PASSWORD}


def send(client: Client, data: bytes, name: str = "x.jpg") -> Prediction:
    response = client.post("/predict", {"file": SimpleUploadedFile(name, data)})
    return Prediction.objects.get(pk=response.json()["id"])


def log_in(client: Client, name: str, password: str, **more: str):
    return client.post("/accounts/login/", {"username": name, "password": password, **more})


def text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


# --- Signing up ---------------------------------------------------------------------------


def test_who_signs_up_is_an_uploader_and_keeps_what_the_browser_sent(client, xray, settings):
    settings.SIGN_UP = True
    prediction = send(client, xray())
    assert "Create an account" in text(client.get("/accounts/login/"))
    page = client.post("/accounts/sign-up/", SIGN_UP, follow=True)
    assert "1 picture sent from this browser now belongs to your account" in text(page)
    dora = get_user_model().objects.get(username="dora")
    assert [group.name for group in dora.groups.all()] == ["uploader"]
    assert not dora.is_staff
    assert Upload.objects.get().owner == dora
    assert client.get(f"/predictions/{prediction.pk}/").status_code == 200
    assert Client().get(f"/predictions/{prediction.pk}/").status_code == 404


def test_signing_up_works_where_the_role_was_renamed(client, settings):
    settings.SIGN_UP = True
    Group.objects.filter(name="uploader").update(name="senders")
    assert client.post("/accounts/sign-up/", SIGN_UP).status_code == 302
    assert get_user_model().objects.get(username="dora").has_perm("diagnosis.add_upload")


def test_after_a_mistake_the_focus_is_where_it_was_made(client, alice, settings):
    def focused(response) -> list[str]:
        fields = re.findall(r"<input[^>]+>", response.content.decode())
        return [re.search(r'name="(\w+)"', field)[1] for field in fields if " autofocus" in field]

    settings.SIGN_UP = True
    assert focused(client.get("/accounts/sign-up/")) == ["username"]
    assert focused(client.post("/accounts/sign-up/", {**SIGN_UP, "password2": "another"})) == ["password2"]
    assert focused(client.post("/accounts/sign-up/", {**SIGN_UP, "username": "alice"})) == ["username"]
    assert focused(client.get("/accounts/login/")) == []
    assert focused(log_in(client, "alice", "wrong")) == ["password"]


def test_signing_up_can_be_switched_off(client, settings):
    settings.SIGN_UP = False
    assert client.get("/accounts/sign-up/").status_code == 404
    assert client.post("/accounts/sign-up/", SIGN_UP).status_code == 404
    assert "Create an account" not in text(client.get("/accounts/login/"))
    assert not get_user_model().objects.filter(username="dora").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"username": "alice"}, "already exists"),
        ({"username": "ALICE"}, "already exists"),
        ({"username": "Nobody"}, "already exists"),  # so the audit log calls whoever has no name
        ({"username": "al\u200bice"}, "valid username"),
        ({"username": "x" * 151}, "at most 150 characters"),
        ({"password1": "12345678", "password2": "12345678"}, "too common"),
        ({"password2": "another"}, "match"),
        ({"email": "no address"}, "valid email address"),
        ({"username": "do\x00ra"}, "Null characters"),
    ],
)
def test_what_is_wrong_with_a_new_account_is_said(client, alice, settings, change, sentence):
    settings.SIGN_UP = True
    response = client.post("/accounts/sign-up/", {**SIGN_UP, **change})
    assert response.status_code == 400
    assert sentence in text(response)
    assert get_user_model().objects.count() == 1


def test_a_second_click_on_make_the_account_is_told_that_there_is_one(client, settings, monkeypatch):
    """It comes while the first digests the password, after its look whether the name is free."""
    settings.SIGN_UP = True
    is_valid = SignUpForm.is_valid

    def then_click_again(form):
        valid = is_valid(form)
        monkeypatch.setattr(SignUpForm, "is_valid", is_valid)
        assert Client().post("/accounts/sign-up/", SIGN_UP).status_code == 302
        return valid

    monkeypatch.setattr(SignUpForm, "is_valid", then_click_again)
    response = client.post("/accounts/sign-up/", SIGN_UP)
    assert response.status_code == 400
    assert "already exists" in text(response)
    assert [user.username for user in get_user_model().objects.all()] == ["dora"]


@pytest.mark.parametrize(("taken", "other"), [("Émile", "éMILE"), ("ИВАН", "иван"), ("straße", "STRASSE")])
def test_names_differ_by_more_than_capitals_in_any_script(client, admin_client, settings, taken, other):
    settings.SIGN_UP = True
    fields = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert client.post("/accounts/sign-up/", {**fields, "username": taken}).status_code == 302
    for door, page in (("/accounts/sign-up/", Client()), ("/admin/auth/user/add/", admin_client)):
        assert "already exists" in text(page.post(door, {**fields, "username": other}))
        assert page.post(door, {**fields, "username": f"{other}2{page is client}"}).status_code == 302
        get_user_model().objects.exclude(username=taken).exclude(username="admin").delete()


def test_strangers_send_few_forms_from_one_address(client, settings, monkeypatch):
    settings.SIGN_UP = True
    monkeypatch.setattr("diagnosis.api.throttles.AccountThrottle.THROTTLE_RATES", {"account": "3/hour"})
    for _ in range(3):
        client.post("/accounts/password/reset/", {"email": "x@example.org"}, headers={"x-forwarded-for": "1.2.3.4"})
    for address in ("/accounts/sign-up/", "/accounts/password/reset/"):
        response = client.post(address, SIGN_UP, headers={"x-forwarded-for": "5.6.7.8"})
        assert response.status_code == 429
        assert 0 < int(response["Retry-After"]) <= 3600
        assert client.get(address).status_code == 200


# --- Logging in and out ---------------------------------------------------------------------


def test_logging_in_keeps_what_the_browser_sent_and_logging_out_needs_a_post(client, alice, xray):
    send(client, xray())
    response = log_in(client, "alice", "secret of alice", next="/history/")
    assert response["Location"] == "/history/"
    assert Upload.objects.get().owner == alice
    assert "Log out?" in client.get("/accounts/logout/").content.decode(), "the address asks first"
    assert client.get("/accounts/").status_code == 200
    assert client.get("/accounts/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/accounts/").status_code == 302
    assert client.get("/api/predictions/").json()["results"] == []


@pytest.mark.parametrize("door", ["/accounts/logout/", "/admin/logout/"])
def test_who_logs_out_is_told_so_once(client, bob, door):
    client.force_login(bob)
    assert "You are logged out. On a shared computer, close the browser too." in text(client.post(door, follow=True))
    assert "You are logged out" not in text(client.get("/"))


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_logging_in_leads_nowhere_else(client, alice, elsewhere):
    assert log_in(client, "alice", "secret of alice", next=elsewhere)["Location"] == "/"


def test_the_session_changes_with_the_person(client, alice, xray):
    send(client, xray())
    before = client.cookies["sessionid"].value
    log_in(client, "alice", "secret of alice")
    assert client.cookies["sessionid"].value != before
    assert Client(headers={"cookie": f"sessionid={before}"}).get("/accounts/").status_code == 302


@pytest.mark.parametrize("door", ["/accounts/login/", "/admin/login/"])
def test_ten_wrong_passwords_lock_the_door_for_that_name_and_address(client, alice, charlie, door, settings):
    for number in range(10):
        response = client.post(
            door, {"username": "alice", "password": "x"}, headers={"x-forwarded-for": f"10.0.0.{number}"}
        )
    assert response.status_code == 429
    right = {"username": "alice", "password": "secret of alice"}
    response = client.post(door, right)
    assert response.status_code == 429
    assert int(response["Retry-After"]) == 15 * 60
    assert "15 minutes" in text(response)
    assert log_in(client, "charlie", "secret of charlie").status_code == 302
    assert log_in(Client(REMOTE_ADDR="192.0.2.7"), "alice", "secret of alice").status_code == 302


def test_behind_a_proxy_the_address_is_the_one_that_the_proxy_tells(client, alice, settings):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
    for number in range(10):
        spoofed = {"x-forwarded-for": f"10.0.0.{number}, 192.0.2.1"}
        response = client.post("/accounts/login/", {"username": "alice", "password": "x"}, headers=spoofed)
    assert response.status_code == 429
    right = {"username": "alice", "password": "secret of alice"}
    assert client.post("/accounts/login/", right, headers={"x-forwarded-for": "192.0.2.2"}).status_code == 302


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(client, alice):
    alice.is_active = False
    alice.save()
    answers = {
        re.sub(r'value="[^"]*"', "", log_in(client, name, password).content.decode())
        for name, password in (("alice", "wrong"), ("alice", "secret of alice"), ("nobody", "wrong"))
    }
    assert len(answers) == 1


def test_without_a_role_an_account_may_log_in_and_is_told_what_is_missing(client, django_user_model, xray, settings):
    settings.ANONYMOUS_UPLOADS = False
    client.force_login(django_user_model.objects.create_user("norole", password=PASSWORD))
    assert "You have no role yet" in text(client.get("/accounts/"))
    response = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())})
    assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
    assert "administrator" in response.json()["detail"]
    assert 'name="file"' not in client.get("/").content.decode()


# --- Passwords -----------------------------------------------------------------------------


def letter_about(client: Client, address: str) -> list:
    """The letters that asking for one sends."""
    assert client.post("/accounts/password/reset/", {"email": address}).status_code == 302
    for thread in threading.enumerate():
        if thread.name == LetterForm.THREAD:
            thread.join()
    return mail.outbox


def test_an_address_is_changed_after_the_password_and_letters_go_there(client, alice):
    alice.email = "alice@example.org"
    alice.save()
    client.force_login(alice)
    assert "alice@example.org" in text(client.get("/accounts/"))
    refused = client.post("/accounts/email/", {"email": "thief@example.org", "password": "wrong"})
    assert refused.status_code == 400
    assert "That is not your password" in text(refused)
    assert client.post("/accounts/email/", {"email": "alice", "password": "secret of alice"}).status_code == 400
    done = client.post("/accounts/email/", {"email": "a@example.org", "password": "secret of alice"}, follow=True)
    assert "E-mail address: a@example.org." in text(done)
    assert letter_about(Client(), "alice@example.org") == []
    (letter,) = letter_about(Client(), "a@example.org")
    assert letter.to == ["a@example.org"]
    done = client.post("/accounts/email/", {"email": "", "password": "secret of alice"}, follow=True)
    assert "a forgotten password cannot be reset" in text(done)


def test_a_forgotten_password_is_set_anew_by_the_link_of_a_letter(client, alice):
    alice.email = "alice@example.org"
    alice.save()
    (letter,) = letter_about(client, "Alice@example.org")
    assert letter.to == ["alice@example.org"]
    assert "alice" in letter.body
    (link,) = re.findall(r"http://testserver(/\S+)", letter.body)
    page = client.get(link, follow=True)
    assert page["Referrer-Policy"] == "same-origin"
    address = page.redirect_chain[-1][0]
    assert link.rstrip("/").rpartition("/")[2] not in address, "the secret does not stay in the address"
    refused = client.post(address, {"new_password1": "12345678", "new_password2": "12345678"})
    assert "too common" in text(refused)
    done = client.post(address, {"new_password1": PASSWORD, "new_password2": PASSWORD}, follow=True)
    assert "Your new password is set" in text(done)
    assert log_in(Client(), "alice", "secret of alice").status_code == 200
    assert log_in(Client(), "alice", PASSWORD).status_code == 302
    assert "used already or has expired" in text(Client().get(link, follow=True))


def test_a_password_set_by_a_letter_revokes_the_tokens_of_whoever_took_the_account_over(client, alice, bob):
    alice.email = "alice@example.org"
    alice.save()
    secrets = [
        ApiToken.objects.create(user, expiry=datetime.timedelta(days=1), name="program")[1] for user in (alice, bob)
    ]
    (letter,) = letter_about(client, alice.email)
    (link,) = re.findall(r"http://testserver(/\S+)", letter.body)
    page = client.get(link, follow=True)
    assert "revokes all its API tokens" in text(page)
    client.post(page.redirect_chain[-1][0], {"new_password1": PASSWORD, "new_password2": PASSWORD})
    for secret, status in zip(secrets, (401, 200), strict=True):
        answer = Client(headers={"authorization": f"Bearer {secret}"}).get("/api/tokens/")
        assert answer.status_code == status


def test_a_password_set_by_a_letter_opens_the_door_that_wrong_ones_closed(client, alice, charlie):
    alice.email = "alice@example.org"
    alice.save()
    for name in ["alice", "charlie"] * 10:
        locked = log_in(client, name, "x")
    assert locked.status_code == 429
    (letter,) = letter_about(client, alice.email)
    (link,) = re.findall(r"http://testserver(/\S+)", letter.body)
    address = client.get(link, follow=True).redirect_chain[-1][0]
    assert log_in(client, "alice", "secret of alice").status_code == 429, "a link alone opens nothing"
    client.post(address, {"new_password1": PASSWORD, "new_password2": PASSWORD})
    assert log_in(client, "alice", PASSWORD).status_code == 302
    assert log_in(client, "charlie", "secret of charlie").status_code == 429, "others stay out"


def test_asking_for_a_letter_does_not_tell_who_has_an_account(client, alice, charlie):
    alice.email, alice.is_active = "alice@example.org", False
    alice.save()
    assert letter_about(client, "alice@example.org") == []
    assert letter_about(client, "nobody@example.org") == []


def test_a_changed_password_logs_out_everywhere_else(client, alice):
    elsewhere = Client()
    for browser in (client, elsewhere):
        log_in(browser, "alice", "secret of alice")
    fields = {"old_password": "secret of alice", "new_password1": PASSWORD, "new_password2": PASSWORD}
    wrong = client.post("/accounts/password/", {**fields, "old_password": "x"})
    assert "old password was entered incorrectly" in text(wrong)
    assert "Your password has been changed" in text(client.post("/accounts/password/", fields, follow=True))
    assert client.get("/accounts/").status_code == 200
    assert elsewhere.get("/accounts/").status_code == 302


# --- Administrators --------------------------------------------------------------------------


def test_an_administrator_gives_roles_and_makes_nobody_a_superuser(client, ada, charlie, admin_user):
    client.force_login(ada)
    address = f"/admin/auth/user/{charlie.pk}/change/"
    page = client.get(address).content.decode()
    assert 'name="groups"' in page
    assert "superuser" not in page
    reviewer = charlie.groups.model.objects.get(name="reviewer")
    fields = {"username": "charlie", "groups": [reviewer.pk], "is_active": "on", "is_superuser": "on", "is_staff": "on"}
    assert client.post(address, fields).status_code == 302
    charlie.refresh_from_db()
    assert (charlie.is_superuser, charlie.is_staff) == (False, False)
    assert list(charlie.groups.all()) == [reviewer]
    assert client.post(f"/admin/auth/user/{admin_user.pk}/change/", fields).status_code == 403
    assert client.post(f"/admin/auth/user/{admin_user.pk}/password/", {"password1": "x"}).status_code == 403


def test_an_account_keeps_its_name_by_which_the_audit_log_knows_it(admin_client, bob):
    address = f"/admin/auth/user/{bob.pk}/change/"
    assert 'name="username"' not in admin_client.get(address).content.decode()
    assert admin_client.post(address, {"username": "robert", "is_active": "on"}).status_code == 302
    bob.refresh_from_db()
    assert bob.username == "bob"


def test_an_account_with_pictures_or_readings_stays_and_the_page_says_what_to_do_instead(
    client, admin_client, alice, bob, charlie, xray
):
    client.force_login(alice)
    Review.objects.create(prediction=send(client, xray()), reviewer=bob, reading="Normal")
    for account, stays in ((alice, True), (bob, True), (charlie, False)):
        address = f"/admin/auth/user/{account.pk}/delete/"
        chosen = {"action": "delete_selected", "_selected_action": [account.pk]}
        for page in (admin_client.get(address), admin_client.post("/admin/auth/user/", chosen)):
            assert ("Untick “Active” on its page instead" in text(page)) == stays
            assert ("Are you sure" in text(page)) != stays
        admin_client.post(address, {"post": "yes"})
        assert get_user_model().objects.filter(pk=account.pk).exists() == stays


def test_the_account_of_make_admin_gets_in_everywhere(admin_client, client, alice, xray):
    client.force_login(alice)
    prediction = send(client, xray())
    lists = ("diagnosis/prediction/", "diagnosis/auditevent/", "auth/user/", "auth/group/")
    for address in (f"/predictions/{prediction.pk}/", "/accounts/", "/admin/", *(f"/admin/{name}" for name in lists)):
        assert admin_client.get(address).status_code == 200, address
    assert "Admin" in text(admin_client.get("/"))
    assert admin_client.delete(f"/api/predictions/{prediction.pk}/").status_code == 204
