"""The dashboard: whose predictions it counts, how, and at what cost."""

import datetime
import itertools
import re

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from diagnosis import access, agreement, reviews, statistics
from diagnosis.inference import serving
from diagnosis.models import Prediction, Upload
from diagnosis.tests.test_pages import text

pytestmark = pytest.mark.django_db

THRESHOLDS = {"balanced": 0.3, "screening": 0.1}


def made(
    owner: User, probability: float | None, *, ago: float = 0, version: str = "2026.11-3", forced: bool = False
) -> Prediction:
    """A row as if the picture had been analysed so many days ago; without a probability, refused."""
    about = {"sha256": "0" * 64, "original_name": "x.png", "size": 1, "width": 1, "height": 1, "format": "PNG"}
    upload = Upload.objects.create(file="x", thumbnail="x", owner=owner, **about)
    answered = probability is not None
    prediction = Prediction.objects.create(
        upload=upload,
        owner=owner,
        status="forced" if forced else "ok" if answered else "rejected",
        label=("Pneumonia" if probability >= 0.3 else "Normal") if answered else "",
        probability=probability,
        threshold=0.3,
        thresholds=THRESHOLDS,
        uncertain=answered and 0.1 <= probability < 0.3,
        operating_point="balanced",
        model_version=version,
        heatmap="x" if answered else "",
        milliseconds=1,
    )
    when = timezone.now() - datetime.timedelta(days=ago)
    Prediction.objects.filter(pk=prediction.pk).update(created=when)
    return prediction


def numbers(page, caption: str) -> dict[str, list[str]]:
    """The rows of the table of that caption, by their first cell."""
    content = page.content.decode()
    table = next(found for found in re.findall(r"<table>.*?</table>", content, re.S) if caption in found)
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.S)[1:]
    cells = [re.findall(r"<t[hd].*?</t[hd]>", row, re.S) for row in rows]
    words = [[re.sub(r"\s+", " ", re.sub("<[^>]+>", "", cell)).strip() for cell in row] for row in cells]
    return {first: rest for first, *rest in words}


def tiles(page) -> list[int]:
    return [int(figure) for figure in re.findall(r'class="tile__figure"\s+href="[^"]*">(\d+)<', page.content.decode())]


def test_without_pictures_it_says_what_to_do(client, alice):
    for person in (None, alice):
        if person:
            client.force_login(person)
        page = client.get("/dashboard/")
        assert page.status_code == 200
        assert "Have an X-ray analysed" in text(page)
        assert '<a class="button button--primary" href="/">' in page.content.decode()


def test_pictures_before_the_period_lead_to_a_longer_one(client, alice):
    made(alice, 0.5, ago=100)
    client.force_login(alice)
    page = client.get("/dashboard/")
    assert "There are older ones" in text(page)
    assert 'href="/dashboard/?by=month"' in page.content.decode()
    assert tiles(client.get("/dashboard/?by=month")) == [1, 1, 0, 0]


def test_people_see_their_own_figures_and_reviewers_all(client, alice, bob, charlie):
    for probability in (0.02, 0.2, 0.9, 0.95, None):
        made(alice, probability)
    made(charlie, 0.99)
    for person, figures in ((alice, [5, 2, 1, 1]), (charlie, [1, 1, 0, 0]), (bob, [6, 3, 1, 1])):
        client.force_login(person)
        page = client.get("/dashboard/")
        assert tiles(page) == figures
        assert ("Everybody" in text(page)) == (person == bob)
    client.logout()
    assert "No pictures yet" in text(client.get("/dashboard/"))


def test_the_tables_tell_what_the_charts_show(client, alice):
    today = timezone.localdate()
    for probability, ago in ((0.02, 0), (0.97, 0), (1.0, 0), (None, 0), (0.12, 3), (0.3, 29)):
        made(alice, probability, ago=ago)
    made(alice, 0.5, ago=31)
    client.force_login(alice)
    page = client.get("/dashboard/")
    days = numbers(page, "Predictions over time and share")
    assert len(days) == 30
    assert days[f"{today:%-d %b}"] == ["4", "1", "2", "66.7 % (20.8 to 93.9)", "0", "1", "0"]
    assert days[f"{today - datetime.timedelta(days=3):%-d %b}"][:3] == ["1", "1", "0"]
    assert days[f"{today - datetime.timedelta(days=1):%-d %b}"] == ["0", "0", "0", "", "0", "0", "0"]
    bins = numbers(page, "Probabilities")
    assert bins["0 % to 5 %"] == ["1", "0"]
    assert bins["10 % to 15 %"] == ["1", "0"]
    assert bins["30 % to 35 %"] == ["0", "1"]
    assert bins["95 % to 100 %"] == ["0", "2"]
    assert sum(int(count) for row in bins.values() for count in row) == 5
    drawn = page.content.decode()
    assert drawn.count('class="chart__part chart__part--rejected"') == 1 + 1, "one in the chart, one in its key"
    assert "Screening 10.0\N{NO-BREAK SPACE}%" in drawn
    assert "Balanced 30.0\N{NO-BREAK SPACE}%" in drawn
    identifiers = re.findall(r'\sid="([^"]+)"', drawn)
    assert len(identifiers) == len(set(identifiers))


