"""The site in a real Chromium, with JavaScript and without."""

import re
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from playwright.sync_api import Browser, Page, Route, expect

from diagnosis import access, services
from diagnosis.models import Prediction
from diagnosis.tests.test_accessibility import log_in
from diagnosis.tests.test_listing import make

pytestmark = pytest.mark.django_db(transaction=True)


ALL_IMAGES_LOADED = "() => [...document.images].every(image => image.complete && image.naturalWidth > 0)"


def wait_until(page: Page, expression: str) -> None:
    """`page.wait_for_function` without eval, which the site's policy forbids from the second look on."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not so after 10 s: {expression}")


@pytest.fixture
def files(tmp_path: Path, xray) -> list[Path]:
    paths = [tmp_path / "clear.jpg", tmp_path / "opaque.png"]
    paths[0].write_bytes(xray())
    paths[1].write_bytes(xray("PNG", opacity=1, seed=1))
    return paths


def test_a_chosen_picture_is_previewed_analysed_and_remembered(quiet_page: Page, live_server, files):
    page = quiet_page
    page.goto(live_server.url)
    page.locator("input[type=file]").set_input_files(files[0])
    expect(page.get_by_text("clear.jpg").first).to_be_visible()
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_url(re.compile("/predictions/"))
    prediction = Prediction.objects.get()
    expect(page.get_by_role("heading", level=1)).to_contain_text(prediction.label)

    wait_until(page, ALL_IMAGES_LOADED)
    heatmap, xray = (page.locator(f".viewer__canvas--{name}").first for name in ("heatmap", "xray"))
    assert heatmap.bounding_box() == xray.bounding_box(), "the heatmap lies over the X-ray"

    opacity = page.get_by_role("slider", name="Opacity")
    opacity.fill("20")
    assert float(heatmap.evaluate("canvas => getComputedStyle(canvas).opacity")) == pytest.approx(0.2, abs=0.01)
    opacity.press("End")
    assert float(heatmap.evaluate("canvas => getComputedStyle(canvas).opacity")) == pytest.approx(1, abs=0.01)

    page.get_by_role("link", name="History").first.click()
    expect(page.get_by_role("link", name="clear.jpg").first).to_be_visible()
    page.goto(live_server.url)
    expect(page.get_by_text("clear.jpg").first).to_be_visible()


def test_pictures_dropped_or_pasted_on_the_page_are_analysed(quiet_page: Page, live_server, files):
    page = quiet_page
    page.goto(live_server.url)
    transfer = page.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of files)
                transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/jpeg"}));
            return transfer;
        }""",
        [[path.name, list(path.read_bytes())] for path in files],
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": transfer})
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    expect(page.get_by_text("opaque.png").first).to_be_visible()
    page.evaluate(
        """async bytes => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([new Uint8Array(bytes)], "image.png", {type: "image/png"}));
            document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
        }""",
        list(files[1].read_bytes()),
    )
    expect(page.locator("#upload-status")).to_have_text("3 files chosen.")
    page.get_by_role("button", name="Remove: image.png").click()
    page.get_by_role("button", name="Analyse").click()
    # The answers come into the rows; the history shows them as well.
    expect(page.get_by_role("link", name="Open the result")).to_have_count(2)
    assert Prediction.objects.count() == 2
    page.get_by_role("link", name="All results").first.click()
    page.wait_for_url(re.compile("/history/"))
    wait_until(page, ALL_IMAGES_LOADED)


def test_a_picture_that_is_none_is_explained_on_the_page(page: Page, live_server, tmp_path):
    (tmp_path / "letter.jpg").write_text("Dear doctor")
    page.goto(live_server.url)
    page.locator("input[type=file]").set_input_files(tmp_path / "letter.jpg")
    page.get_by_role("button", name="Analyse").click()
    expect(page.get_by_role("listitem").filter(has_text="letter.jpg")).to_contain_text("not a picture that can be read")


def test_everything_works_without_javascript(browser: Browser, live_server, files):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(live_server.url)
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_url(re.compile("/history/"))
    page.get_by_role("link", name="clear.jpg").first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("img[src$='heatmap.png']")).to_be_visible()
    expect(page.get_by_role("slider")).to_have_count(0)


