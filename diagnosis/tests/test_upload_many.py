"""Many pictures at once in a real Chromium: a row each, with progress, answers and errors, two requests at a time."""

import json
import re
import threading

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from diagnosis import services
from diagnosis.api.throttles import PredictThrottle
from diagnosis.models import Prediction, Upload

pytestmark = pytest.mark.django_db(transaction=True)

ANSWER = {
    "prediction": "Normal",
    "probability": 0.0312,
    "reliable": True,
    "uncertain": False,
    "url": "/predictions/00000000-0000-4000-8000-000000000000/",
}


def choose(page: Page, files) -> None:
    page.locator("#id_file").set_input_files(files)


def analyse(page: Page) -> None:
    page.get_by_role("button", name="Analyse", exact=True).click()


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has_text=name)


def made(number: int) -> list[dict]:
    """Files that no server will open."""
    return [
        {"name": f"made {one}.png", "mimeType": "image/png", "buffer": b"picture %d" % one} for one in range(number)
    ]


class Server:
    """Stands in for /predict: keeps requests until they are let go, and knows how many there were at once."""

    def __init__(self, page: Page):
        self.open: list[Route] = []
        self.seen: list[Route] = []
        self.most = 0
        page.route("**/predict", self._take)

    def _take(self, route: Route) -> None:
        self.open.append(route)
        self.seen.append(route)
        self.most = max(self.most, len(self.open))

    def key(self, number: int) -> str:
        return self.seen[number].request.headers["idempotency-key"]

    def answer(self, status: int = 200, body: dict | None = None, headers: dict | None = None) -> None:
        self.open.pop(0).fulfill(
            status=status, body=json.dumps(body or ANSWER), headers=headers, content_type="application/json"
        )


def waits(page: Page, what) -> None:
    """Lets the browser work until `what()` is so."""
    for _ in range(1000):
        if what():
            return
        page.wait_for_timeout(5)
    raise AssertionError("it never came to that")


def test_each_picture_gets_its_answer_in_its_row(upload_page: Page, pictures, live_server, no_xray, tmp_path):
    page = upload_page
    (tmp_path / "letter.jpg").write_text("Dear doctor")
    (tmp_path / "board.png").write_bytes(no_xray)
    choose(page, [*pictures, tmp_path / "letter.jpg", tmp_path / "board.png"])
    expect(row(page, "first.jpg").locator("canvas")).to_be_visible()
    analyse(page)
    expect(page.locator(".total__counts")).to_contain_text("5 of 5 finished")

    expect(row(page, "letter.jpg")).to_contain_text("not a picture that can be read")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0), "no letter becomes a picture"
    expect(row(page, "board.png")).to_contain_text("does not look like a frontal chest X-ray")
    for prediction in Prediction.objects.exclude(status="rejected").select_related("upload"):
        told = row(page, prediction.upload.original_name)
        expect(told.locator(".label")).to_have_text(re.compile(prediction.label))
        expect(told.get_by_role("link")).to_have_attribute("href", f"{prediction.get_absolute_url()}?back=")
    assert Prediction.objects.count() == 4
    assert Upload.objects.values("visitor").distinct().count() == 1, "all of them belong to this browser"

    row(page, "board.png").get_by_role("button", name="Analyse it anyway").click()
    expect(row(page, "board.png")).to_contain_text("unreliable")
    assert Prediction.objects.filter(status="forced").count() == 1
    expect(page.locator("#told")).to_contain_text("All done.")
    row(page, "first.jpg").get_by_role("link").click()
    expect(page.locator(".way__next, .way__previous").first).to_be_visible()
    page.go_back()
    expect(page.locator("#upload-status")).to_contain_text("the list as you left it, without the files themselves")
    expect(page.locator(".total__counts")).to_contain_text("5 of 5 finished")
    expect(row(page, "letter.jpg")).to_contain_text("not a picture that can be read")
    expect(row(page, "letter.jpg").get_by_role("button")).to_have_text([""])
    expect(page.locator("#picked-list img")).to_have_count(4)
    choose(page, pictures[0])
    expect(page.locator("#upload-status")).to_have_text("1 file chosen.")
    page.get_by_role("button", name="Remove: first.jpg").click()
    page.get_by_role("link", name="Upload").click()
    expect(page.locator("#picked")).to_be_hidden()


