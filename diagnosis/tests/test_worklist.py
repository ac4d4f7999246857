"""The history as a worklist: filters, order, pages, and what is done with selected rows."""

import csv
import datetime
import html
import re
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from diagnosis import access, reviews, services
from diagnosis.models import AuditEvent, Prediction, Review, Upload
from diagnosis.tests.test_listing import make
from diagnosis.tests.test_pages import text

pytestmark = pytest.mark.django_db
HISTORY = "/history/"
REJECTED = {"status": "rejected", "label": "", "probability": None, "heatmap": ""}


@pytest.fixture
def of_alice(client, alice) -> Client:
    client.force_login(alice)
    return client


@pytest.fixture
def some(alice, bob, ada) -> dict[str, Prediction]:
    """Five results of alice, oldest first, one day apart and the last of them now."""
    rows = {
        "clear.jpg": make(alice, 1, probability=0.1),
        "ill.jpg": make(alice, 2, label="Pneumonia", probability=0.9),
        "unsure.jpg": make(alice, 3, label="Pneumonia", probability=0.35, uncertain=True),
        "=1+1.jpg": make(alice, 4, probability=0.2),
        "holiday.jpg": make(alice, 5, **REJECTED),
    }
    for age, (name, row) in enumerate(reversed(rows.items())):
        Upload.objects.filter(pk=row.upload_id).update(original_name=name)
        Prediction.objects.filter(pk=row.pk).update(created=timezone.now() - datetime.timedelta(days=age))
    Prediction.objects.filter(pk=rows["=1+1.jpg"].pk).update(model_version="2")
    for reader, name, reading in [
        (bob, "ill.jpg", "Normal"),
        (ada, "ill.jpg", "Pneumonia"),
        (bob, "clear.jpg", "Normal"),
        (bob, "unsure.jpg", "Unreadable"),
        (bob, "unsure.jpg", "Normal"),
    ]:
        reviews.record(rows[name], by=access.Person(user=reader), reading=reading)
    return rows


def names(response) -> list[str]:
    return [prediction.upload.original_name for prediction in response.context["page"]]


def picks(*rows: Prediction) -> str:
    return "&".join(f"pick={row.pk}" for row in rows)


TODAY = timezone.now().date()
NEWEST = ["holiday.jpg", "=1+1.jpg", "unsure.jpg", "ill.jpg", "clear.jpg"]
FILTERS = {
    "": NEWEST,
    "sort=newest": NEWEST,
    "sort=oldest": NEWEST[::-1],
    "sort=high": ["ill.jpg", "unsure.jpg", "=1+1.jpg", "clear.jpg"],
    "sort=low": ["clear.jpg", "=1+1.jpg", "unsure.jpg", "ill.jpg"],
    "sort=name": ["=1+1.jpg", "clear.jpg", "holiday.jpg", "ill.jpg", "unsure.jpg"],
    "label=Pneumonia": ["unsure.jpg", "ill.jpg"],
    "label=Pneumonia&sort=high": ["ill.jpg", "unsure.jpg"],
    "label=Normal": ["=1+1.jpg", "clear.jpg"],
    "label=rejected": ["holiday.jpg"],
    "certainty=uncertain": ["unsure.jpg"],
    "certainty=certain": ["=1+1.jpg", "ill.jpg", "clear.jpg"],
    "review=none": ["=1+1.jpg"],
    "review=read": ["unsure.jpg", "ill.jpg", "clear.jpg"],
    "review=differs": ["unsure.jpg"],
    "review=disputed": ["ill.jpg"],
    "model=2": ["=1+1.jpg"],
    "name=IL": ["ill.jpg"],
    "name=%25": [],
    f"since={TODAY}": ["holiday.jpg"],
    f"until={TODAY - datetime.timedelta(days=3)}": ["ill.jpg", "clear.jpg"],
    "label=&name=&since=&until=&model=&review=&certainty=&sort=": NEWEST,
}