def test_results_are_selected_compared_and_deleted(quiet_page: Page, live_server, files, xray):
    page = quiet_page
    page.goto(live_server.url)
    for path in (*files, files[0]):
        page.request.post(
            f"{live_server.url}/predict",
            multipart={"file": {"name": path.name, "mimeType": "image/jpeg", "buffer": path.read_bytes()}},
        )
    page.goto(f"{live_server.url}/history/?sort=oldest")
    ticks = page.locator("input[name=pick]")
    compare = page.get_by_role("button", name="Compare 2 to 4")
    expect(compare).to_be_disabled()
    ticks.nth(0).click()
    expect(compare).to_be_disabled()
    ticks.nth(2).click(modifiers=["Shift"])
    expect(ticks.nth(1)).to_be_checked()
    expect(page.locator("#selection-count")).to_have_text(re.compile(r"Selected:\s+3"))
    expect(page.get_by_label("Select all on this page")).to_be_checked()
    page.get_by_label("Select all on this page").uncheck()
    expect(ticks.nth(0)).not_to_be_checked()

    ticks.nth(1).click()
    ticks.nth(2).click()
    compare.click()
    page.wait_for_url(re.compile("/history/compare/"))
    wait_until(page, ALL_IMAGES_LOADED)
    heatmaps, pictures = page.locator(".compare__heatmap"), page.locator(".compare__xray")
    expect(heatmaps).to_have_count(2)
    assert heatmaps.first.bounding_box() == pytest.approx(pictures.first.bounding_box(), abs=1)
    page.get_by_label("Heatmaps").uncheck()
    expect(heatmaps.first).to_be_hidden()

    page.get_by_role("link", name="Back to history").click()
    expect(page).to_have_url(re.compile(re.escape(f"{live_server.url}/history/?sort=oldest&pick=")))
    expect(page.locator("#selection-count")).to_have_text(re.compile(r"Selected:\s+2"))
    expect(ticks.nth(1)).to_be_checked()
    ticks.nth(1).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export selected").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 2
    page.get_by_role("button", name="Delete selected").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete 1 picture?")
    page.get_by_role("button", name="Delete permanently").click()
    expect(page).to_have_url(f"{live_server.url}/history/?sort=oldest")
    expect(page.get_by_role("status").first).to_contain_text("1 picture was deleted, with everything")
    expect(ticks).to_have_count(2)
    assert Prediction.objects.count() == 2


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_worklist_is_worked_through_by_arrow_keys(quiet_page: Page, live_server, client, alice, xray, language):
    page = quiet_page
    client.force_login(alice)
    for name in ("scan 0.jpg", "other.jpg", "scan 1.jpg", "scan 2.jpg"):
        client.post("/predict", {"file": SimpleUploadedFile(name, xray(size=(96, 96)))})
    cookies = {"sessionid": client.cookies["sessionid"].value, "django_language": language}
    page.context.add_cookies([{"name": n, "value": v, "url": live_server.url} for n, v in cookies.items()])
    back, forth = ("ArrowRight", "ArrowLeft") if language == "ar" else ("ArrowLeft", "ArrowRight")
    page.goto(f"{live_server.url}/history/?name=scan&sort=oldest")
    page.locator(".worklist__file a").first.click()
    for shown, key in [(0, forth), (1, forth), (2, back), (1, back), (0, "")]:
        expect(page.locator(".answer__file")).to_have_text(f"scan {shown}.jpg")
        expect(page.locator("[aria-keyshortcuts]")).to_have_count(2 if shown == 1 else 1)
        expect(page.locator("#stage[tabindex]")).to_be_visible()
        page.locator("#stage").press("ArrowRight")  # moves the picture
        page.locator("#stage").blur()
        if key:
            page.keyboard.press(key)
    page.locator(".way a").first.click()
    expect(page).to_have_url(f"{live_server.url}/history/?name=scan&sort=oldest")


