"""Readings: the queue, recording on the page and by the API."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from diagnosis import access, reviews, services
from diagnosis.models import AuditEvent, Prediction, Review

pytestmark = pytest.mark.django_db
LIST = "/admin/diagnosis/prediction/"
QUEUE = f"{LIST}review/"


def person(user) -> access.Person:
    return access.Person(user=user)


def names(predictions) -> list[str]:
    return [prediction.upload.original_name for prediction in predictions]


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


def test_the_reader_is_told_of_an_own_reading_of_the_same_picture_sent_before(reviewer, make, bob, ada):
    sent, again, other = make("sent", sha256="a" * 64), make("again", sha256="a" * 64), make("other")
    said = "The very same picture was sent another time as well, and you read that as Normal"
    reviews.record(sent, by=person(ada), reading="Pneumonia")
    assert said not in reviewer.get(f"{LIST}{again.pk}/review/").content.decode()
    reviews.record(sent, by=person(bob), reading="Normal")
    pages = [reviewer.get(f"{LIST}{one.pk}/review/").content.decode() for one in (sent, again, other)]
    assert [said in page for page in pages] == [False, True, False]


def test_a_second_click_records_no_second_reading(reviewer, make, bob, ada):
    chosen = {"action": "read_as_normal", "_selected_action": [make("a").pk, make("b").pk], "post": "yes"}
    for _click in range(2):
        reviewer.post(LIST, chosen)
    assert Review.objects.count() == AuditEvent.objects.filter(action="reviewed").count() == 2
    reviewer.post(LIST, {**chosen, "action": "read_as_unreadable"})
    reviewer.post(LIST, chosen)
    assert Review.objects.count() == 6, "who changes their mind does so twice"
    for prediction in Prediction.objects.all():
        reviews.record(prediction, by=person(ada), reading="Normal")
    assert Review.objects.count() == 8, "another reviewer's is another reading"


def test_a_reader_who_had_seen_the_answer_corrects_that_at_once(make, bob):
    prediction = make("a")
    for blind in (True, False):
        reviews.record(prediction, by=person(bob), reading="Normal", blind=blind)
    assert [review.blind for review in prediction.reviews.all()] == [False, True]


def test_the_same_is_read_again_later(make, bob, monkeypatch):
    prediction = make("a")
    reviews.record(prediction, by=person(bob), reading="Normal")
    later = timezone.now() + timezone.timedelta(minutes=1)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    reviews.record(prediction, by=person(bob), reading="Normal")
    assert Review.objects.count() == 2


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
    Client().post("/predict", {"file": SimpleUploadedFile("other.jpg", xray(seed=1))})
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


@pytest.mark.parametrize("how", ["sent it", "opened its result"])
def test_a_reading_is_not_blind_where_the_reader_knows_another_answer_to_the_very_picture(reviewer, xray, bob, how):
    sender = reviewer if how == "sent it" else Client()
    sender.post("/predict", {"file": SimpleUploadedFile("first.jpg", xray())})
    known = Prediction.objects.get()
    for name, seed in (("again.jpg", 0), ("another.jpg", 1)):
        Client().post("/predict", {"file": SimpleUploadedFile(name, xray(seed=seed))})
    if how == "opened its result":
        reviewer.get(f"/predictions/{known.pk}/")
    for prediction in Prediction.objects.exclude(pk=known.pk):
        reviewer.post(f"{LIST}{prediction.pk}/review/", {"reading": "Normal"})
    told = Review.objects.values_list("prediction__upload__original_name", "blind")
    assert dict(told) == {"again.jpg": False, "another.jpg": True}


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
    assert reviewer.get(f"{LIST}{last.pk}/review/").context["last"] is None, "it is open already"
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


def test_a_reading_of_what_is_deleted_meanwhile_is_not_found(client, make, bob, monkeypatch):
    client.force_login(bob)
    doomed, kept = make("doomed"), make("kept")

    def ask(prediction):
        if prediction == doomed:
            services.delete([doomed.upload], by="manage.py purge")
        return False

    reading = {"prediction": str(doomed.pk), "reading": "Normal", "blind": True}
    with monkeypatch.context() as patch:
        patch.setattr(Prediction, "is_rejected", property(ask))
        answer = client.post("/api/reviews/", reading, content_type="application/json")
    assert (answer.status_code, Review.objects.count()) == (404, 0)
    doomed = make("doomed on the page")
    with monkeypatch.context() as patch:
        patch.setattr(Prediction, "is_rejected", property(ask))
        page = client.post(f"{LIST}{doomed.pk}/review/", {"reading": "Normal"}, follow=True)
    assert "was deleted before you had read it" in page.content.decode()
    assert not Review.objects.exists()
    assert Prediction.objects.filter(pk=kept.pk).exists()