@pytest.mark.parametrize("query", FILTERS)
def test_the_address_filters_sorts_and_exports(of_alice, some, charlie, query):
    make(charlie, 9)
    assert names(of_alice.get(f"{HISTORY}?{query}")) == FILTERS[query]
    rows = csv.DictReader(of_alice.get(f"{HISTORY}export.csv?{query}").content.decode().splitlines())
    # A page leaves out what it cannot put in order; a file leaves out nothing that was not asked for.
    unordered = ["holiday.jpg"] if query in ("sort=high", "sort=low") else []
    assert [row["file_name"].lstrip("'") for row in rows] == FILTERS[query] + unordered


def test_an_unreliable_answer_is_neither_certain_nor_among_the_answers(of_alice, some, alice):
    hand = make(alice, 6, status="forced", label="Pneumonia", probability=0.99).upload.original_name
    assert names(of_alice.get(f"{HISTORY}?label=forced")) == [hand]
    for query in ("label=Pneumonia", "certainty=certain", "certainty=uncertain"):
        assert names(of_alice.get(f"{HISTORY}?{query}")) == FILTERS[query]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("label=Ill", "There is no choice “Ill”"),
        ("certainty=perhaps", "There is no choice “perhaps”"),
        ("review=x", "There is no choice “x”"),
        ("sort=created", "There is no choice “created”"),
        ("model=%3Cb%3E", "There is no choice “&lt;b&gt;”"),
        ("since=yesterday", "Give a day such as 2026-11-24."),
        ("until=9999-12-31", "less than or equal"),
        ("since=0001-01-01", "greater than or equal"),
        ("since=2026-11-24&until=2026-11-23", "The last day lies before the first."),
        ("name=%00", "Null characters are not allowed."),
        ("name=" + "x" * 256, "at most 255 characters"),
        ("cursor=nonsense", "There is no such page"),
    ],
)
def test_a_value_that_means_nothing_gets_a_sentence(of_alice, some, query, said):
    page = of_alice.get(f"{HISTORY}?{query}")
    assert page.status_code == (404 if "cursor" in query else 400)
    assert said in text(page)
    assert names(page) == []
    assert f'href="{HISTORY}"' in page.content.decode()
    assert of_alice.get(f"{HISTORY}export.csv?{query}").status_code == (200 if "cursor" in query else 302)


@pytest.mark.parametrize("sort", ["newest", "oldest", "high", "low", "name"])
def test_pages_keep_the_filter_and_show_each_row_once(of_alice, alice, sort):
    for number in range(120):
        make(alice, number, probability=number % 3 / 10)
    Upload.objects.update(original_name="the same.jpg")
    address, seen = f"{HISTORY}?label=Normal&sort={sort}", []
    while address:
        page = of_alice.get(address)
        seen.append([prediction.pk for prediction in page.context["page"]])
        link = re.search(r'rel="next"\s+href="(.*?)"', page.content.decode())
        address = link and HISTORY + link[1].replace("&amp;", "&")
        assert not address or f"label=Normal&sort={sort}&cursor=" in address
    assert [len(keys) for keys in seen] == [50, 50, 20]
    assert len({key for keys in seen for key in keys}) == 120
    back = re.search(r'rel="prev"\s+href="(.*?)"', page.content.decode())[1].replace("&amp;", "&")
    assert [prediction.pk for prediction in of_alice.get(HISTORY + back).context["page"]] == seen[1]


def link(page, rel: str) -> str | None:
    found = re.search(rf'rel="{rel}"\s+href="(.*?)"', page.content.decode())
    return found and html.unescape(found[1])


def way_back(page) -> str:
    """Where "Back to history" leads."""
    return html.unescape(re.search(r'href="([^"]*)">\s*Back to history', page.content.decode())[1])