@pytest.mark.parametrize("width", [375, 820, 1440])
def test_all_rows_are_ticked_at_once_on_every_screen(page: Page, live_server, client, alice, width):
    for number in range(3):
        make(alice, number)
    client.force_login(alice)
    page.context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
    )
    page.set_viewport_size({"width": width, "height": 800})
    scripts: list[Route] = []
    page.route("**/worklist.js", lambda route: scripts.append(route))
    page.goto(f"{live_server.url}/history/", wait_until="commit")
    rows, everything = page.locator(".worklist tbody tr"), page.locator("#select-all")
    expect(rows).to_have_count(3)
    wait_until(page, "document.fonts.status === 'loaded' && document.styleSheets.length >= 4")
    before = rows.first.bounding_box()
    scripts[0].continue_()
    expect(everything).to_be_visible()
    assert rows.first.bounding_box() == before, "nothing moves when the script has run"
    tick = page.get_by_label("Select all on this page")
    assert tick.bounding_box()["width"] >= 18, "what takes the focus can be seen"
    tick.click()
    expect(page.locator("input[name=pick]:checked")).to_have_count(3)


def test_the_worklist_works_without_javascript(browser: Browser, live_server, files):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(live_server.url)
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_url(re.compile("/history/"))
    page.get_by_label("File name contains").fill("clear")
    page.get_by_label("Sort by").select_option("name")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(re.compile("name=clear.*sort=name"))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("status").first).to_contain_text("0 are ticked")
    page.locator("input[name=pick]").check()
    page.get_by_role("button", name="Delete selected").click()
    page.get_by_role("button", name="Delete permanently").click()
    expect(page).to_have_url(re.compile(r"/history/\?name=clear&sort=name$"))
    expect(page.get_by_role("heading", name="No result matches")).to_be_visible()


def test_the_bar_of_a_probability_stays_inside_its_card(browser: Browser, live_server, client, alice):
    make(alice, 1, label="Pneumonia", probability=0.9999)
    client.force_login(alice)
    context = browser.new_context(locale="fr", viewport={"width": 360, "height": 740})
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(f"{live_server.url}/history/")
    bar, cell = page.locator("tbody .bar").bounding_box(), page.locator(".worklist__probability").bounding_box()
    assert bar
    assert cell
    assert 30 < bar["width"]
    assert bar["x"] + bar["width"] <= cell["x"] + cell["width"]
    context.close()


def test_the_history_keeps_its_pictures_at_every_width(browser: Browser, live_server, alice, bob, xray):
    sender = access.Person(user=alice)
    services.diagnose(file=ContentFile(xray()), name="person1000_bacteria_2931.jpeg", sender=sender)
    page = browser.new_context(locale="fr").new_page()
    log_in(page, live_server, bob)
    for width in (375, 900, 1100, 1248, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{live_server.url}/history/")
        assert page.locator(".worklist .thumb").bounding_box()["width"] == 72, width
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_no_page_scrolls_sideways(page: Page, live_server, files, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(live_server.url)
    page.locator("input[type=file]").set_input_files(files[0])
    page.get_by_role("button", name="Analyse").click()
    page.wait_for_url(re.compile("/predictions/"))
    result = page.url.removeprefix(live_server.url)
    for path in (result, "/", "/history/", "/dashboard/", "/accounts/login/"):
        page.goto(live_server.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1280])
def test_accounts_admin_and_api_docs_run_under_the_security_policy(quiet_page: Page, live_server, admin_user, width):
    """What the policy blocks stands in the console, which stays empty; and no page of accounts scrolls sideways."""
    page = quiet_page
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{live_server.url}/accounts/login/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("password")
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="admin", exact=False).last.click()
    page.get_by_label("Name").fill("scanner of the ward")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_text("Copy the token now")).to_be_visible()
    for address in ("", "password/", "password/reset/", "delete"):
        page.goto(f"{live_server.url}/accounts/{address}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    for address in ("", "auth/user/", "auth/user/add/", "diagnosis/prediction/", "diagnosis/auditevent/"):
        page.goto(f"{live_server.url}/admin/{address}")
    page.goto(f"{live_server.url}/api/docs/")
    page.locator("#operations-predict-predict .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    expect(page.get_by_role("button", name="Execute")).to_be_visible()


def test_the_api_docs_work_for_whoever_is_logged_in(quiet_page: Page, live_server, admin_user):
    page = quiet_page
    page.goto(f"{live_server.url}/accounts/login/?next=/api/docs/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("password")
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.locator("#operations-tokens-tokens_create .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.locator("#operations-tokens-tokens_create textarea").fill('{"name": "from the docs", "days": 1}')
    page.get_by_role("button", name="Execute").click()
    expect(page.locator("#operations-tokens-tokens_create .live-responses-table")).to_contain_text("201")
