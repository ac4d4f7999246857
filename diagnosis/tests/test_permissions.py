"""Who may do what, written out: every address and method, for everybody. An address that is missing here fails."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import URLPattern, get_resolver

from diagnosis import roles
from diagnosis.api import problems
from diagnosis.models import ApiToken, Prediction
from diagnosis.probes import PROBES as PROBE_VIEWS

pytestmark = pytest.mark.django_db

# Answers to: a visitor, the owner, another user, a reviewer, an administrator. Visitors may
# not upload here. 404 is the answer about what somebody may not see, so that they do not learn of it.
EVERYBODY = (200, 200, 200, 200, 200)
THOSE_WHO_SEE = (404, 200, 404, 200, 200)
THOSE_LOGGED_IN = (302, 200, 200, 200, 200)

PAGES = {
    ("GET", "/"): EVERYBODY,
    ("POST", "/"): (302, 302, 302, 302, 302),  # visitors to the log-in, others to their result
    ("GET", "/history/"): EVERYBODY,
    ("GET", "/history/compare/?pick={pk}&pick={pk}"): (302, 302, 302, 302, 302),  # one is too few
    ("GET", "/history/compare/?pick={pk}&pick={another}"): THOSE_WHO_SEE,
    ("GET", "/history/export.csv"): EVERYBODY,
    ("GET", "/history/delete/?pick={pk}"): THOSE_WHO_SEE,  # to the reviewer it says that they may not
    ("POST", "/history/delete/?pick={pk}"): (302, 302, 302, 302, 302),  # nothing is ticked in the body
    ("GET", "/dashboard/"): EVERYBODY,
    ("GET", "/model/"): EVERYBODY,
    ("GET", "/model/roc_curve.svg"): EVERYBODY,
    ("GET", "/predictions/{pk}/"): THOSE_WHO_SEE,
    ("GET", "/predictions/{pk}/report/"): THOSE_WHO_SEE,
    ("GET", "/predictions/{pk}/report.pdf"): THOSE_WHO_SEE,
    ("GET", "/predictions/{pk}/xray"): THOSE_WHO_SEE,
    ("GET", "/predictions/{pk}/heatmap.png"): THOSE_WHO_SEE,
    ("GET", "/predictions/{pk}/thumbnail.jpg"): THOSE_WHO_SEE,
    ("GET", "/predictions/{pk}/all-the-same"): (404, 302, 404, 302, 302),
    ("POST", "/predictions/{pk}/all-the-same"): (404, 302, 404, 302, 302),
    ("POST", "/preferences/theme"): (302, 302, 302, 302, 302),
    ("POST", "/preferences/language"): (302, 302, 302, 302, 302),
    ("GET", "/words/fr.js"): EVERYBODY,
    ("GET", "/accounts/"): THOSE_LOGGED_IN,
    ("POST", "/accounts/"): (302, 400, 400, 400, 400),
    ("GET", "/accounts/login/"): EVERYBODY,
    ("GET", "/accounts/logout/"): EVERYBODY,
    ("POST", "/accounts/logout/"): (302, 302, 302, 302, 302),
    ("GET", "/accounts/sign-up/"): (200, 302, 302, 302, 302),
    ("GET", "/accounts/password/"): THOSE_LOGGED_IN,
    ("GET", "/accounts/password/reset/"): EVERYBODY,
    ("GET", "/accounts/password/reset/MQ/wrong-token/"): EVERYBODY,  # the page says that the link is too old
    ("POST", "/accounts/tokens/{token}/revoke"): (302, 302, 302, 302, 302),
    ("GET", "/accounts/download"): THOSE_LOGGED_IN,
    ("GET", "/accounts/delete"): THOSE_LOGGED_IN,
    ("GET", "/accounts/email/"): THOSE_LOGGED_IN,
    ("GET", "/accounts/close/"): THOSE_LOGGED_IN,
}
API = {
    ("POST", "/predict"): (401, 200, 200, 200, 200),
    ("POST", "/predict/"): (401, 200, 200, 200, 200),
    ("GET", "/predict"): (405, 405, 405, 405, 405),
    ("GET", "/api/predictions/"): EVERYBODY,
    ("POST", "/api/predictions/"): (401, 200, 200, 200, 200),
    ("GET", "/api/predictions/{pk}/"): THOSE_WHO_SEE,
    ("DELETE", "/api/predictions/{pk}/"): (404, 204, 404, 403, 204),
    ("PUT", "/api/predictions/{pk}/"): (405, 405, 405, 405, 405),
    ("PATCH", "/api/predictions/{pk}/"): (405, 405, 405, 405, 405),
    ("GET", "/api/predictions/{pk}/heatmap/"): THOSE_WHO_SEE,
    ("GET", "/api/predictions/{pk}/original/"): THOSE_WHO_SEE,
    ("GET", "/api/reviews/"): EVERYBODY,
    ("POST", "/api/reviews/"): (401, 403, 403, 201, 201),
    ("GET", "/api/tokens/"): (401, 200, 200, 200, 200),
    ("POST", "/api/tokens/"): (401, 201, 201, 201, 201),
    ("DELETE", "/api/tokens/{token}/"): (401, 204, 404, 404, 404),
    ("GET", "/api/models/"): EVERYBODY,
    ("GET", "/api/statistics/"): EVERYBODY,
    ("GET", "/api/schema/"): EVERYBODY,
    ("GET", "/api/docs/"): EVERYBODY,
    ("GET", "/api/nothing/"): (404, 404, 404, 404, 404),
}
ADMIN = {
    ("GET", "/admin/"): (302, 302, 302, 200, 200),
    ("GET", "/admin/diagnosis/prediction/"): (302, 302, 302, 200, 200),
    ("GET", "/admin/diagnosis/prediction/{pk}/change/"): (302, 302, 302, 200, 200),
    ("GET", "/admin/diagnosis/prediction/{pk}/delete/"): (302, 302, 302, 403, 200),
    ("GET", "/admin/diagnosis/prediction/add/"): (302, 302, 302, 403, 403),
    ("POST", "/admin/diagnosis/prediction/export/"): (302, 302, 302, 200, 200),
    ("GET", "/admin/diagnosis/prediction/review/"): (302, 302, 302, 302, 302),  # reviewers to the next picture
    ("GET", "/admin/diagnosis/prediction/{pk}/review/"): (302, 302, 302, 200, 200),
    ("POST", "/admin/diagnosis/prediction/review/unskip"): (302, 302, 302, 302, 302),
    ("GET", "/admin/diagnosis/prediction/agreement/"): (302, 302, 302, 200, 200),
    ("GET", "/admin/diagnosis/review/"): (302, 302, 302, 200, 200),
    ("GET", "/admin/diagnosis/review/add/"): (302, 302, 302, 403, 403),
    ("GET", "/admin/diagnosis/auditevent/"): (302, 302, 302, 403, 200),
    ("GET", "/admin/auth/user/"): (302, 302, 302, 403, 200),
    ("GET", "/admin/auth/group/"): (302, 302, 302, 403, 403),
}
PROBES = {
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/metrics"): (404, 404, 404, 404, 404),  # only for a scraper's token, and there is none
    ("POST", "/healthz"): (405, 405, 405, 405, 405),
}
TABLE = {**PAGES, **API, **ADMIN, **PROBES}
PEOPLE = ("visitor", "owner", "other", "reviewer", "administrator")


@pytest.fixture
def people(alice, charlie, bob, ada) -> dict[str, Client]:
    clients = {name: Client() for name in PEOPLE}
    for name, user in zip(PEOPLE[1:], (alice, charlie, bob, ada), strict=True):
        clients[name].force_login(user)
    return clients


@pytest.mark.parametrize(("method", "address"), TABLE)
@pytest.mark.parametrize("name", PEOPLE)
def test_everybody_gets_the_answer_in_the_table(people, alice, xray, settings, name, method, address):
    settings.ANONYMOUS_UPLOADS = False
    settings.SIGN_UP = True
    picture = xray(size=(64, 64))
    people["owner"].post("/predict", {"file": SimpleUploadedFile("x.jpg", picture)})
    prediction = Prediction.objects.get()
    another = prediction.pk
    if "{another}" in address:
        another = people["owner"].post("/predict", {"file": SimpleUploadedFile("y.jpg", picture)}).json()["id"]
    token, _secret = ApiToken.objects.create(alice, name="scanner")
    path = address.format(pk=prediction.pk, another=another, token=token.token_key)
    body: dict = {"data": {"file": SimpleUploadedFile("x.jpg", picture)}} if method == "POST" else {}
    if address == "/api/tokens/":
        body = {"data": {"name": "mine"}, "content_type": "application/json"} if method == "POST" else {}
    if address == "/api/reviews/" and method == "POST":
        reading = {"prediction": str(prediction.pk), "reading": "Normal"}
        body = {"data": reading, "content_type": "application/json"}
    if address.endswith("/export/"):
        body = {"data": {"format": "0", "resource": "0"}}
    response = getattr(people[name], method.lower())(path, **body)
    assert response.status_code == TABLE[method, address][PEOPLE.index(name)]
    if response.status_code >= 400 and problems.is_api(response.wsgi_request):
        assert response["Content-Type"] == "application/problem+json"


def test_what_an_account_may_do_is_what_django_says(alice, charlie, bob, ada, django_assert_max_num_queries):
    alice.user_permissions.add(*Permission.objects.filter(codename__in=["view_prediction", "add_upload"]))
    ada.is_superuser = True
    ada.save()
    away = get_user_model().objects.create_user("away", is_active=False)
    roles.give(away, roles.ADMINISTRATOR)
    names = [f"diagnosis.{name}" for name in ("add_upload", "view_prediction", "add_review", "delete_upload")]
    for account in (alice, charlie, bob, ada, away):
        fresh, asked = (get_user_model().objects.get(pk=account.pk) for _ in range(2))
        with django_assert_max_num_queries(1):
            said = [roles.may(fresh, name) for name in names]
        assert said == [asked.has_perm(name) for name in names]
        assert fresh.get_all_permissions() == asked.get_all_permissions()


def test_nobody_revokes_anothers_token(people, alice):
    token, _secret = ApiToken.objects.create(alice, name="scanner")
    for name in PEOPLE:
        if name != "owner":
            people[name].post(f"/accounts/tokens/{token.token_key}/revoke")
            people[name].delete(f"/api/tokens/{token.token_key}/")
    assert ApiToken.objects.exists()
    people["owner"].post(f"/accounts/tokens/{token.token_key}/revoke")
    assert not ApiToken.objects.exists()


def test_every_address_is_in_the_table():
    written = {address.split("?")[0] for _method, address in TABLE}
    for pattern in _patterns(get_resolver().url_patterns):
        assert any(pattern.match(address) for address in map(_filled, written)), f"{pattern} is missing in the table"


def test_every_probe_is_in_the_table():
    assert {address for _method, address in PROBES} == set(PROBE_VIEWS)


def _filled(address: str) -> str:
    return address.format(pk="0a000000-0000-4000-8000-000000000000", token="0123456789abcde").lstrip("/")


class _Whole:
    """A pattern with all that stands before it."""

    def __init__(self, parts: list):
        self.parts = parts

    def match(self, address: str) -> bool:
        for part in self.parts:
            matched = part.match(address)
            if matched is None:
                return False
            address = matched[0]
        return True

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


def _patterns(patterns, before=()):
    for pattern in patterns:
        if getattr(pattern, "app_name", "") == "admin":
            continue  # Django's own, whose doors are tried above
        if isinstance(pattern, URLPattern):
            yield _Whole([*before, pattern.pattern])
        else:
            yield from _patterns(pattern.url_patterns, (*before, pattern.pattern))