def test_a_single_picture_that_is_refused_shows_why(upload_page: Page, no_xray, tmp_path):
    page = upload_page
    (tmp_path / "board.png").write_bytes(no_xray)
    page.set_viewport_size({"width": 1280, "height": 900})
    choose(page, tmp_path / "board.png")
    analyse(page)
    expect(row(page, "board.png").get_by_role("button", name="Analyse it anyway")).to_be_in_viewport(ratio=1)


def test_the_operating_point_goes_along(upload_page: Page, pictures):
    choose(upload_page, pictures[:2])
    upload_page.get_by_label("Screening").check()
    analyse(upload_page)
    expect(upload_page.locator(".total__counts")).to_contain_text("2 of 2")
    assert set(Prediction.objects.values_list("operating_point", flat=True)) == {"screening"}
    analyse(upload_page)
    expect(upload_page.locator("#upload-status")).to_contain_text("All files below were sent.")
    upload_page.get_by_label("Balanced").check()
    analyse(upload_page)
    expect(upload_page.locator("[data-state=done]")).to_have_count(2)
    waits(upload_page, lambda: Prediction.objects.count() == 4)
    assert Prediction.objects.filter(operating_point="balanced").count() == 2
    upload_page.get_by_label("Screening").check()
    upload_page.get_by_role("link", name="Upload").click()
    expect(upload_page.locator("#picked")).to_be_hidden()
    expect(upload_page.get_by_label("Screening")).to_be_checked()


def test_what_has_its_answer_can_be_chosen_again_and_what_waits_is_not_taken_twice(upload_page: Page, pictures):
    page = upload_page
    choose(page, pictures[:2])
    choose(page, pictures)
    said = "2 files are in the list already and were left out. 3 files chosen."
    expect(page.locator("#upload-status")).to_have_text(said)
    analyse(page)
    expect(page.locator(".total__counts")).to_contain_text("3 of 3")
    page.get_by_label("Screening").check()
    choose(page, pictures[:2])
    expect(page.locator("#upload-status")).to_have_text("2 files chosen.")
    analyse(page)
    expect(page.locator(".total__counts")).to_contain_text("5 of 5")
    assert Prediction.objects.filter(operating_point="screening").count() == 2


def test_no_more_than_two_are_on_their_way_and_200_files_fit(upload_page: Page):
    page = upload_page
    server = Server(page)
    choose(page, made(201))
    said = "At most 200 files fit on this page at once. 1 file was left out."
    expect(page.locator("#upload-status")).to_contain_text(said)
    analyse(page)
    waits(page, lambda: len(server.open) == 1)
    page.wait_for_timeout(100)
    assert server.most == 1, "a new visitor's first request goes alone, for it brings the cookie"
    server.answer()
    waits(page, lambda: len(server.open) == 2)
    for done in range(1, 200):
        waits(page, lambda done=done: len(server.open) == min(2, 200 - done))
        server.answer()
    expect(page.locator(".total__counts")).to_have_text("200 of 200 finished · Normal: 200")
    assert server.most == 2
    assert len({server.key(number) for number in range(200)}) == 200
    choose(page, made(1))
    expect(page.locator("#upload-status")).to_have_text("1 file chosen.")  # what is done takes no room


def test_trying_again_uses_the_same_key_and_makes_no_second_result(upload_page: Page, pictures):
    page = upload_page
    choose(page, pictures[:2])
    keys = []

    def lose_the_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) == 1:
            route.fetch()  # the server works, and the connection breaks before the answer
            route.abort()
        else:
            route.continue_()

    page.route("**/predict", lose_the_answer)
    analyse(page)
    expect(row(page, "first.jpg")).to_contain_text("could not be reached")
    expect(row(page, "second.jpg").get_by_role("link")).to_be_visible()
    row(page, "first.jpg").get_by_role("button", name="Try again").click()
    expect(row(page, "first.jpg").get_by_role("link")).to_be_visible()
    assert keys[0] == keys[-1]
    assert Upload.objects.count() == 2