def test_figures_lead_to_the_rows_they_count(client, alice):
    for probability in (0.02, 0.2, 0.9, None):
        made(alice, probability)
    made(alice, 0.9, ago=40)
    client.force_login(alice)
    page = client.get("/dashboard/")
    addresses = re.findall(r'tile__figure"\s+href="([^"]+)"', page.content.decode())
    for address, count in zip(addresses, tiles(page), strict=True):
        assert client.get(address.replace("&amp;", "&")).content.decode().count('name="pick"') == count


def test_unreliable_answers_count_as_none_and_say_where_they_are(client, alice):
    for probability in (0.02, 0.2, 0.9, None):
        made(alice, probability)
    for probability in (0.2, 0.95, 0.99):
        made(alice, probability, forced=True)
    client.force_login(alice)
    page = client.get("/dashboard/")
    assert tiles(page) == [7, 1, 1, 1]
    assert "33.3 % (6.1 to 79.2) of the answers" in text(page).replace("\N{NO-BREAK SPACE}", " ")
    assert sum(int(count) for row in numbers(page, "Probabilities").values() for count in row) == 3
    assert "3 unreliable" in text(page)
    addresses = re.findall(r'href="(/history/\?[^"]+)"', page.content.decode())
    shown = [client.get(at.replace("&amp;", "&")).content.decode().count('name="pick"') for at in addresses]
    assert shown == [7, 3, 1, 1, 1]
    assert client.get("/api/statistics/").json()["by_label"] == {serving.NORMAL: 2, serving.PNEUMONIA: 1}


@pytest.mark.parametrize(("period", "length"), [("day", 30), ("week", 26), ("month", 24)])
def test_periods_end_today_and_have_no_gaps(client, alice, period, length):
    assert f"The last {length} {period}s." in text(client.get(f"/dashboard/?by={period}"))
    found = statistics.dashboard(access.Person(user=alice), period)
    days = [day for day, _counts in found.intervals]
    today = timezone.localdate()
    assert len(days) == length
    assert days == sorted(set(days))
    assert days[-1] <= today
    gaps = {(later - earlier).days for earlier, later in itertools.pairwise(days)}
    assert gaps <= {"day": {1}, "week": {7}, "month": {28, 29, 30, 31}}[period]
    if period == "month":
        assert {day.day for day in days} == {1}
    if period == "week":
        assert {day.weekday() for day in days} == {0}


def test_a_day_is_a_day_of_the_sites_time_zone(alice, settings):
    prediction = made(alice, 0.5)
    with timezone.override("Pacific/Auckland"):
        today = timezone.localdate()
        midnight = timezone.make_aware(datetime.datetime.combine(today, datetime.time()))
        for minutes, day in ((1, today), (-1, today - datetime.timedelta(days=1))):
            moment = midnight + datetime.timedelta(minutes=minutes)
            Prediction.objects.filter(pk=prediction.pk).update(created=moment)
            found = statistics.dashboard(access.Person(user=alice), "day")
            assert [when for when, counts in found.intervals if counts.predictions] == [day]


def test_an_unknown_period_is_told(client, alice):
    page = client.get("/dashboard/?by=fortnight%3Cb%3E")
    assert page.status_code == 400
    assert "There is no period “fortnight&lt;b&gt;”. Choose days, weeks or months" in text(page)


def test_predictions_of_another_model_are_named(client, alice):
    made(alice, 0.5, ago=2, version="2026.10-1")
    made(alice, 0.5)
    client.force_login(alice)
    said = text(client.get("/dashboard/"))
    assert "The thresholds are those of model version 2026.11-3" in said
    assert "1 prediction is of 2026.10-1" in said


def test_refused_pictures_alone_have_no_histogram(client, alice):
    made(alice, None)
    client.force_login(alice)
    said = text(client.get("/dashboard/"))
    assert "No picture of this period has an answer." in said
    assert "Nobody has read a picture of this period yet without having seen the answer." in said


def test_months_are_those_of_the_clinics_clock(alice, bob):
    prediction = made(alice, 0.9)
    Prediction.objects.filter(pk=prediction.pk).update(created="2026-09-30T16:00Z")
    reviews.record(prediction, by=access.Person(user=bob), reading="Pneumonia", blind=True)
    with timezone.override("Asia/Tokyo"):
        assert [month for month, _ in agreement.report(Prediction.objects.all()).by_month] == ["2026-10"]