@pytest.mark.parametrize("sort", ["", "oldest", "high", "low", "name"])
def test_results_lead_on_and_back_in_the_order_of_the_list(of_alice, alice, charlie, monkeypatch, sort):
    monkeypatch.setattr("diagnosis.web.worklist.PAGE_SIZE", 10)
    for number in range(16):
        make(alice, number, probability=number % 3 / 10)
    make(alice, 98, label="Pneumonia", probability=0.5)
    make(charlie, 99)
    listed, address = [], f"{HISTORY}?label=Normal&sort={sort}"
    while address:
        page = of_alice.get(address)
        listed += [row.pk for row in page.context["page"]]
        address = (following := link(page, "next")) and HISTORY + following
    first = of_alice.get(f"{HISTORY}?label=Normal&sort={sort}")
    address = re.search(r'class="file-name"\s+dir="auto"\s+href="(.*?)"', first.content.decode())[1]
    seen = []
    while address:
        page = of_alice.get(html.unescape(address))
        seen.append(page.context["prediction"].pk)
        before, address = link(page, "prev"), link(page, "next")
        assert bool(before) == (len(seen) > 1)
    assert seen == listed
    assert of_alice.get(before).context["prediction"].pk == listed[-2]
    assert way_back(page) == f"{HISTORY}?label=Normal" + (f"&sort={sort}" if sort else "")


def test_a_result_that_the_filter_no_longer_leaves_still_leads_on(of_alice, some, bob):
    row = some["=1+1.jpg"]
    make(row.upload.owner, 9)
    opened = f"/predictions/{row.pk}/?back=review%3Dnone"
    later = link(of_alice.get(opened), "prev")
    reviews.record(row, by=access.Person(user=bob), reading="Normal")
    assert later
    assert link(of_alice.get(opened), "prev") == later


@pytest.mark.parametrize("query", ["", "?back=", "?back=label%3DPneumonia%26sort%3Dhigh"])
def test_the_report_leads_back_to_the_result_as_it_was_opened(of_alice, some, query):
    opened = f"/predictions/{some['ill.jpg'].pk}/{query}"
    to_report = re.search(r'href="([^"]*/report/[^"]*)"', of_alice.get(opened).content.decode())[1]
    report = of_alice.get(html.unescape(to_report)).content.decode()
    assert html.unescape(re.search(r'href="([^"]*)">Back to the result', report)[1]) == opened


def test_a_result_opened_from_elsewhere_has_no_neighbours(of_alice, some):
    address = f"/predictions/{some['ill.jpg'].pk}/"
    for query in ("", "?back=sort%3Dx", "?back=since%3D2026-11-24%26until%3D2026-11-23"):
        page = of_alice.get(address + query)
        assert (page.status_code, link(page, "prev"), link(page, "next")) == (200, None, None)
    unordered = of_alice.get(f"/predictions/{some['holiday.jpg'].pk}/?back=sort%3Dhigh")
    assert link(unordered, "next") is None
    for elsewhere in ("//evil.example/", "https://evil.example/?next=/", "javascript:alert(1)", "\\evil.example"):
        assert way_back(of_alice.get(address, {"back": elsewhere})) == HISTORY


def test_neighbours_cost_two_queries(of_alice, some, django_assert_num_queries):
    address = f"/predictions/{some['ill.jpg'].pk}/"
    with CaptureQueriesContext(connection) as alone:
        of_alice.get(address)
    with django_assert_num_queries(len(alone) + 2):
        of_alice.get(f"{address}?back=label%3DPneumonia%26sort%3Dhigh")


def test_page_and_ticks_outlast_comparing_and_thinking_better_of_deleting(of_alice, alice):
    for number in range(60):
        make(alice, number)
    second = of_alice.get(HISTORY + link(of_alice.get(f"{HISTORY}?label=Normal"), "next"))
    here = html.unescape(re.search(r'name="back" value="(.*?)"', second.content.decode())[1])
    rows = second.context["page"].rows[1:3]
    for page in ("compare", "delete"):
        asked = of_alice.get(f"{HISTORY}{page}/", {"pick": [row.pk for row in rows], "back": here})
        back = of_alice.get(asked.context["back"])
        assert names(back) == names(second)
        assert [row for row in back.context["page"] if row.picked] == rows
        assert len(re.findall(r"\bchecked\b", back.content.decode())) == 2
    refused = of_alice.get(f"{HISTORY}compare/", {"pick": rows[0].pk, "back": here}, follow=True)
    assert "1 is ticked" in text(refused)
    assert [row for row in refused.context["page"] if row.picked] == rows[:1]


