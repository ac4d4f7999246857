"""Readings: the queue, recording, the list's filters, exports, the agreement page, the API."""

import io
import json
import re

import openpyxl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone

from diagnosis import access, agreement, reviews, services
from diagnosis.models import AuditEvent, Prediction, Review, Upload

pytestmark = pytest.mark.django_db
LIST = "/admin/diagnosis/prediction/"
QUEUE = f"{LIST}review/"


@pytest.fixture
def make(alice):
    """`make("a.jpg", probability=0.9, sha256="0…")`: a row as the site writes it, without its files."""

    def make(
        name: str, *, probability=0.9, uncertain=False, status="ok", version="v1", sha256=None, age=0
    ) -> Prediction:
        number = Upload.objects.count()
        upload = Upload.objects.create(
            owner=alice,
            original_name=name,
            size=1,
            width=1,
            height=1,
            format="JPEG",
            file="x",
            thumbnail="x",
            sha256=sha256 or f"{number:064x}",
        )
        rejected = status == "rejected"
        prediction = Prediction.objects.create(
            upload=upload,
            status=status,
            label="" if rejected else "Pneumonia" if probability >= 0.5 else "Normal",
            probability=None if rejected else probability,
            threshold=0.5,
            uncertain=uncertain,
            operating_point="balanced",
            model_version=version,
            heatmap="" if rejected else "x",
            milliseconds=1,
        )
        created = timezone.now() - timezone.timedelta(days=age)
        Prediction.objects.filter(pk=prediction.pk).update(created=created)
        prediction.refresh_from_db()
        return prediction

    return make


@pytest.fixture
def reviewer(client, bob) -> Client:
    client.force_login(bob)
    return client


def person(user) -> access.Person:
    return access.Person(user=user)


def names(predictions) -> list[str]:
    return [prediction.upload.original_name for prediction in predictions]


def test_the_queue_offers_first_what_a_reading_helps_most(make, bob, ada):
    make("old", age=3)
    make("new")
    make("disputed, old model", sha256="f" * 64, version="v0", probability=0.1, age=2)
    make("disputed, new model", sha256="f" * 64, version="v1", probability=0.9, age=1)
    make("uncertain", uncertain=True, age=5)
    make("rejected", status="rejected")
    seen_by_another = make("seen by another", uncertain=True)
    reviews.record(seen_by_another, by=person(ada), reading="Normal")
    mine = make("mine")
    reviews.record(mine, by=person(bob), reading="Normal")
    assert names(reviews.queue(person(bob))) == [
        "uncertain",
        "disputed, new model",
        "disputed, old model",
        "new",
        "old",
        "seen by another",
    ]


def test_the_queue_takes_one_query_however_many_wait(make, bob, django_assert_num_queries):
    for number in range(5):
        make(str(number))
    bob.has_perm("diagnosis.view_prediction")
    with django_assert_num_queries(1):
        list(reviews.queue(person(bob)))


def test_a_reading_is_recorded_and_the_next_picture_follows(reviewer, make, bob):
    second, first = make("second", age=1), make("first")
    before = Prediction.objects.filter(pk=first.pk).values().get()
    assert reviewer.get(QUEUE).url == f"{LIST}{first.pk}/review/"
    response = reviewer.post(f"{LIST}{first.pk}/review/", {"reading": "Normal", "note": " clear \r\n"})
    assert response.url == QUEUE
    review = Review.objects.get()
    assert (review.prediction, review.reviewer, review.reading, review.note) == (first, bob, "Normal", "clear")
    assert review.blind
    assert reviewer.get(QUEUE).url == f"{LIST}{second.pk}/review/"
    assert Prediction.objects.filter(pk=first.pk).values().get() == before
    assert AuditEvent.objects.filter(action="reviewed", actor="bob", prediction=first.pk, detail="Normal").exists()


