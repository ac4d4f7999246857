"""How a reviewer reads pictures in a real Chromium."""

import pytest
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from playwright.sync_api import Page, expect

from diagnosis.models import Review, Upload
from diagnosis.tests.test_browser import ALL_IMAGES_LOADED, wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def rgb(colour: str) -> str:
    """`#aabbcc` as browsers tell it."""
    red, green, blue = bytes.fromhex(colour.strip().lstrip("#"))
    return f"rgb({red}, {green}, {blue})"


@pytest.fixture
def queue(quiet_page: Page, live_server, client, bob, xray) -> Page:
    """Bob is about to read three pictures; the last that was sent comes first."""
    for seed, name in enumerate(("first.jpg", "second.jpg", "third.jpg")):
        picture = xray(seed=seed, opacity=seed % 2, size=(224, 200))
        Client().post("/predict", {"file": SimpleUploadedFile(name, picture)})
    client.force_login(bob)
    cookie = client.cookies["sessionid"].value
    quiet_page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    quiet_page.goto(f"{live_server.url}/admin/diagnosis/prediction/review/")
    return quiet_page


def test_a_reviewer_works_through_the_queue_by_keyboard(queue: Page):
    page = queue
    wait_until(page, ALL_IMAGES_LOADED)
    expect(page.locator("#heatmap")).to_have_count(0)

    def press(key: str) -> None:
        expect(page.get_by_role("button", name="Unreadable")).to_be_enabled()  # the picture is there
        page.keyboard.press(key)
        page.wait_for_load_state()

    press("t")
    page.keyboard.type("Pneumonia? No, upper lobes normal")  # letters in the note are no readings
    press("Escape")
    press("n")
    expect(page.get_by_text("Recorded: Normal.")).to_be_visible()
    press("h")
    heatmap = page.locator(".viewer__canvas--heatmap").first
    expect(heatmap).to_be_visible()
    press("h")
    expect(heatmap).to_be_hidden()
    press("p")
    expect(page.get_by_text("Recorded: Pneumonia.")).to_be_visible()
    press("b")
    expect(page.get_by_text("You read this as Pneumonia")).to_be_visible()
    press("u")
    expect(page.get_by_text("Recorded: Unreadable.")).to_be_visible()
    press("s")
    expect(page.get_by_role("heading", name="Nothing left to read")).to_be_visible()
    readings = list(Review.objects.order_by("id").values_list("prediction__upload__original_name", "reading", "blind"))
    assert readings == [
        ("third.jpg", "Normal", True),
        ("second.jpg", "Pneumonia", False),
        ("second.jpg", "Unreadable", False),  # the answer was seen by then
    ]
    assert Review.objects.earliest("id").note == "Pneumonia? No, upper lobes normal"


@pytest.mark.parametrize("width", [375, 820, 1440])
def test_no_button_moves_from_one_reading_to_the_next(queue: Page, width):
    queue.set_viewport_size({"width": width, "height": 900})

    def places() -> list:
        buttons = queue.locator("#review").get_by_role("button")
        expect(queue.get_by_role("button", name="Unreadable")).to_be_enabled()
        assert queue.evaluate("document.documentElement.scrollWidth") <= width
        return [button.bounding_box() for button in buttons.all()]

    before = places()
    queue.get_by_role("button", name="Unreadable").click()
    expect(queue.get_by_text("Recorded: Unreadable.")).to_be_visible()
    assert places() == before
    queue.set_viewport_size({"width": 320, "height": 256})  # 1280 by 1024 at 400 %
    expect(queue.locator(".review__readings")).to_have_css("position", "static")


