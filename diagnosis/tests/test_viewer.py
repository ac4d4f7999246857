"""The viewer of the result page in a real Chromium. What is drawn is read from the canvases: matrices and pixels."""

import io
import re
import statistics

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image
from playwright.sync_api import Page, expect

from diagnosis.models import Prediction
from ml_model import phantom

pytestmark = pytest.mark.django_db(transaction=True)

WIDTH, HEIGHT = 640, 560
ALL_MATRICES = """() => [...document.querySelectorAll(".viewer__canvas")]
    .filter(canvas => canvas.checkVisibility()).map(canvas => {
        const m = canvas.getContext("2d").getTransform();
        return [m.a, m.b, m.c, m.d, m.e, m.f];
    })"""


def show(page: Page, live_server, client, picture: bytes, *, name: str = "chest.jpg", rejected: bool = False) -> Page:
    """The result page of `picture`, opened by the visitor who sent it."""
    client.post("/predict", {"file": SimpleUploadedFile(name, picture)})
    prediction = Prediction.objects.get()
    assert prediction.is_rejected == rejected
    cookie = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    page.goto(live_server.url + prediction.get_absolute_url())
    page.wait_for_selector(".viewer--live")
    settle(page)
    return page


@pytest.fixture
def viewer(page: Page, live_server, client, xray) -> Page:
    page.set_viewport_size({"width": 1280, "height": 1000})
    return show(page, live_server, client, xray(size=(WIDTH, HEIGHT), opacity=1, seed=1))


def settle(page: Page) -> None:
    """Two frames: what was asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def matrix(page: Page) -> np.ndarray:
    """From the picture's pixels to the pane; X-ray and heatmap must share it."""
    settle(page)
    first, *others = page.evaluate(ALL_MATRICES)
    for other in others:
        assert other == first, "X-ray and heatmap are drawn alike"
    a, b, c, d, e, f = first
    return np.array([[a, c, e], [b, d, f]])


def press(page: Page, name: str) -> None:
    page.locator("#viewer").get_by_role("button", name=name, exact=True).click()


def box_of(page: Page) -> dict:
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    assert box
    return box


def in_picture(page: Page, x: float, y: float) -> np.ndarray:
    """Which pixel of the picture lies under a point of the pane."""
    found = matrix(page)
    return np.linalg.solve(found[:, :2], np.array([x, y]) - found[:, 2])


def test_the_picture_is_first_shown_whole_where_it_stood_without_the_script(viewer: Page):
    box, image = box_of(viewer), viewer.locator("#xray").bounding_box()
    found = matrix(viewer)
    corners = found @ np.array([[0, WIDTH], [0, HEIGHT], [1, 1]])
    assert image
    assert corners[:, 0] == pytest.approx([image["x"] - box["x"], image["y"] - box["y"]], abs=1)
    assert corners[:, 1] - corners[:, 0] == pytest.approx([image["width"], image["height"]], abs=1)


def test_the_wheel_zooms_to_the_pointer_and_dragging_pans(viewer: Page):
    box = box_of(viewer)
    x, y = box["width"] * 0.3, box["height"] * 0.4
    before = in_picture(viewer, x, y)
    viewer.mouse.move(box["x"] + x, box["y"] + y)
    for _ in range(4):
        viewer.mouse.wheel(0, -200)
    assert in_picture(viewer, x, y) == pytest.approx(before, abs=1)  # browsers tell the wheel's place in whole pixels
    zoomed = matrix(viewer)
    viewer.mouse.down()
    viewer.mouse.move(box["x"] + x - 30, box["y"] + y + 20)
    viewer.mouse.up()
    assert matrix(viewer)[:, 2] - zoomed[:, 2] == pytest.approx([-30, 20], abs=0.5)
    press(viewer, "Reset the view")
    assert in_picture(viewer, x, y) == pytest.approx(before, abs=0.5)