def test_nothing_leads_the_reading_until_asked_for(reviewer, make, ada):
    prediction = make("person1_bacteria_1.jpg")
    reviews.record(prediction, by=person(ada), reading="Unreadable", note="blurred by motion")
    address = f"{LIST}{prediction.pk}/review/"
    leading = ("person1_bacteria", "heatmap.png", "blurred by motion", "v1", "90.0")
    page = reviewer.get(address).content.decode()
    assert not [word for word in leading if word in page]
    page = reviewer.post(address, {"show": "1", "note": "left base"}).content.decode()
    assert all(word in page for word in leading)
    assert "left base" in page
    assert Review.objects.count() == 1
    reviewer.post(address, {"shown": "1", "reading": "Pneumonia"})
    assert not Review.objects.latest("id").blind


def test_a_reading_is_not_blind_where_the_reader_sent_the_picture(reviewer, xray):
    reviewer.post("/predict", {"file": SimpleUploadedFile("own.jpg", xray())})
    Client().post("/predict", {"file": SimpleUploadedFile("other.jpg", xray())})
    for prediction in Prediction.objects.all():
        reviewer.post(f"{LIST}{prediction.pk}/review/", {"reading": "Normal"})
    told = Review.objects.values_list("prediction__upload__original_name", "blind")
    assert dict(told) == {"own.jpg": False, "other.jpg": True}


def test_a_reading_is_not_blind_where_the_reader_sent_the_picture_before_logging_in(client, xray, bob):
    client.post("/predict", {"file": SimpleUploadedFile("own.jpg", xray())})
    client.post("/accounts/login/", {"username": "bob", "password": "secret of bob"})
    prediction = Prediction.objects.get(upload__owner=bob)
    client.post(f"{LIST}{prediction.pk}/review/", {"reading": "Normal"})
    assert not Review.objects.get().blind


def test_a_reading_is_not_blind_where_the_reader_asked_for_the_analysis(reviewer, no_xray, bob):
    Client().post("/predict", {"file": SimpleUploadedFile("dog.png", no_xray)})
    forced = services.analyse_all_the_same(Prediction.objects.get(), by=person(bob))
    reviewer.post(f"{LIST}{forced.pk}/review/", {"reading": "Normal"})
    assert not Review.objects.get().blind


def test_what_is_skipped_waits_until_asked_for(reviewer, make):
    prediction = make("hard")
    assert reviewer.post(f"{LIST}{prediction.pk}/review/", {"skip": "1", "note": "?"}).url == QUEUE
    assert "1 picture that you skipped" in reviewer.get(QUEUE).content.decode()
    assert reviewer.post(f"{QUEUE}unskip").url == QUEUE
    assert reviewer.get(QUEUE).url == f"{LIST}{prediction.pk}/review/"


def test_a_note_waits_at_the_picture_that_was_left_without_a_reading(reviewer, make):
    second, first = make("second", age=1), make("first")
    reviewer.post(f"{LIST}{second.pk}/review/", {"reading": "Normal"})
    back = reviewer.post(f"{LIST}{first.pk}/review/", {"back": "1", "note": "left base?"})
    assert back.url == f"{LIST}{second.pk}/review/"
    assert "Your note on the picture that you left is kept" in reviewer.get(back.url).content.decode()
    assert "left base?" in reviewer.get(QUEUE, follow=True).content.decode()
    reviewer.post(f"{LIST}{first.pk}/review/", {"skip": "1", "note": "left base!"})
    reviewer.post(f"{QUEUE}unskip")
    assert "left base!" in reviewer.get(QUEUE, follow=True).content.decode()
    reviewer.post(f"{LIST}{first.pk}/review/", {"reading": "Pneumonia", "note": "left base"})
    assert "left base" not in reviewer.get(f"{LIST}{first.pk}/review/").content.decode()


def test_what_is_skipped_counts_once_and_not_when_it_was_read_or_deleted(reviewer, make):
    hard, read, deleted = make("hard"), make("read"), make("deleted")
    for prediction in (hard, hard, read, deleted):
        reviewer.post(f"{LIST}{prediction.pk}/review/", {"skip": "1"})
    assert len(reviewer.session["review_skipped"]) == 3
    reviewer.post(f"{LIST}{read.pk}/review/", {"reading": "Normal"})
    deleted.upload.delete()
    assert "1 picture that you skipped" in reviewer.get(QUEUE).content.decode()
    reviewer.post(f"{LIST}{hard.pk}/review/", {"reading": "Normal"})
    assert "You have read every picture" in reviewer.get(QUEUE).content.decode()