def test_agreement_is_that_of_the_agreement_page(client, alice, bob, ada):
    readers = [access.Person(user=user) for user in (bob, ada)]
    for number, probability in enumerate((0.02, 0.05, 0.2, 0.6, 0.9, 0.95)):
        prediction = made(alice, probability)
        reviews.record(prediction, by=readers[0], reading="Pneumonia", blind=True)
        if number % 2:
            reviews.record(prediction, by=readers[1], reading="Unreadable" if number == 5 else "Normal", blind=True)
        reviews.record(prediction, by=readers[0], reading=prediction.label)  # not blind, and so not counted
    made(alice, 0.5)
    everything = Prediction.objects.all()
    assert agreement.with_reviewers(everything).counts == agreement.report(everything).overall.counts
    client.force_login(alice)
    page = client.get("/dashboard/")
    told = numbers(page, "Model against reviewers")
    assert told == {"Normal": ["1", "1"], "Pneumonia": ["2", "1"], "Unreadable": ["0", "1"]}
    assert "/admin/" not in page.content.decode()
    client.force_login(bob)
    assert "/admin/diagnosis/prediction/agreement/" in client.get("/dashboard/").content.decode()


def test_it_costs_as_many_queries_for_many_rows_as_for_few(client, alice, bob, django_assert_max_num_queries):
    client.force_login(bob)
    for rows in (2, 60):
        for number in range(rows):
            reviews.record(made(alice, number / 60, ago=number / 3), by=access.Person(user=bob), reading="Normal")
        with django_assert_max_num_queries(11):
            assert client.get("/dashboard/").status_code == 200


def test_the_api_counts_the_same(client, alice):
    for probability, ago in ((0.02, 0), (0.2, 0), (0.9, 1), (None, 1), (0.5, 200)):
        made(alice, probability, ago=ago)
    client.force_login(alice)
    told = client.get("/api/statistics/").json()
    today = timezone.localdate()
    assert told == {
        "predictions": 5,
        "uploads": 5,
        "uncertain": 1,
        "by_label": {serving.NORMAL: 2, serving.PNEUMONIA: 2},
        "by_status": {"ok": 4, "rejected": 1},
        "by_model_version": {"2026.11-3": 5},
        "by_day": {str(today - datetime.timedelta(days=1)): 2, str(today): 2},
    }


# --- In a browser -----------------------------------------------------------------------


@pytest.fixture
def filled(alice) -> None:
    for number in range(40):
        made(alice, number / 40 if number % 7 else None, ago=number / 2)


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/accounts/login/?next=/dashboard/")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("secret of alice")
    page.get_by_role("main").get_by_role("button", name="Log in").click()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_charts_have_names_and_tables_without_a_script(browser: Browser, live_server, filled, width):
    page = browser.new_context(java_script_enabled=False, viewport={"width": width, "height": 900}).new_page()
    log_in(page, live_server.url)
    for name in ("Predictions over time", "Share of pneumonia", "Probabilities of pneumonia"):
        chart = page.get_by_role("img", name=re.compile(name))
        expect(chart).to_be_visible()
        panel = page.get_by_role("region", name=name, exact=True).bounding_box()
        drawn = chart.bounding_box()
        assert panel["x"] < drawn["x"]
        assert drawn["x"] + drawn["width"] < panel["x"] + panel["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    table = page.get_by_role("table", name="Probabilities of pneumonia")
    expect(table).to_be_hidden()
    page.get_by_text("The chart as a table").click()
    expect(table).to_be_visible()
    page.get_by_role("link", name="Months").click()
    expect(page).to_have_url(f"{live_server.url}/dashboard/?by=month")
    expect(page.get_by_role("link", name="Months")).to_have_attribute("aria-current", "page")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("width", [360, 1440])
def test_no_words_of_a_chart_overlap(page: Page, live_server, filled, width):
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page, live_server.url)
    for period in ("day", "week", "month"):
        page.goto(f"{live_server.url}/dashboard/?by={period}")
        overlapping = page.evaluate(
            """() => [...document.querySelectorAll(".chart")].flatMap(chart => {
                const words = [...chart.querySelectorAll("text")]
                    .map(word => [word.textContent, word.getBoundingClientRect()]);
                return words.flatMap(([a, one], index) => words.slice(index + 1)
                    .filter(([, other]) => one.left < other.right && other.left < one.right
                        && one.top + 3 < other.bottom && other.top + 3 < one.bottom)
                    .map(([b]) => [a, b]));
            })"""
        )
        assert overlapping == [], period
