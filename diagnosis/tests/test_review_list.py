"""What reviewers see of what was read: the list with its filters, exports, several read at once, agreement."""

import io
import json
import re
from itertools import permutations

import openpyxl
import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from diagnosis import agreement, reviews
from diagnosis.models import AuditEvent, Prediction, Review
from diagnosis.tests.test_access import plans_of, reads_all
from diagnosis.tests.test_reviews import LIST, names, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def some(make, bob, ada) -> dict[str, Prediction]:
    """Six predictions: agreed, wrong, unreadable, disputed by reviewers, unread, and one that cannot be read."""
    some = {
        "agreed": make("agreed", probability=0.9),
        "wrong": make("wrong", probability=0.1, version="v2"),
        "unreadable": make("unreadable", uncertain=True),
        "disputed": make("disputed", probability=0.2),
        "unread": make("=unread()", age=40),
        "rejected": make("rejected", status="rejected", age=41),
    }
    readings = {"agreed": "Pneumonia", "wrong": "Pneumonia", "unreadable": "Unreadable", "disputed": "Pneumonia"}
    for name, reading in readings.items():
        reviews.record(some[name], by=person(bob), reading=reading, blind=True)
    reviews.record(some["agreed"], by=person(ada), reading="Pneumonia")
    reviews.record(some["disputed"], by=person(ada), reading="Normal", note="artefact")
    return some


FILTERS = {
    "review=none": {"=unread()"},
    "review=read": {"agreed", "wrong", "unreadable", "disputed"},
    "review=disputed": {"disputed"},
    "agreement=agree": {"agreed", "disputed"},
    "agreement=differ": {"wrong"},
    "agreement=unreadable": {"unreadable"},
    "label__exact=Normal": {"wrong", "disputed"},
    "uncertain__exact=1": {"unreadable"},
    "model_version=v2": {"wrong"},
    "reviewer=ada": {"agreed", "disputed"},
    "review=read&label__exact=Normal": {"wrong", "disputed"},
    "review=nonsense": {"agreed", "wrong", "unreadable", "disputed", "=unread()", "rejected"},
    "reviewer=nonsense": {"agreed", "wrong", "unreadable", "disputed", "=unread()", "rejected"},
}


@pytest.mark.parametrize("query", FILTERS)
def test_the_list_is_filtered_and_exported_as_filtered(reviewer, some, ada, query):
    address = query.replace("=ada", f"={ada.pk}")
    listed = reviewer.get(f"{LIST}?{address}").context["cl"].queryset
    assert set(names(listed)) == FILTERS[query]
    exported = reviewer.post(f"{LIST}export/?{address}", {"format": "2", "resource": "0"})
    rows = json.loads(exported.content)
    assert {row["file_name"] for row in rows} == FILTERS[query]


def test_the_list_is_narrowed_to_a_month_and_to_who_sent_pictures(reviewer, make, bob, ada):
    now = timezone.localtime()
    last_month = now.replace(day=1) - timezone.timedelta(days=1)
    make("new")
    make("old", age=(now - last_month).days + 1)
    choices = [{choice["display"]: choice for choice in one} for one in filters(reviewer, LIST)]
    owners, created = choices[-2:]
    assert [name for name in owners if name not in ("All", "-", "Empty")] == ["alice"], "nobody else sent any"
    assert list(created)[:3] == ["Any date", "Today", "Past 7 days"]
    months = list(created)[3:]
    assert months[0] == now.strftime("%B %Y")
    assert len(months) == 2
    address = LIST + created[months[1]]["query_string"]
    narrowed = reviewer.get(address)
    assert names(narrowed.context["cl"].queryset) == ["old"]
    assert [choice["display"] for choice in list(filters(reviewer, address))[-1] if choice["selected"]] == [months[1]]


def filters(client, address: str) -> list[list[dict]]:
    """The choices that each filter of a list offers."""
    changes = client.get(address).context["cl"]
    return [list(one.choices(changes)) for one in changes.filter_specs]


def test_the_list_walks_indexes_however_long_it_is(reviewer, some):
    """No timing, but the plan: a page of the list sorts nothing, and beyond an index reads its own rows alone."""
    with CaptureQueriesContext(connection) as asked:
        reviewer.get(LIST)
    plans = plans_of(asked)
    assert plans
    assert not [plan for plan in plans if reads_all(plan)]