def test_the_way_back_to_the_last_is_offered_while_that_exists(reviewer, make):
    last, following = make("last"), make("following")

    def offered() -> bool:
        return reviewer.post(f"{LIST}{following.pk}/review/", {"back": "1"}).url == f"{LIST}{last.pk}/review/"

    assert not offered()
    reviewer.post(f"{LIST}{last.pk}/review/", {"reading": "Normal"})
    assert offered()
    last.upload.delete()
    assert not offered()


def test_a_later_reading_supersedes_and_the_earlier_one_stays(reviewer, make):
    prediction = make("one")
    for reading in ("Normal", "Pneumonia"):
        reviewer.post(f"{LIST}{prediction.pk}/review/", {"reading": reading})
    assert reviews.with_reading(Prediction.objects.all()).get().reading == "Pneumonia"
    assert [review.reading for review in Review.objects.order_by("id")] == ["Normal", "Pneumonia"]


def test_readings_are_append_only(make, bob):
    review = reviews.record(make("one"), by=person(bob), reading="Normal")
    review.note = "changed"
    for alter in (review.save, review.delete, Review.objects.all().delete, lambda: Review.objects.update(note="x")):
        with pytest.raises(TypeError):
            alter()


@pytest.mark.parametrize("data", [{}, {"reading": "Healthy"}, {"reading": "Normal", "note": "x" * 2001}])
def test_what_is_no_reading_is_explained(reviewer, make, data):
    response = reviewer.post(f"{LIST}{make('one').pk}/review/", data)
    assert response.status_code == 400
    assert "errornote" in response.content.decode()
    assert not Review.objects.exists()


def test_a_picture_that_was_deleted_meanwhile_does_not_stop_the_queue(reviewer, make, alice):
    gone, waiting = make("gone"), make("waiting")
    address = f"{LIST}{gone.pk}/review/"
    assert reviewer.get(address).status_code == 200
    services.delete([gone.upload], by=person(alice))
    for button in ({"reading": "Normal", "note": "clear"}, {"skip": "1"}):
        answer = reviewer.post(address, button, follow=True)
        assert answer.redirect_chain[-1][0] == f"{LIST}{waiting.pk}/review/"
        assert "nothing was recorded" in answer.content.decode()
    assert not Review.objects.exists()
    assert reviewer.get(address).status_code == 404


def test_a_rejected_picture_is_not_read(reviewer, make):
    assert reviewer.get(f"{LIST}{make('dog', status='rejected').pk}/review/").status_code == 404


def test_deleting_an_upload_takes_its_readings(make, bob, ada):
    prediction = make("one")
    reviews.record(prediction, by=person(bob), reading="Normal")
    services.delete([prediction.upload], by=person(ada))
    assert not Review.objects.exists()


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


def test_kappa_and_interval_are_those_of_the_textbooks():
    # Cohen's table of two psychiatrists with 20 and 15 agreements among 50, kappa 0.4.
    pairs = [("a", "a")] * 20 + [("a", "b")] * 5 + [("b", "a")] * 10 + [("b", "b")] * 15
    assert agreement.cohens_kappa(pairs).value == pytest.approx(0.4)
    assert agreement.cohens_kappa([("a", "a")] * 3).value is None
    # Newcombe 1998, table I: 81 of 263.
    interval = agreement.share(81, 263)
    assert (interval["low"], interval["high"]) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


def test_the_owner_is_told_the_reading(client, alice, make, bob):
    prediction = make("one")
    reviews.record(prediction, by=person(bob), reading="Unreadable", note="motion")
    client.force_login(alice)
    page = client.get(f"/predictions/{prediction.pk}/").content.decode()
    assert "A reviewer read this picture as: Unreadable" in page
    assert "motion" in page