def test_two_fingers_zoom(viewer: Page):
    box = box_of(viewer)
    scale = matrix(viewer)[0, 0]
    touch = viewer.context.new_cdp_session(viewer)

    def fingers(kind: str, apart: float) -> None:
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        points = [{"x": middle[0] + side * apart, "y": middle[1], "id": side} for side in (0, 1)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    fingers("touchStart", 50)
    for apart in (75, 100, 150):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    assert matrix(viewer)[0, 0] == pytest.approx(3 * scale, rel=0.05)


def test_buttons_turn_flip_and_zoom_both_pictures_alike(viewer: Page):
    start = matrix(viewer)
    press(viewer, "Turn right")
    turned = matrix(viewer)
    assert turned[0, 0] == 0
    assert turned[1, 0] > 0
    press(viewer, "Turn left")
    assert matrix(viewer) == pytest.approx(start, abs=1e-6)
    press(viewer, "Flip")
    assert matrix(viewer)[0, 0] == -start[0, 0]
    press(viewer, "Actual pixels")
    assert abs(matrix(viewer)[0, 0]) == pytest.approx(1)
    press(viewer, "Zoom in")
    expect(viewer.get_by_role("status").filter(has_text="Zoom 125 %")).to_be_visible()
    press(viewer, "Reset the view")
    assert matrix(viewer) == pytest.approx(start, abs=1e-6)


def test_it_tells_on_the_picture_that_it_is_flipped_or_turned(viewer: Page):
    flip, told = viewer.get_by_role("button", name="Flip"), viewer.locator("#viewer-oriented")
    expect(flip).to_have_attribute("aria-pressed", "false")
    expect(told).to_be_empty()
    press(viewer, "Flip")
    expect(flip).to_have_attribute("aria-pressed", "true")
    expect(told).to_have_text("Flipped")
    expect(viewer.get_by_role("status").filter(has_text="Flipped")).to_be_visible()
    press(viewer, "Turn right")
    expect(told).to_have_text("Flipped · turned 90°")
    press(viewer, "Flip")
    expect(flip).to_have_attribute("aria-pressed", "false")
    expect(told).to_have_text("turned 270°")
    press(viewer, "Turn left")
    expect(told).to_have_text("turned 180°")
    press(viewer, "Reset the view")
    expect(told).to_be_empty()


def test_actual_pixels_of_a_small_picture_are_smaller_than_the_pane(page: Page, live_server, client, xray):
    page.set_viewport_size({"width": 1280, "height": 1000})
    show(page, live_server, client, xray(size=(200, 180)))
    fitted = matrix(page)[0, 0]
    assert fitted > 2
    press(page, "Actual pixels")
    assert matrix(page)[0, 0] == pytest.approx(1)
    press(page, "Turn right")
    assert matrix(page)[1, 0] == pytest.approx(1)
    press(page, "Turn left")
    press(page, "Zoom out")
    assert matrix(page)[0, 0] == pytest.approx(1), "smaller shows nothing more, and it must not become larger"
    press(page, "Zoom in")
    assert matrix(page)[0, 0] == pytest.approx(1.25)
    press(page, "Reset the view")
    assert matrix(page)[0, 0] == pytest.approx(fitted)


def test_the_x_ray_is_viewed_though_the_heatmap_does_not_come(page: Page, live_server, client, xray):
    page.route("**/heatmap.png", lambda route: route.abort())
    show(page, live_server, client, xray(size=(WIDTH, HEIGHT), opacity=1, seed=1))
    expect(page.locator("#heatmap-missing")).to_contain_text("The heatmap could not be loaded.")
    expect(page.get_by_label("Show heatmap")).to_have_count(0)
    expect(page.get_by_role("button", name="X-ray beside heatmap")).to_have_count(0)
    start = matrix(page)
    press(page, "Zoom in")
    assert matrix(page)[0, 0] > start[0, 0]
    page.keyboard.press("h")
    page.keyboard.press("s")


def shown_grey(page: Page) -> np.ndarray:
    """The stage as it looks, without the heatmap."""
    settle(page)
    shot = page.locator("#stage").screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("L"), dtype=float)[:-1, :-1]  # the last may be half a pixel


def test_the_grey_window_spreads_what_is_in_it_and_inverting_turns_it_round(viewer: Page):
    viewer.get_by_label("Show heatmap").uncheck()
    before = shown_grey(viewer)
    press(viewer, "Invert")
    viewer.mouse.move(0, 0)
    assert np.abs(255 - shown_grey(viewer) - before).max() <= 3
    press(viewer, "Invert")

    box = box_of(viewer)
    viewer.mouse.move(box["x"] + 200, box["y"] + 200)
    viewer.mouse.down(button="right")
    viewer.mouse.move(box["x"] + 350, box["y"] + 200)  # 150 pixels to the right: contrast + 50
    viewer.mouse.up(button="right")
    viewer.mouse.move(0, 0)
    expect(viewer.get_by_label("Contrast", exact=True)).to_have_value("50")
    expected = np.clip((before - 127.5) * 8**0.5 + 127.5, 0, 255)
    assert np.abs(shown_grey(viewer) - expected).mean() < 3

    press(viewer, "Drag for brightness and contrast")
    viewer.mouse.move(box["x"] + 200, box["y"] + 200)
    viewer.mouse.down()
    viewer.mouse.move(box["x"] + 200, box["y"] + 140)  # upward is brighter
    viewer.mouse.up()
    expect(viewer.get_by_label("Brightness", exact=True)).to_have_value("20")
    press(viewer, "Reset the view")
    viewer.mouse.move(0, 0)
    assert np.abs(shown_grey(viewer) - before).max() <= 1


