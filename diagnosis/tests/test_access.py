"""Who sees what: written out for every address, so that a new one must be placed here."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from diagnosis import access, services
from diagnosis.inference import serving
from diagnosis.models import Prediction, Upload

pytestmark = pytest.mark.django_db

ADDRESSES = ["/predictions/{pk}/", "/predictions/{pk}/xray", "/predictions/{pk}/heatmap.png",
             "/predictions/{pk}/thumbnail.jpg", "/api/predictions/{pk}/"]  # fmt: skip
TO_POST = ["/predictions/{pk}/all-the-same"]


@pytest.fixture
def people(alice, bob, charlie) -> dict[str, Client]:
    clients = {name: Client() for name in ("owner", "staff", "other user", "visitor", "other visitor")}
    for name, user in (("owner", alice), ("staff", bob), ("other user", charlie)):
        clients[name].force_login(user)
    return clients


def analyse(client: Client, data: bytes) -> Prediction:
    response = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", data)})
    return Prediction.objects.get(pk=response.json()["id"])


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("sender", "may_see"), [("owner", {"owner", "staff"}), ("visitor", {"visitor", "staff"}), ("staff", {"staff"})]
)
def test_a_prediction_and_its_files_are_seen_by_sender_and_staff_alone(people, xray, address, sender, may_see):
    prediction = analyse(people[sender], xray())
    path = address.format(pk=prediction.pk)
    seen = {name for name, client in people.items() if client.get(path).status_code == 200}
    hidden = {name for name, client in people.items() if client.get(path).status_code == 404}
    assert seen == may_see
    assert hidden == set(people) - may_see


@pytest.mark.parametrize("address", TO_POST)
def test_sender_and_staff_alone_can_act_on_a_prediction(people, xray, address):
    path = address.format(pk=analyse(people["owner"], xray()).pk)
    statuses = {name: client.post(path).status_code for name, client in people.items()}
    assert statuses == dict.fromkeys(people, 404) | {"owner": 302, "staff": 302}


def test_histories_do_not_mix(people, xray):
    sent = {name: analyse(people[name], xray(seed=n)).pk for n, name in enumerate(["owner", "visitor", "other user"])}
    for name in ("owner", "visitor", "other user", "other visitor"):
        seen = [prediction.pk for prediction in people[name].get("/history/").context["page"]]
        assert seen == ([sent[name]] if name in sent else [])
    assert len(people["staff"].get("/history/").context["page"]) == 3
    assert len(people["staff"].get("/").context["recent"]) == 0


def test_a_visitor_is_known_by_their_session_and_not_by_its_key(people, xray):
    analyse(people["visitor"], xray())
    upload = Upload.objects.get()
    assert upload.owner is None
    assert str(upload.visitor) not in people["visitor"].cookies["sessionid"].value


def test_a_deactivated_member_of_staff_sees_nothing(people, bob, xray):
    prediction = analyse(people["owner"], xray())
    bob.is_active = False
    bob.save()
    assert people["staff"].get(f"/predictions/{prediction.pk}/").status_code == 404


def test_no_address_serves_files_past_these_views(client, people, xray):
    prediction = analyse(people["owner"], xray())
    for prefix in ("/", "/media/", "/static/"):
        assert client.get(prefix + prediction.upload.file.name).status_code == 404


LISTS = ["/", "/history/", "/history/?sort=oldest", "/history/?label=Normal&review=none", "/history/?model={version}",
         "/history/?certainty=certain", "/api/predictions/", "/api/predictions/?ordering=created",
         "/history/?sort=high", "/history/?sort=low", "/api/predictions/?ordering=-probability"]  # fmt: skip


@pytest.mark.parametrize("sender", ["owner", "visitor"])
def test_lists_of_ones_own_walk_an_index_however_long_they_are(people, xray, sender):
    """No timing, but the plan: a page reads its own rows in their order, and sorts neither one's own nor others'."""
    found = analyse(people[sender], xray())
    for address in LISTS:
        with CaptureQueriesContext(connection) as asked:
            assert people[sender].get(address.format(version=found.model_version)).status_code == 200
        plans = plans_of(asked)
        by_probability = re.search("high|low|probability", address)
        index = f"prediction_{sender}_probable" if by_probability else f"prediction_of_{sender}"
        assert [plan for plan in plans if f"INDEX {index} (" in plan[0]], address
        assert not [plan for plan in plans if reads_all(plan)], address


@pytest.mark.parametrize("sender", ["owner", "visitor"])
def test_one_of_many_pictures_is_found_without_walking_all(people, xray, sender):
    found = analyse(people[sender], xray())
    with CaptureQueriesContext(connection) as asked:
        for address in (*ADDRESSES, "/api/predictions/?sha256={sha256}"):
            people[sender].get(address.format(pk=found.pk, sha256=found.upload.sha256))
    steps = [step for plan in plans_of(asked) for step in plan]
    assert [step for step in steps if f"INDEX upload_of_{sender} (" in step], "the earlier results"
    assert not [step for step in steps if re.search("INDEX prediction_(of_|owner|visitor)", step)]


def test_who_logs_in_adopts_also_what_is_being_analysed(client, no_xray, alice, monkeypatch):
    rejected = Prediction.objects.get(
        pk=client.post("/predict", {"file": SimpleUploadedFile("x", no_xray)}).json()["id"]
    )
    diagnose = serving.diagnose

    def slowly(*args, **options):
        services.adopt(access.Person(visitor=rejected.visitor), alice)
        return diagnose(*args, **options)

    monkeypatch.setattr(serving, "diagnose", slowly)
    forced = services.analyse_all_the_same(rejected, by=access.Person(visitor=rejected.visitor))
    assert set(access.own(access.Person(user=alice))) == {rejected, forced}
    assert not access.own(access.Person(visitor=rejected.visitor)).exists()


def plans_of(asked: CaptureQueriesContext, *, of: str = "diagnosis_") -> list[list[str]]:
    """How SQLite goes about what was asked of the tables whose names begin so, step by step."""
    queries = [query["sql"] for query in asked if query["sql"].startswith("SELECT") and f'FROM "{of}' in query["sql"]]
    with connection.cursor() as cursor:
        return [[row[-1] for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()] for sql in queries]


def reads_all(plan: list[str]) -> bool:
    """Whether it reads a table without an index, or sorts more than the one row that a key finds."""
    if any(re.match(r"SCAN diagnosis_(?!.*INDEX)", step) for step in plan):
        return True
    return any("FOR ORDER BY" in step or "FOR DISTINCT" in step for step in plan) and not plan[0].endswith("(id=?)")