def test_a_missing_heatmap_is_told_as_an_error_and_no_key_touches_the_note(queue: Page):
    # An empty picture, since a refused one would be an error of the page's.
    queue.route("**/heatmap.png", lambda route: route.fulfill(content_type="image/png", body=b""))
    expect(queue.get_by_role("button", name="Unreadable")).to_be_enabled()
    key, note = (queue.locator(of).bounding_box() for of in ("label[for=note] kbd", "#note"))
    assert key["y"] + key["height"] < note["y"]
    queue.get_by_role("button", name="Show the model's answer").click()
    told = queue.locator("#heatmap-missing")  # by its role, the page that is just left would count as well
    expect(told).to_be_visible()
    expect(told).to_have_role("alert")
    expect(told).to_contain_text("The heatmap could not be loaded.")
    error = queue.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--error-soft')")
    expect(told).to_have_css("background-color", rgb(error))


def test_nobody_reads_a_thumbnail_where_the_xray_does_not_come(queue: Page):
    expect(queue.get_by_role("button", name="Unreadable")).to_be_enabled()
    queue.route("**/xray", lambda route: route.fulfill(content_type="image/png", body=b""))
    queue.reload()
    expect(queue.locator("#xray-missing")).to_be_visible()
    expect(queue.locator("#xray-missing")).to_contain_text("The X-ray could not be loaded.")
    expect(queue.locator(".viewer__soon")).to_have_count(0)
    queue.wait_for_timeout(600)
    expect(queue.get_by_role("button", name="Unreadable")).to_be_disabled()


def test_a_click_meant_for_the_picture_before_reads_nothing(queue: Page):
    unreadable = queue.get_by_role("button", name="Unreadable")
    expect(unreadable).to_be_enabled()
    queue.route("**/xray", lambda route: None)  # the next picture is long in coming
    unreadable.dblclick()
    expect(queue.get_by_text("Recorded: Unreadable.")).to_be_visible()
    expect(unreadable).to_be_disabled()
    queue.keyboard.press("u")
    queue.unroute_all(behavior="ignoreErrors")
    queue.reload()
    expect(unreadable).to_be_enabled()
    assert Review.objects.count() == 1