def test_a_page_whose_rows_were_all_deleted_leads_to_the_first(of_alice, alice):
    for number in range(60):
        make(alice, number)
    second = HISTORY + link(of_alice.get(f"{HISTORY}?label=Normal"), "next")
    Prediction.objects.filter(pk__in=[row.pk for row in of_alice.get(second).context["page"]]).delete()
    assert of_alice.get(second)["Location"] == f"{HISTORY}?label=Normal"


def test_the_worklist_needs_few_queries_and_counts_nothing(of_alice, alice, django_assert_max_num_queries):
    for number in range(60):
        make(alice, number)
    with django_assert_max_num_queries(9) as seen:
        of_alice.get(f"{HISTORY}?review=none&sort=high")
    assert not [query["sql"] for query in seen.captured_queries if "COUNT(" in query["sql"]]


def test_the_reading_that_holds_stands_beside_the_answer(of_alice, some):
    page = of_alice.get(HISTORY)
    assert [prediction.reading for prediction in page.context["page"]] == [None, None, "Normal", "Pneumonia", "Normal"]
    reviews.record(some["ill.jpg"], by=access.Person(user=Review.objects.first().reviewer), reading="Normal")
    assert "differs from the answer" in text(of_alice.get(f"{HISTORY}?name=ill"))


def test_an_empty_list_and_an_empty_filter_lead_on(of_alice, alice):
    assert "Analyse a picture" in text(of_alice.get(HISTORY))
    make(alice, 1)
    assert "Widen the filter" in text(of_alice.get(f"{HISTORY}?label=Pneumonia"))


def test_selected_rows_alone_are_exported_as_text_and_the_log_tells(of_alice, some, charlie):
    foreign = make(charlie, 9)
    chosen = picks(some["ill.jpg"], some["=1+1.jpg"], foreign)
    response = of_alice.get(f"{HISTORY}export.csv?rows=selected&{chosen}")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="predictions-')
    rows = list(csv.DictReader(response.content.decode().splitlines()))
    assert [(row["file_name"], row["reading"]) for row in rows] == [("'=1+1.jpg", ""), ("ill.jpg", "Pneumonia")]
    of_alice.get(f"{HISTORY}export.csv?label=Normal&name=clear")
    told = AuditEvent.objects.filter(action="exported", actor="alice").order_by("id").values_list("detail", flat=True)
    assert list(told) == ["2 predictions as csv; rows=selected", "1 predictions as csv; name=…&label=Normal"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("\uff1d1.jpg", "'\uff1d1.jpg"),
        ("\uff20x", "'\uff20x"),
        ("a;=1+1", "a;'=1+1"),
        ('a;"-1', "a;\"'-1"),
        ("a; b-1", "a; b-1"),
    ],
)
def test_no_file_name_becomes_a_formula_in_any_spreadsheet(of_alice, some, name, written):
    Upload.objects.filter(pk=some["ill.jpg"].upload_id).update(original_name=name)
    content = of_alice.get(f"{HISTORY}export.csv?rows=selected&{picks(some['ill.jpg'])}").content.decode()
    assert [row["file_name"] for row in csv.DictReader(content.splitlines())] == [written]


@pytest.mark.parametrize("query", ["compare/?", "export.csv?rows=selected&", "delete/?"])
def test_nothing_selected_leads_back_under_the_same_filter(of_alice, some, query):
    page = of_alice.get(f"{HISTORY}{query}back=label%3DNormal%26sort%3Dname", follow=True)
    assert page.redirect_chain == [(f"{HISTORY}?label=Normal&sort=name", 302)]
    assert re.search("Tick (at least one|2 to 4)", text(page))
    elsewhere = of_alice.get(f"{HISTORY}{query}back=//evil.example/")
    assert elsewhere["Location"] == HISTORY


def test_two_to_four_are_compared_in_the_order_of_the_address(of_alice, some):
    first, second, rejected = some["ill.jpg"], some["clear.jpg"], some["holiday.jpg"]
    page = of_alice.get(f"{HISTORY}compare/?{picks(first, rejected, second)}")
    assert [prediction.pk for prediction in page.context["predictions"]] == [first.pk, rejected.pk, second.pk]
    assert page.content.decode().count("heatmap.png") == 2
    twice = f"{picks(first, second)}&pick={str(first.pk).upper()}"
    assert len(of_alice.get(f"{HISTORY}compare/?{twice}").context["predictions"]) == 2
    events = AuditEvent.objects.filter(actor="alice", action="viewed", detail="result, compared")
    assert {event.prediction for event in events} == {first.pk, rejected.pk, second.pk}
    assert of_alice.get(f"{HISTORY}compare/?{picks(*some.values())}").status_code == 302