def test_a_pause_that_the_server_asks_for_is_kept(upload_page: Page):
    page = upload_page
    server = Server(page)
    choose(page, made(3))
    analyse(page)
    waits(page, lambda: len(server.open) == 1)
    server.answer()
    waits(page, lambda: len(server.open) == 2)
    server.answer(429, {"code": "throttled"}, {"Retry-After": "2"})
    expect(page.locator(".total__pause")).to_contain_text("asks to wait 2 seconds.")
    expect(page.locator("#told")).to_contain_text("asks to wait 2 seconds.")
    expect(page.locator(".total__pause")).to_contain_text("asks to wait 1 second.")
    page.wait_for_timeout(300)
    assert len(server.seen) == 3
    server.answer()
    waits(page, lambda: len(server.open) == 1)
    assert server.key(3) == server.key(1)
    server.answer()
    expect(page.locator(".total__counts")).to_have_text("3 of 3 finished · Normal: 3")
    expect(page.locator(".total__pause")).to_be_hidden()


def test_nothing_is_lost_where_the_rate_is_low(upload_page: Page, tmp_path, xray, monkeypatch):
    page, first, then = upload_page, [1000.0] * 4, [1059.0]  # seconds: the rate lets a fifth pass after 1060
    monkeypatch.setattr(PredictThrottle, "THROTTLE_RATES", {"predict": "4/minute"})
    monkeypatch.setattr(PredictThrottle, "timer", lambda self: first.pop() if first else then[0])
    files = [tmp_path / f"bed {number}.jpg" for number in range(6)]
    for number, path in enumerate(files):
        path.write_bytes(xray(seed=number, size=(320, 280)))
    choose(page, files)
    analyse(page)
    held = row(page, "Waiting, as the server asked").first
    expect(held.get_by_role("button", name="Cancel")).to_be_visible()
    expect(page.locator(".total__pause")).to_contain_text("The server asks to wait 1 second.")
    expect(page.locator(".total__counts")).to_contain_text("4 of 6 finished")
    then[0] = 1060.0
    expect(page.locator(".total__counts")).to_contain_text("6 of 6 finished")
    for path in files:
        expect(row(page, path.name).get_by_role("link", name="Open the result")).to_be_visible()
    assert sorted(Upload.objects.values_list("original_name", flat=True)) == [path.name for path in files]


def test_one_or_all_can_be_cancelled_and_tried_again(upload_page: Page):
    page = upload_page
    server = Server(page)
    choose(page, made(4))
    analyse(page)
    waits(page, lambda: len(server.open) == 1)
    server.answer()
    waits(page, lambda: len(server.open) == 2)
    row(page, "made 1.png").get_by_role("button", name="Cancel").press("Enter")
    expect(row(page, "made 1.png")).to_contain_text("Cancelled")
    expect(row(page, "made 1.png").get_by_role("button", name="Try again")).to_be_focused()
    waits(page, lambda: len(server.seen) == 4)
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator(".total__counts")).to_have_text("4 of 4 finished · Normal: 1 · Cancelled: 3")
    server.open.clear()
    page.get_by_role("button", name="Try the failed ones again").click()
    for _ in range(3):
        waits(page, lambda: server.open)
        server.answer()
    expect(page.locator(".total__counts")).to_have_text("4 of 4 finished · Normal: 4")


@pytest.fixture
def go_on(monkeypatch) -> threading.Event:
    """Each analysis waits until this is set."""
    go_on, diagnose = threading.Event(), services.diagnose

    def slowly(**options):
        go_on.wait(10)
        return diagnose(**options)

    monkeypatch.setattr(services, "diagnose", slowly)
    return go_on


def test_what_has_been_sent_whole_gets_its_answer_whatever_is_cancelled(upload_page: Page, pictures, go_on):
    page = upload_page
    choose(page, pictures[:2])
    analyse(page)
    expect(row(page, "first.jpg")).to_contain_text("Analysing")
    expect(row(page, "first.jpg").get_by_role("button")).to_have_count(0)
    page.get_by_role("button", name="Cancel all").click()
    expect(page.get_by_role("button", name="Cancel all")).to_be_hidden()
    expect(row(page, "first.jpg")).to_contain_text("Analysing")
    go_on.set()
    expect(row(page, "first.jpg").get_by_role("link", name="Open the result")).to_be_visible()
    expect(page.locator(".total__counts")).to_contain_text("Cancelled: 1")
    assert Upload.objects.count() == 1