@pytest.mark.parametrize("model", ["prediction", "review", "auditevent"])
def test_no_list_takes_the_date_of_each_row_apart(client, some, ada, model):
    client.force_login(ada)
    with CaptureQueriesContext(connection) as asked:
        assert client.get(f"/admin/diagnosis/{model}/").status_code == 200
    assert not [query["sql"] for query in asked if "django_datetime" in query["sql"]]


def test_an_export_tells_answer_and_reading(reviewer, some):
    def export(file_format: int):
        response = reviewer.post(f"{LIST}export/", {"format": str(file_format), "resource": "0"})
        assert response.status_code == 200
        return response

    rows = {row["file_name"]: row for row in json.loads(export(2).content)}
    row = rows["disputed"]
    assert row["id"] == str(some["disputed"].pk)
    assert (row["label"], row["probability"], row["reading"]) == ("Normal", 0.2, "Normal")
    assert (row["reviewer"], row["blind"], row["note"]) == ("ada", False, "artefact")
    assert rows["=unread()"]["reading"] == ""

    # A spreadsheet must not take a file's name for a formula.
    assert "'=unread()" in export(0).content.decode()
    sheet = openpyxl.load_workbook(io.BytesIO(export(1).content)).active
    assert "'=unread()" in [row[1].value for row in sheet.iter_rows()]

    events = AuditEvent.objects.filter(action="exported", actor="bob")
    assert events.earliest("id").detail == "6 predictions as json; all"


def test_several_are_read_at_once_after_a_page_that_asks(reviewer, make, ada):
    chosen = [make("one"), make("two"), make("dog", status="rejected")]
    reviews.record(chosen[1], by=person(ada), reading="Pneumonia", note="left base")
    action = {"action": "read_as_normal", "_selected_action": [str(row.pk) for row in chosen]}
    asked = reviewer.post(LIST, action)
    said = " ".join(asked.content.decode().split())
    assert asked.context["title"] == "Record 2 readings for good?"
    assert "1 of them has a reading already" in said
    assert "left base" in said
    assert "1 picture was not analysed" in said
    assert Review.objects.count() == 1, "nothing was recorded yet"

    fields = re.findall(r'name="(_selected_action|action|post)"\s+value="([^"]*)"', said)
    answer: dict = {name: [value for key, value in fields if key == name] for name, _value in fields}
    assert "2 readings recorded" in reviewer.post(LIST, answer, follow=True).content.decode()
    recorded = Review.objects.filter(reviewer__username="bob").values_list("prediction", "reading", "blind")
    assert set(recorded) == {(row.pk, "Normal", False) for row in chosen[:2]}


def test_refused_pictures_are_not_read_at_once(reviewer, make):
    dog = make("dog", status="rejected")
    action = {"action": "read_as_normal", "_selected_action": [str(dog.pk)]}
    assert "1 picture was not analysed" in reviewer.post(LIST, action, follow=True).content.decode()
    assert not Review.objects.exists()


def test_no_more_are_read_at_once_than_a_form_can_ask_for(reviewer, make, monkeypatch):
    monkeypatch.setattr("diagnosis.admin.predictions.MOST_AT_ONCE", 1)
    chosen = {"_selected_action": [str(make(name).pk) for name in ("one", "two")]}
    page = reviewer.post(LIST, {"action": "read_as_normal", **chosen}, follow=True).content.decode()
    assert "At most 1 pictures are read at once, and you chose 2." in page
    mixed = {"_selected_action": [str(make("three").pk), str(make("dog", status="rejected").pk)]}
    page = reviewer.post(LIST, {"action": "read_as_normal", "post": "yes", **mixed}, follow=True).content.decode()
    assert "At most" not in page, "of those that can be read, only one was chosen"
    assert Review.objects.count() == 1


def test_the_detail_page_tells_the_readings_and_is_logged(reviewer, some):
    page = reviewer.get(f"{LIST}{some['disputed'].pk}/change/").content.decode()
    assert "superseded" in page
    assert "artefact" in page
    assert AuditEvent.objects.filter(action="viewed", actor="bob", prediction=some["disputed"].pk).exists()


def test_the_agreement_page_counts_blind_readings(reviewer, some):
    report = reviewer.get(f"{LIST}agreement/").context["report"]
    assert dict(report.overall.matrix()) == {"Normal": [0, 0], "Pneumonia": [2, 1], "Unreadable": [0, 1]}
    assert (report.read, report.read_blind) == (4, 4)
    assert report.by_pair == [], "one of each pair had seen the answer"