@pytest.mark.parametrize("page", ["compare/", "delete/"])
def test_what_is_not_ones_own_is_not_there(client, some, charlie, page):
    client.force_login(charlie)
    assert client.get(f"{HISTORY}{page}?{picks(some['ill.jpg'], some['clear.jpg'])}").status_code == 404
    assert client.get(f"{HISTORY}{page}?pick=1&pick=nonsense").status_code == 404


@pytest.fixture
def sent(alice, bob, xray, no_xray) -> Callable:
    def send(name: str, user, data: bytes | None = None) -> Prediction:
        file = SimpleUploadedFile(name, data or xray(size=(96, 96), opacity=1))
        return services.diagnose(file=file, name=name, sender=access.Person(user=user))

    return send


def test_deleting_removes_what_its_page_says_and_nothing_else(of_alice, alice, bob, sent, no_xray):
    doomed, kept = sent("doomed.jpg", alice), sent("kept.jpg", alice)
    rejected = sent("board.png", alice, no_xray)
    forced = services.analyse_all_the_same(rejected, by=access.Person(user=alice))
    for reading in ("Normal", "Pneumonia"):
        reviews.record(doomed, by=access.Person(user=bob), reading=reading)
    page = of_alice.get(f"{HISTORY}delete/?{picks(doomed, rejected)}&back=sort%3Dname")
    said = text(page)
    for line in (
        "Delete 2 pictures?",
        "2 pictures, each with its thumbnail",
        "3 predictions",
        "2 heatmaps",
        "2 readings",
    ):
        assert line in said
    assert "1 of these predictions was not selected" in said
    assert Upload.objects.count() == 3, "asking deletes nothing"

    files = [doomed.upload.file, doomed.upload.thumbnail, doomed.heatmap, rejected.upload.file, forced.heatmap]
    post = {"pick": [doomed.pk, rejected.pk], "back": "sort=name"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.db.transaction.on_commit", lambda function, **options: function())
        answer = of_alice.post(f"{HISTORY}delete/", post)
    assert answer["Location"] == f"{HISTORY}?sort=name"
    assert list(Prediction.objects.all()) == [kept]
    assert not Review.objects.exists()
    assert not any(file.storage.exists(file.name) for file in files)
    assert kept.heatmap.storage.exists(kept.heatmap.name)
    assert AuditEvent.objects.filter(action="deleted", actor="alice").count() == 3
    assert "Nothing was deleted" in text(of_alice.post(f"{HISTORY}delete/", post, follow=True)), "by a second click"


def test_who_may_see_and_not_delete_is_told_so(client, alice, bob, sent):
    foreign, own = sent("alices.jpg", alice), sent("bobs.jpg", bob)
    client.force_login(bob)
    assert "not delete them" in text(client.get(f"{HISTORY}delete/?{picks(foreign)}"))
    page = client.get(f"{HISTORY}delete/?{picks(foreign, own)}")
    assert "1 selected result stays" in text(page)
    assert str(foreign.pk) not in re.findall(r'name="pick" value="(.*?)"', page.content.decode())
    client.post(f"{HISTORY}delete/", {"pick": [foreign.pk, own.pk]})
    assert list(Prediction.objects.all()) == [foreign]


def test_nobody_deletes_what_they_may_not_see(client, charlie, some):
    client.force_login(charlie)
    client.post(f"{HISTORY}delete/", {"pick": [row.pk for row in some.values()]})
    assert Prediction.objects.count() == 5


def test_deleting_asks_for_the_token_of_the_form(alice, some):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(f"{HISTORY}delete/", {"pick": some["ill.jpg"].pk}).status_code == 403
    assert Prediction.objects.count() == 5