def test_leaving_asks_first_while_something_would_be_lost_and_not_after(upload_page: Page, live_server):
    page = upload_page
    server = Server(page)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    choose(page, made(2))
    page.get_by_role("link", name="History").first.click(no_wait_after=True)
    waits(page, lambda: asked == ["beforeunload"])
    analyse(page)
    waits(page, lambda: server.open)
    page.get_by_role("link", name="History").first.click(no_wait_after=True)
    waits(page, lambda: asked == ["beforeunload"] * 2)
    assert page.url == f"{live_server.url}/"
    for _ in range(2):
        waits(page, lambda: server.open)
        server.answer()
    expect(page.locator(".total__counts")).to_contain_text("2 of 2")
    page.get_by_role("link", name="History").first.click()
    page.wait_for_url(re.compile("/history/"))
    assert len(asked) == 2


def test_progress_is_shown_while_sending_and_while_analysing(upload_page: Page, tmp_path, xray, go_on):
    page = upload_page
    (tmp_path / "large.png").write_bytes(xray("PNG", size=(1600, 1400)))
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 3_000_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    choose(page, tmp_path / "large.png")
    large = row(page, "large.png")
    shares: list[float] = []
    analyse(page)
    bar = large.get_by_role("progressbar", name="Progress of large.png")
    waits(page, lambda: shares.append(float(bar.get_attribute("value") or 1)) or shares[-1] == 1)
    assert any(0 < share < 1 for share in shares)
    assert shares == sorted(shares)
    expect(large).to_contain_text("Analysing")
    expect(bar).to_be_visible()
    go_on.set()
    page.wait_for_url(re.compile("/predictions/"))  # one picture leads to its result


def test_a_folder_is_searched_for_pictures(upload_page: Page, pictures, tmp_path, xray):
    page = upload_page
    folder = tmp_path / "ward"
    (folder / "bed 7").mkdir(parents=True)
    (folder / "one.jpg").write_bytes(xray(size=(320, 280)))
    (folder / "bed 7" / "two.png").write_bytes(xray("PNG", size=(320, 280)))
    (folder / "notes.txt").write_text("no picture")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a folder").click()
    chooser.value.set_files(folder)
    expect(row(page, "ward/one.jpg")).to_be_visible()
    expect(row(page, "ward/bed 7/two.png")).to_be_visible()
    expect(page.locator("#upload-status")).to_contain_text("1 file of the folder is not a picture and was left out.")


def test_a_dropped_folder_is_read_to_the_last_entry(upload_page: Page):
    """Scripts cannot drop folders, so the module is handed entries as a browser makes them: in portions."""
    names = upload_page.evaluate(
        """async () => {
            const {droppedFiles} = await import("/static/js/upload/files.js");
            const file = path => ({isFile: true, fullPath: path, file: found => found(new File(["x"], path))});
            const broken = {isFile: true, fullPath: "/ward/broken.png", file: (found, failed) => failed()};
            const folder = (path, ...portions) => ({isDirectory: true, fullPath: path, createReader: () => {
                const left = [...portions];
                return {readEntries: found => found(left.shift() ?? [])};
            }});
            const bed = folder("/ward/bed 7", [file("/ward/bed 7/b.png")]);
            const ward = folder("/ward", [file("/ward/a.png"), broken], [bed], [file("/ward/c.png")]);
            const items = [ward, file("/d.png")].map(entry => ({webkitGetAsEntry: () => entry}));
            return (await droppedFiles({items, files: []})).map(({name}) => name);
        }"""
    )
    assert names == ["ward/a.png", "ward/bed 7/b.png", "ward/c.png", "d.png"]


def test_what_the_server_will_refuse_is_said_before_sending(upload_page: Page, settings):
    choose(upload_page, [{"name": "scan.pdf", "mimeType": "application/pdf", "buffer": b"%PDF" * 113_400}])
    expect(row(upload_page, "scan.pdf")).to_contain_text("may be refused")
    expect(row(upload_page, "scan.pdf")).to_contain_text("454 kB"), "as figures.file_size has it"
    row(upload_page, "scan.pdf").get_by_role("button", name="Remove: scan.pdf").click()
    expect(upload_page.locator("#picked")).to_be_hidden()
    expect(upload_page.locator("#id_file")).to_be_focused()
    analyse(upload_page)
    expect(upload_page.locator("#upload-status")).to_have_text("Choose at least one X-ray picture first.")


def test_rows_fit_every_screen(upload_page: Page, pictures):
    page = upload_page
    choose(page, pictures)
    choose(page, [{"name": "averylongname" * 15 + ".png", "mimeType": "image/png", "buffer": b"nothing"}])
    analyse(page)
    expect(page.locator(".total__counts")).to_contain_text("4 of 4")
    for width in (360, 768, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