def test_the_agreement_page_counts_all_readings_when_asked_to(reviewer, some):
    report = reviewer.get(f"{LIST}agreement/?readings=all").context["report"]
    assert dict(report.overall.matrix()) == {"Normal": [1, 0], "Pneumonia": [1, 1], "Unreadable": [0, 1]}
    assert report.overall.sensitivity["value"] == 0.5
    assert report.overall.specificity["value"] == 1
    assert [(name, group.total) for name, group in report.by_model_version] == [("v2", 1), ("v1", 3)]
    assert [(one, other, kappa.pairs, kappa.agreed) for one, other, kappa in report.by_pair] == [("ada", "bob", 2, 1)]
    narrowed = reviewer.get(f"{LIST}agreement/?model_version=v2&readings=all").context["report"]
    assert narrowed.overall.total == 1


def test_unreliable_answers_do_not_count(reviewer, make, bob):
    for name, status in (("chest", "ok"), ("hand", "forced")):
        reviews.record(make(name, status=status), by=person(bob), reading="Normal", blind=True)
    report = reviewer.get(f"{LIST}agreement/").context["report"]
    assert (report.read, report.overall.total) == (1, 1)
    reviewer.force_login(bob)
    assert reviewer.get("/dashboard/").context["found"].agreement.total == 1


def test_readings_in_bulk_do_not_raise_the_agreement(reviewer, make, ada):
    wrong = make("wrong", probability=0.1)
    reviews.record(wrong, by=person(ada), reading="Pneumonia", blind=True)
    called = [wrong, *(make(str(number)) for number in range(3))]
    data = {"action": "read_as_pneumonia", "_selected_action": [str(row.pk) for row in called], "post": "yes"}
    reviewer.post(LIST, data)
    page = reviewer.get(f"{LIST}agreement/")
    assert page.context["report"].overall.sensitivity["value"] == 0
    assert "4 predictions have a reading, 1 of them a blind one." in " ".join(page.content.decode().split())
    everything = reviewer.get(f"{LIST}agreement/?readings=all")
    assert everything.context["report"].overall.sensitivity["value"] == 0.75
    assert "may look better" in everything.content.decode()


def test_the_agreement_page_without_readings(reviewer, make, bob):
    prediction = make("one")
    assert "Nobody has read" in reviewer.get(f"{LIST}agreement/").content.decode()
    reviews.record(prediction, by=person(bob), reading="Normal")
    assert "None of these readings is blind" in reviewer.get(f"{LIST}agreement/").content.decode()


def test_how_reviewers_are_called_changes_no_agreement(reviewer, make, bob, ada):
    initials = {bob: "NNNNNPP", ada: "NNPPPPP", get_user_model().objects.create_user("eve"): "PPPPN"}
    for number in range(7):
        prediction = make(str(number))
        for reader, kinds in initials.items():
            for kind in kinds[number : number + 1]:
                reading = {"N": "Normal", "P": "Pneumonia"}[kind]
                Review.objects.create(prediction=prediction, reviewer=reader, reading=reading, blind=True)
    alphas, kappas = [], []
    for called in permutations("abc"):
        for reader, name in zip(initials, called, strict=True):
            get_user_model().objects.filter(pk=reader.pk).update(username=f"{name}{len(alphas)}")
        report = reviewer.get(f"{LIST}agreement/").context["report"]
        alphas.append(report.overall.alpha)
        kappas.append(sorted(kappa.value for _, _, kappa in report.by_pair))
    assert alphas[0].pictures == 7
    assert alphas == [alphas[0]] * 6
    assert kappas == [kappas[0]] * 6


def test_alpha_kappa_and_interval_are_those_of_the_textbooks():
    # Cohen's table of two psychiatrists with 20 and 15 agreements among 50, kappa 0.4.
    pairs = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    assert agreement.cohens_kappa(pairs).value == pytest.approx(0.4)
    assert agreement.cohens_kappa([("a", "a")] * 3).value is None
    # Krippendorff 2011, C: four observers of twelve units, some of which they did not observe.
    observers = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    units = [[kind for kind in unit if kind != "."] for unit in zip(*observers, strict=True)]
    alpha = agreement.krippendorffs_alpha(units)
    assert alpha.pictures == 11
    assert alpha.value == pytest.approx(0.743, abs=5e-4)
    assert agreement.krippendorffs_alpha(["aa", "aaa"]).value is None
    assert agreement.krippendorffs_alpha(["a", "b"]) is None
    # Newcombe 1998, table I: 81 of 263.
    interval = agreement.share(81, 263)
    assert (interval["low"], interval["high"]) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