class TestApi:
    def post(self, client: Client, prediction: Prediction, fields=None):
        body = {"prediction": str(prediction.pk), "reading": "Normal", **(fields or {})}
        return client.post("/api/reviews/", body, content_type="application/json")

    def test_a_program_records_a_reading(self, reviewer, make, bob):
        prediction = make("one")
        response = self.post(reviewer, prediction, {"note": "clear", "blind": True})
        assert response.status_code == 201
        told = response.json()
        assert told["prediction"] == str(prediction.pk)
        assert (told["reading"], told["reviewer"], told["note"], told["blind"]) == ("Normal", "bob", "clear", True)
        assert Review.objects.get().reviewer == bob
        assert AuditEvent.objects.filter(action="reviewed", prediction=prediction.pk).exists()

    def test_a_program_that_was_told_the_answer_does_not_read_blind(self, reviewer, xray):
        def blind(look: str) -> bool:
            Client().post("/predict", {"file": SimpleUploadedFile("one.jpg", xray())})
            prediction = Prediction.objects.earliest("-created")
            for _ in range(2):
                assert reviewer.get(look.format(prediction.pk)).status_code == 200
            return self.post(reviewer, prediction, {"blind": True}).json()["blind"]

        assert blind("/api/predictions/")
        assert blind("/api/predictions/{}/original/")
        assert not blind("/api/predictions/{}/")
        assert not blind("/api/predictions/{}/heatmap/")
        assert AuditEvent.objects.filter(actor="bob", action="viewed", detail="result, heatmap").count() == 1

    def test_only_reviewers_record(self, client, alice, make):
        prediction = make("one")
        assert self.post(client, prediction).status_code == 401
        client.force_login(alice)
        response = self.post(client, prediction)
        assert response.status_code == 403
        assert "role of a reviewer" in response.json()["detail"]

    @pytest.mark.parametrize("fields", [{"reading": "Healthy"}, {"prediction": "x"}, {"note": "x" * 2001}])
    def test_what_is_no_reading_is_explained(self, reviewer, make, fields):
        response = self.post(reviewer, make("one"), fields)
        assert response.status_code == 400
        assert f"`{next(iter(fields))}`" in response.json()["detail"]

    def test_a_rejected_picture_has_nothing_to_compare(self, reviewer, make):
        response = self.post(reviewer, make("dog", status="rejected"))
        assert (response.status_code, response.json()["code"]) == (409, "not_analysed")

    def test_a_prediction_that_is_not_there_is_not_found(self, reviewer, make):
        nobodys = {"prediction": "e3e70682-c209-4cac-a29f-6fbed82c07cd"}
        assert self.post(reviewer, make("one"), nobodys).status_code == 404

    def test_readings_are_listed_to_those_who_see_the_prediction(self, reviewer, make, alice, charlie, bob):
        one, other = make("one"), make("other")
        for prediction, reading in ((one, "Normal"), (other, "Pneumonia")):
            reviews.record(prediction, by=person(bob), reading=reading)

        def listed(user, query="") -> list[str]:
            reviewer.force_login(user)
            return [row["reading"] for row in reviewer.get(f"/api/reviews/?{query}").json()["results"]]

        assert listed(bob) == listed(alice) == ["Pneumonia", "Normal"]
        assert listed(charlie) == []
        assert listed(bob, "reading=Normal") == ["Normal"]
        assert listed(bob, f"prediction={other.pk}") == ["Pneumonia"]
        assert listed(bob, "reviewer=nobody") == []
        reviewer.force_login(bob)
        assert reviewer.get("/api/reviews/?prediction=x").status_code == 400


def test_the_queue_is_quick_with_thousands_waiting(make, bob):
    """No timing, but the plan: each picture is compared with others by an index, not with all of them."""
    make("one")
    with connection.cursor() as cursor:
        sql, parameters = reviews.queue(person(bob)).query.sql_with_params()
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        plan = " ".join(row[-1] for row in cursor.fetchall())
    assert "upload_of_picture" in plan
