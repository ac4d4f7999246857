"""What the queue offers to read next, and in which order."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from diagnosis import reviews
from diagnosis.tests.test_access import plans_of, reads_all
from diagnosis.tests.test_reviews import LIST, QUEUE, person

pytestmark = pytest.mark.django_db


def test_the_queue_offers_first_what_a_reading_helps_most(reviewer, make, bob, ada):
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
    assert offered(reviewer) == [
        "uncertain",
        "disputed, new model",
        "disputed, old model",
        "new",
        "old",
        "seen by another",
    ]


def offered(reviewer: Client) -> list[str]:
    """The names of what the queue offers, one after the other, to a reviewer who skips all of it."""
    offered = []
    while (answer := reviewer.get(QUEUE)).status_code == 302:
        offered.append(reviewer.get(answer.url).context["prediction"].upload.original_name)
        reviewer.post(answer.url, {"skip": "1"})
    return offered


def test_what_was_read_before_comes_last_in_the_same_order(reviewer, make, ada):
    for name, options in {
        "old": {"age": 2},
        "new": {},
        "disputed, old model": {"sha256": "f" * 64, "version": "v0", "probability": 0.1, "age": 4},
        "disputed, new model": {"sha256": "f" * 64, "version": "v1", "age": 3},
        "uncertain": {"uncertain": True, "age": 5},
    }.items():
        reviews.record(make(name, **options), by=person(ada), reading="Normal")
    make("unread", age=9)
    assert offered(reviewer) == ["unread", "uncertain", "disputed, new model", "disputed, old model", "new", "old"]


def test_counts_of_what_waits_go_no_further_than_anybody_acts_on(reviewer, make, ada, monkeypatch):
    monkeypatch.setattr("diagnosis.reviews.MOST_COUNTED", 2)
    for number in range(3):
        reviews.record(make(f"read {number}"), by=person(ada), reading="Normal")
    said = []
    for number in range(3):
        address = f"{LIST}{make(str(number)).pk}/review/"
        said.append(
            " ".join(reviewer.get(address).content.decode().split()).partition("Waiting: ")[2].partition(".")[0]
        )
    assert said == [
        "1 that nobody has read, 2+ for a second reading",
        "2 that nobody has read, 2+ for a second reading",
        "2+ that nobody has read, 2+ for a second reading",
    ]


def test_the_queue_walks_indexes_however_many_wait(reviewer, make, ada):
    """No timing, but the plan: nothing is read as a whole or sorted to find one picture or to count some."""
    waiting = make("one")
    plans = []
    for _unread_then_read in range(2):
        with CaptureQueriesContext(connection) as asked:
            assert reviewer.get(QUEUE, follow=True).status_code == 200
        plans += plans_of(asked)
        reviews.record(waiting, by=person(ada), reading="Normal")
    for index in ("prediction_uncertain", "prediction_newest", "upload_of_picture", "review_latest"):
        assert [plan for plan in plans if any(f"INDEX {index}" in step for step in plan)]
    assert not [plan for plan in plans if reads_all(plan)]


def test_every_page_leads_reviewers_to_the_queue_and_nobody_else(client, alice, bob, ada):
    led = []
    for user in (None, alice, bob, ada):
        if user:
            client.force_login(user)
        led.append(QUEUE in client.get("/model/").content.decode())
    assert led == [False, False, True, True]