def test_everything_goes_by_keyboard_and_keys_elsewhere_mean_nothing(viewer: Page):
    start = matrix(viewer)
    viewer.keyboard.press("r")
    assert matrix(viewer) == pytest.approx(start), "the focus is not in the viewer"
    viewer.locator("#stage").click()
    viewer.keyboard.press("+")
    viewer.keyboard.press("+")
    zoomed = matrix(viewer)
    assert zoomed[0, 0] > start[0, 0]
    viewer.keyboard.press("ArrowLeft")
    assert matrix(viewer)[0, 2] > zoomed[0, 2]
    viewer.keyboard.press("Shift+ArrowRight")
    viewer.keyboard.press("Shift+ArrowUp")
    expect(viewer.get_by_label("Contrast", exact=True)).to_have_value("16")
    expect(viewer.get_by_label("Brightness", exact=True)).to_have_value("16")
    viewer.keyboard.press("i")
    expect(viewer.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    viewer.keyboard.press("h")
    expect(viewer.locator(".viewer__canvas--heatmap").first).to_be_hidden()
    viewer.keyboard.press("h")
    viewer.keyboard.press("Shift+R")
    assert matrix(viewer)[0, 0] == 0
    viewer.keyboard.press("0")
    assert matrix(viewer) == pytest.approx(start, abs=1e-6)
    viewer.keyboard.press("?")
    dialog = viewer.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Magnifier")
    viewer.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(viewer.locator("#stage")).to_be_focused()


def key(page: Page, name: str, code: str, **more) -> None:
    """A key of another keyboard, which Playwright has none of."""
    event = {"key": name, "code": code, "bubbles": True, "cancelable": True, **more}
    page.locator("#stage").dispatch_event("keydown", event)


def test_keys_mean_the_same_on_an_arabic_keyboard(viewer: Page):
    start = matrix(viewer)
    key(viewer, "\N{ARABIC LETTER HEH}", "KeyI")
    expect(viewer.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    key(viewer, "ق", "KeyR")
    turned = matrix(viewer)
    assert turned[1, 0] > 0
    key(viewer, "\N{ARABIC DAMMATAN}", "KeyR", shiftKey=True)
    assert matrix(viewer) == pytest.approx(start, abs=1e-6)
    key(viewer, "ب", "KeyF")
    assert matrix(viewer)[0, 0] == -start[0, 0]
    key(viewer, "\N{ARABIC-INDIC DIGIT ZERO}", "Digit0")
    assert matrix(viewer) == pytest.approx(start, abs=1e-6)
    key(viewer, "؟", "Slash", shiftKey=True)
    expect(viewer.get_by_role("dialog", name="Keys")).to_be_visible()


def test_caps_lock_changes_no_key_and_signs_are_where_the_keyboard_has_them(viewer: Page):
    start = matrix(viewer)
    key(viewer, "I", "KeyI")
    expect(viewer.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    key(viewer, "R", "KeyR")
    assert matrix(viewer)[1, 0] > 0, "to the right"
    key(viewer, "r", "KeyR", shiftKey=True)
    assert matrix(viewer) == pytest.approx(start, abs=1e-6)
    key(viewer, ",", "KeyM")  # of a French keyboard
    expect(viewer.get_by_role("button", name="Magnifier")).to_have_attribute("aria-pressed", "false")
    key(viewer, "?", "KeyM", shiftKey=True)
    expect(viewer.get_by_role("dialog", name="Keys")).to_be_visible()


def test_beside_and_magnifier(viewer: Page):
    press(viewer, "X-ray beside heatmap")
    settle(viewer)
    panes = [viewer.locator(".viewer__pane").nth(number) for number in (0, 1)]
    left, right = (pane.bounding_box() for pane in panes)
    assert left["x"] + left["width"] <= right["x"]
    expect(panes[1].locator("> .viewer__canvas--heatmap")).to_have_count(0)
    matrix(viewer)  # the same in both
    press(viewer, "X-ray beside heatmap")
    expect(panes[1]).to_be_hidden()

    scale = matrix(viewer)[0, 0]
    press(viewer, "Magnifier")
    box = box_of(viewer)
    viewer.mouse.move(box["x"] + 220, box["y"] + 180)
    settle(viewer)
    lens = viewer.locator(".viewer__lens").first
    seen = lens.bounding_box()
    assert (seen["x"] + seen["width"] / 2 - box["x"], seen["y"] + seen["height"] / 2 - box["y"]) == pytest.approx(
        (220, 180), abs=2
    )
    drawn = viewer.evaluate(ALL_MATRICES)
    assert drawn[2] == drawn[3], "the heatmap is magnified with the X-ray"
    assert drawn[2][0] == pytest.approx(2.5 * scale)
    a, _, _, d, e, f = drawn[2]
    middle = lens.evaluate("lens => [lens.clientWidth / 2, lens.clientHeight / 2]")
    point = [(middle[0] - e) / a, (middle[1] - f) / d]
    press(viewer, "Magnifier")
    assert in_picture(viewer, 220, 180) == pytest.approx(point, abs=0.5)


def test_a_picture_that_was_not_analysed_is_viewed_without_heatmap(page: Page, live_server, client, no_xray):
    show(page, live_server, client, no_xray, name="board.png", rejected=True)
    start = matrix(page)
    press(page, "Zoom in")
    assert matrix(page)[0, 0] > start[0, 0]
    expect(page.get_by_role("button", name="X-ray beside heatmap")).to_have_count(0)
    page.keyboard.press("h")
    page.keyboard.press("s")


def test_twelve_megapixels_move_smoothly(page: Page, live_server, client):
    """The limits are wide, as the machine may be busy; the figures are printed with -s."""
    page.set_viewport_size({"width": 1440, "height": 1000})
    file = io.BytesIO()
    phantom.draw(1000, 750, opacity=1).resize((4000, 3000), Image.Resampling.BICUBIC).save(file, "JPEG", quality=80)
    show(page, live_server, client, file.getvalue(), name="large.jpg")
    box = box_of(page)
    measure = """async ([left, top]) => {
        const pane = document.querySelector(".viewer__pane");
        const frame = () => new Promise(done => requestAnimationFrame(done));
        const times = {};
        const run = async (name, act) => {
            times[name] = [];
            let last = await frame();
            for (let number = 0; number < 30; number++) {
                act(number);
                const now = await frame();
                times[name].push(now - last);
                last = now;
            }
        };
        const at = (type, x, y, more) => pane.dispatchEvent(
            new PointerEvent(type, {clientX: left + x, clientY: top + y, pointerId: 1, bubbles: true, ...more}));
        pane.setPointerCapture = () => {};  // which knows no made pointers
        await run("zoom", number => pane.dispatchEvent(new WheelEvent("wheel",
            {deltaY: number < 15 ? -60 : 30, clientX: left + 300, clientY: top + 200, cancelable: true})));
        at("pointerdown", 300, 200, {button: 0});
        await run("pan", number => at("pointermove", 300 + 4 * number, 200 + 2 * number));
        at("pointerup", 300, 200);
        at("pointerdown", 300, 200, {button: 2});
        await run("grey", number => at("pointermove", 300 + 4 * number, 200 - 2 * number));
        at("pointerup", 300, 200);
        return times;
    }"""
    for what, times in page.evaluate(measure, [box["x"], box["y"]]).items():
        median = statistics.median(times)
        print(f"{what}: median {median:.1f} ms, slowest {max(times):.1f} ms a frame")  # noqa: T201
        assert median < 50, what
    expect(page.get_by_label("Contrast", exact=True)).not_to_have_value("0")


def test_the_viewer_fits_every_screen(viewer: Page):
    for button in viewer.locator("#viewer").get_by_role("button").all():
        expect(button).to_have_accessible_name(re.compile("."))
    for width in (360, 768, 1440):
        viewer.set_viewport_size({"width": width, "height": 900})
        for button in viewer.locator("#viewer").get_by_role("button").all():
            box = button.bounding_box()
            assert box
            assert min(box["width"], box["height"]) >= 24, "large enough for a finger"
        for _ in ("beside", "and back"):
            press(viewer, "X-ray beside heatmap")
            assert viewer.evaluate("document.documentElement.scrollWidth") <= width
        matrix(viewer)