def test_the_viewer_helps_to_read_and_tells_nothing_of_the_answer(queue: Page):
    queue.wait_for_selector(".viewer--live")
    scale = "document.querySelector('.viewer__canvas').getContext('2d').getTransform().a"
    whole = queue.evaluate(scale)
    assert whole > 2, "a small picture is scaled up"
    queue.keyboard.press("+")  # with the focus nowhere
    wait_until(queue, f"{scale} > {whole}")
    queue.keyboard.press("i")
    expect(queue.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    queue.keyboard.press("?")
    expect(queue.get_by_role("dialog", name="Keys")).not_to_contain_text("heatmap")
    queue.keyboard.press("Escape")
    assert "third" not in queue.content()
    expect(queue.get_by_role("button", name="X-ray beside heatmap")).to_have_count(0)
    queue.locator("#stage").click()
    queue.keyboard.press("s")  # means to skip also inside the viewer
    expect(queue.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "false")
    assert not Review.objects.exists()


@pytest.mark.parametrize(
    ("key", "code", "reading"), [("ى", "KeyN", "Normal"), ("ح", "KeyP", "Pneumonia"), ("N", "KeyN", "Normal")]
)
def test_a_reviewer_reads_with_any_keyboard(quiet_page: Page, live_server, client, bob, xray, key, code, reading):
    page = quiet_page
    client.post("/predict", {"file": SimpleUploadedFile("first.jpg", xray())})
    client.force_login(bob)
    cookie = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    page.goto(f"{live_server.url}/admin/diagnosis/prediction/review/")
    expect(page.get_by_role("button", name="Unreadable")).to_be_enabled()
    page.dispatch_event("body", "keydown", {"key": key, "code": code, "bubbles": True, "cancelable": True})
    expect(page.get_by_text(f"Recorded: {reading}.")).to_be_visible()
    assert Review.objects.get().reading == reading


@pytest.mark.parametrize("width", [375, 820, 1100, 1440])
def test_long_file_names_leave_the_lists_of_the_admin_their_columns(queue: Page, live_server, width):
    Upload.objects.filter(original_name="first.jpg").update(original_name="1.2.840." + "9" * 140 + ".dcm")
    Upload.objects.filter(original_name="second.jpg").update(original_name="person1227_virus_2078.jpeg")
    queue.set_viewport_size({"width": width, "height": 900})
    lists = f"{live_server.url}/admin/diagnosis/prediction/"
    queue.goto(lists)
    results = queue.locator(".results").evaluate("results => [results.clientWidth, results.scrollWidth]")
    name = queue.locator("tbody .field-file_name").first.bounding_box()
    assert name
    assert 90 < name["width"] < 300
    if width == 1440:
        assert results[0] == results[1], "every column is seen"
    if width > 800:
        assert results[0] > 500, "the list has more room than what stands beside it"
    queue.goto(f"{lists}review/")
    expect(queue.get_by_role("button", name="Unreadable")).to_be_enabled()
    queue.keyboard.press("n")
    expect(queue.get_by_text("Recorded: Normal.")).to_be_visible()
    for address in ("", "agreement/?readings=all"):
        queue.goto(lists + address)
        assert queue.evaluate("document.documentElement.scrollWidth") <= width


def test_a_note_outlives_a_session_that_ended_and_a_change_of_language(queue: Page):
    Session.objects.all().delete()
    picture = queue.url
    queue.get_by_label("Note").fill("lower left")
    queue.get_by_role("button", name="Pneumonia").click()
    queue.get_by_label("Username").fill("bob")
    queue.get_by_label("Password").fill("secret of bob")
    queue.get_by_role("button", name="Log in").click()
    expect(queue.get_by_text("may not have been recorded")).to_be_visible()
    assert queue.url == picture
    assert not Review.objects.exists()
    queue.get_by_role("button", name="Français").click()
    expect(queue.get_by_label("Note")).to_have_value("lower left")
    expect(queue.get_by_text("peut-être pas été enregistrée")).to_have_count(0)  # said once
    queue.get_by_role("button", name="Normal").click()
    expect(queue).not_to_have_url(picture)
    assert Review.objects.get().note == "lower left"
    wait_until(queue, "sessionStorage.length === 0")
    queue.goto(picture)
    expect(queue.get_by_label("Note")).to_have_value("")


def test_a_note_goes_with_whoever_logs_out(queue: Page, live_server):
    queue.get_by_label("Note").fill("lower left")
    wait_until(queue, "sessionStorage.length === 1")
    queue.get_by_role("button", name="Log out").click()
    expect(queue.get_by_text("You are logged out")).to_be_visible()
    wait_until(queue, "sessionStorage.length === 0")


def test_what_another_program_left_in_the_tab_harms_nothing(queue: Page):
    queue.evaluate("sessionStorage.setItem('draft:x', 'no draft')")
    queue.reload()
    expect(queue.get_by_role("button", name="Unreadable")).to_be_enabled()
    wait_until(queue, "sessionStorage.length === 0")


def test_a_note_goes_to_nobody_else(queue: Page, live_server, client, ada):
    queue.get_by_label("Note").fill("lower left")
    client.force_login(ada)
    cookie = client.cookies["sessionid"].value
    queue.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    queue.reload()
    expect(queue.get_by_label("Note")).to_have_value("")
    wait_until(queue, "sessionStorage.length === 0")


def test_a_note_that_is_being_written_outlives_a_change_of_theme(queue: Page):
    queue.get_by_label("Note").fill("lower left")
    page = "getComputedStyle(document.body).backgroundColor"
    dark = queue.evaluate(page)
    with queue.expect_response("**/preferences/theme"):
        queue.get_by_role("button", name="Light theme").click()
    assert queue.evaluate(page) != dark
    expect(queue.get_by_label("Note")).to_have_value("lower left")
    light = queue.evaluate(page)
    queue.reload()
    assert queue.evaluate(page) == light
    with queue.expect_response("**/preferences/theme"):
        queue.get_by_role("button", name="Light theme").click()
    assert queue.evaluate(page) == dark
