"""Theme, language, and how light and calm the first page is."""

import re

import pytest
from django.core import mail
from django.core.files.base import ContentFile
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from diagnosis import access, report, reviews, services
from diagnosis.inference import serving
from diagnosis.models import Prediction
from diagnosis.tests.test_accessibility import log_in

pytestmark = pytest.mark.django_db

ARABIC = re.compile("[\u0600-\u06ff]")


def test_dark_until_light_is_chosen(client):
    assert 'data-theme="dark"' in client.get("/").content.decode()
    response = client.post("/preferences/theme", {"theme": "light", "next": "/model/"})
    assert (response.status_code, response["Location"]) == (302, "/model/")
    assert 'data-theme="light"' in client.get("/").content.decode()
    assert 'class="dark-mode"' not in client.get("/api/docs/").content.decode()
    client.post("/preferences/theme", {"theme": "dark"})
    assert 'data-theme="dark"' in client.get("/").content.decode()
    assert 'class="dark-mode"' in client.get("/api/docs/").content.decode()


@pytest.mark.parametrize("address", ["/preferences/theme", "/preferences/language"])
def test_choices_lead_nowhere_else_and_need_no_key(address):
    client = Client(enforce_csrf_checks=True)
    response = client.post(address, {"theme": "light", "language": "fr", "next": "https://evil.example/"})
    assert (response.status_code, response["Location"]) == (302, "/")


def test_the_admin_wears_the_same_theme(client, bob):
    client.force_login(bob)
    assert "theme-dark" in client.get("/admin/").content.decode()
    client.cookies["theme"] = "light"
    assert "theme-light" in client.get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("language", "title", "direction"),
    [("fr", "Historique", "ltr"), ("ar", "السجل", "rtl"), ("en", "History", "ltr"), ("de", "History", "ltr")],
)
def test_pages_come_in_the_browsers_language(client, language, title, direction):
    page = client.get("/history/", headers={"Accept-Language": language}).content.decode()
    assert f">{title}</h1>" in page
    assert f'dir="{direction}"' in page
    assert 'lang="ar" dir="rtl"' in " ".join(page.split()) or language != "ar"


def test_a_choice_of_language_counts_more_than_the_browser(client):
    client.post("/preferences/language", {"language": "ar", "next": "/model/"})
    page = client.get("/model/", headers={"Accept-Language": "fr"}).content.decode()
    assert 'dir="rtl"' in page
    assert "learned from children" not in page, "what the model's card says is translated too"


def test_a_choice_of_language_leads_from_a_refusal_to_its_result(client, no_xray, monkeypatch):
    client.post("/", {"file": ContentFile(no_xray, "board.png")})
    result = Prediction.objects.get().get_absolute_url()
    monkeypatch.setattr(serving, "_classifier", None)
    assert client.post(f"{result}all-the-same").status_code == 503
    page = client.post("/preferences/language", {"language": "fr", "next": f"{result}all-the-same"}, follow=True)
    assert page.redirect_chain[-1][0] == result
    assert page.status_code == 200


def test_words_of_scripts_have_the_forms_of_their_language(client):
    french, arabic = (client.get(f"/words/{language}.js") for language in ("fr", "ar"))
    assert "public" in french["Cache-Control"]
    assert "fichiers choisis" in french.content.decode()
    assert "n%100>=11" in arabic.content.decode()
    assert client.get("/words/en.js").status_code == 200
    assert client.get("/words/xx.js").status_code == 404


def test_letters_are_written_in_the_language_of_who_asks(client, alice, settings):
    alice.email = "alice@example.org"
    alice.save()
    client.post("/accounts/password/reset/", {"email": alice.email}, headers={"Accept-Language": "fr"})
    import threading

    for thread in threading.enumerate():
        if thread.name == "password reset letter":
            thread.join()
    assert "nouveau mot de passe" in mail.outbox[0].subject
    assert "Ouvrez ce lien" in mail.outbox[0].body


def test_problems_follow_accept_language_and_codes_do_not(client):
    sent = {"file": ContentFile(b"Dear doctor", name="letter.jpg")}
    answer = client.post("/predict", sent, headers={"Accept-Language": "fr"}).json()
    assert (answer["code"], answer["title"]) == ("unsupported_format", "Unsupported Media Type")
    assert answer["detail"].startswith("Ce n\N{RIGHT SINGLE QUOTATION MARK}est pas une image lisible.")
    sent = {"file": ContentFile(b"Dear doctor", name="letter.jpg")}
    assert client.post("/predict", sent).json()["detail"].startswith("This is not a picture")
    dicom = {"file": ContentFile(bytes(128) + b"DICM" + bytes(99), name="chest.dcm")}
    answer = client.post("/predict", dicom, headers={"Accept-Language": "fr"}).json()
    assert (answer["code"], answer["detail"][:31]) == (
        "unsupported_format",
        "C\N{RIGHT SINGLE QUOTATION MARK}est un fichier DICOM. Exporte",
    )


def test_limits_are_told_with_figures_in_the_same_language(client, settings, xray):
    settings.MAX_UPLOAD_MB = 0.0015
    sent = {"file": ContentFile(xray(), name="chest.jpg")}
    page = client.post("/", sent, headers={"Accept-Language": "fr"}).content.decode()
    assert "au plus 0,0015 Mo sont acceptés" in page


def test_the_report_is_written_from_the_right_in_arabic(alice, xray):
    from django.utils.translation import override

    sender = access.Person(user=alice)
    prediction = services.diagnose(file=ContentFile(xray()), name="chest.jpg", sender=sender)
    with override("ar"):
        said = report.report(prediction)
        assert all(ARABIC.search(sentence) for sentence in [said.answer, *said.sentences, said.disclaimer])
        assert all(ARABIC.search(term) for term, _fact in said.facts)
        assert report.pdf(prediction).startswith(b"%PDF")


ERRORS = {
    400: ("/accounts/?%00", "The request could not be understood"),
    404: ("/nothing/", "There is nothing here"),
    405: ("/preferences/theme", "Nothing to look at here"),
}


@pytest.mark.parametrize("language", ["en", "fr", "ar"])
def test_errors_wear_the_theme_and_speak_the_language(client, settings, monkeypatch, alice, language):
    settings.ALLOWED_HOSTS = ["testserver"]
    client.raise_request_exception = False
    client.cookies["theme"] = "light"
    asked = {"headers": {"Accept-Language": language}}
    without_key = Client(enforce_csrf_checks=True)
    without_key.cookies["theme"] = "light"
    monkeypatch.setattr("diagnosis.web.views._operating_points", lambda: 1 / 0)
    settings.MAX_UPLOAD_MB = 0.000001
    pages = {
        400: client.get("/", SERVER_NAME="evil.example", **asked),
        403: without_key.post("/accounts/login/", {}, **asked),
        404: client.get("/nothing/", **asked),
        405: client.get("/preferences/theme", **asked),
        413: client.post("/", {"file": ContentFile(b"x" * 2_000_000, name="x.jpg")}, **asked),
        500: client.get("/", **asked),
    }
    for status, page in pages.items():
        text = page.content.decode()
        assert page.status_code == status
        assert 'data-theme="light"' in text, status
        assert f'lang="{language}"' in text, status
        assert ("To the upload page" in text) == (language == "en"), status
        assert 'href="/"' in text, f"{status} says where to go"


def test_the_page_for_500_needs_no_database(client, django_assert_num_queries, monkeypatch):
    client.raise_request_exception = False
    monkeypatch.setattr("diagnosis.web.views._operating_points", lambda: 1 / 0)
    monkeypatch.setattr("diagnosis.web.views.access.person_of", lambda request: 1 / 0)
    with django_assert_num_queries(0):
        assert client.get("/").status_code == 500


# --- In Chromium ------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_switch_changes_the_page_at_once_and_is_remembered(page: Page, live_server, tmp_path, xray):
    (tmp_path / "chest.jpg").write_bytes(xray())
    page.goto(live_server.url)
    page.locator("#id_file").set_input_files(tmp_path / "chest.jpg")
    switch = page.get_by_role("button", name="Light theme")
    expect(switch).to_have_attribute("aria-pressed", "false")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    with page.expect_response(re.compile("preferences/theme")):
        switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    expect(page.locator("#picked-list li")).to_have_count(1), "what was chosen stays"
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


@pytest.mark.django_db(transaction=True)
def test_theme_and_language_are_switched_without_a_script(browser: Browser, live_server):
    page = browser.new_context(java_script_enabled=False, locale="en").new_page()
    page.goto(f"{live_server.url}/model/")
    page.get_by_role("button", name="Light theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.get_by_role("button", name="العربيّة").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    assert page.url == f"{live_server.url}/model/"
    page.context.close()


IN_DISORDER = """name => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let found = 0;
  while (walker.nextNode()) {
    const at = walker.currentNode.data.indexOf(name);
    if (at < 0 || walker.currentNode.parentElement.closest(".visually-hidden")) continue;
    found += 1;
    const range = document.createRange();
    const left = index => {
      range.setStart(walker.currentNode, at + index);
      range.setEnd(walker.currentNode, at + index + 1);
      return range.getBoundingClientRect().left;
    };
    if (left(0) > left(name.length - 1)) return walker.currentNode.parentElement.outerHTML;
  }
  return found ? null : "not on the page";
}"""


@pytest.mark.django_db(transaction=True)
def test_a_file_name_that_begins_with_digits_keeps_its_order_in_arabic(page: Page, live_server, bob, xray, no_xray):
    name, sender = "013.jpg", access.Person(user=bob)
    made = [services.diagnose(file=ContentFile(data), name=name, sender=sender) for data in (xray(), no_xray)]
    log_in(page, live_server, bob)
    page.set_extra_http_headers({"Accept-Language": "ar"})
    admin = "/admin/diagnosis/prediction/"
    for address in (
        "/",
        "/history/",
        admin,
        *(f"/predictions/{one.pk}/" for one in made),
        f"{admin}{made[0].pk}/change/",
    ):
        page.goto(f"{live_server.url}{address}")
        assert page.evaluate(IN_DISORDER, name) is None, address
    page.goto(f"{live_server.url}/")
    page.set_input_files("#id_file", [{"name": "014.txt", "mimeType": "text/plain", "buffer": b"x"}])
    assert page.evaluate(IN_DISORDER, "014.txt") is None


@pytest.mark.django_db(transaction=True)
def test_a_note_with_a_long_address_fits_a_phone(page: Page, live_server, alice, bob, ada, xray):
    sent = services.diagnose(file=ContentFile(xray()), name="chest.jpg", sender=access.Person(user=alice))
    note = f"https://pacs.example.org/{'7f3a' * 30}"
    reviews.record(sent, by=access.Person(user=bob), reading="Normal", note=note)
    log_in(page, live_server, ada)
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{live_server.url}/predictions/{sent.pk}/")
    expect(page.get_by_text(note)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.goto(f"{live_server.url}/admin/diagnosis/prediction/{sent.pk}/review/")
    page.locator("[name=show]").click()
    expect(page.get_by_text(note)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("results", [0, 6])
def test_the_first_page_is_light_and_nothing_on_it_moves(browser: Browser, live_server, alice, xray, results):
    for seed in range(results):
        file = ContentFile(xray(seed=seed))
        services.diagnose(file=file, name=f"chest-{seed}.jpg", sender=access.Person(user=alice))
    context = browser.new_context(locale="ar", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    log_in(page, live_server, alice)
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[float] = []
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.add_init_script(
        """window.shift = 0;
        new PerformanceObserver(list => list.getEntries().forEach(entry => window.shift += entry.value))
            .observe({type: "layout-shift", buffered: true});"""
    )
    page.goto(live_server.url, wait_until="networkidle")
    assert page.evaluate("document.images.length") >= results
    page.mouse.wheel(0, 2000)
    page.wait_for_timeout(300)
    assert 20_000 < sum(sizes) < 150_000
    assert page.evaluate("window.shift") < 0.01
    context.close()


@pytest.mark.django_db(transaction=True)
def test_names_of_thresholds_are_read_from_right_to_left_in_arabic(browser: Browser, live_server, alice, xray):
    sender = access.Person(user=alice)
    prediction = services.diagnose(file=ContentFile(xray()), name="chest.jpg", sender=sender)
    page = browser.new_context(locale="ar").new_page()
    log_in(page, live_server, alice)
    for address, names in ((prediction.get_absolute_url(), ".scale__name"), ("/dashboard/", ".chart__name")):
        page.goto(live_server.url + address)
        places = page.locator(names).evaluate_all(
            """names => names.map(name => {
                const at = pattern => name.getExtentOfChar(name.textContent.search(pattern)).x;
                return [at(/%/), at(/[0-9]/), at(/[\u0600-\u06ff]/)];
            })"""
        )
        assert len(places) == 2
        for sign, figure, name in places:
            assert sign < figure < name, "the sign stands after its figure, and that after the name"
    page.context.close()


@pytest.mark.django_db(transaction=True)
def test_paper_is_light_and_bears_nothing_to_press(page: Page, live_server, alice, bob, xray):
    sender = access.Person(user=alice)
    prediction = services.diagnose(file=ContentFile(xray()), name="chest.jpg", sender=sender)
    log_in(page, live_server, bob)
    page.emulate_media(media="print")
    darkest = "element => Math.max(...getComputedStyle(element)[%r].match(/[0-9]+/g).slice(0, 3))"
    for address, names in ((prediction.get_absolute_url(), ".scale__name"), ("/dashboard/", ".chart__name")):
        page.goto(live_server.url + address)
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert page.locator("h1").evaluate(darkest % "color") < 128
        assert page.locator(names).first.evaluate(darkest % "fill") < 128
    for address in (prediction.get_absolute_url(), "/dashboard/", "/history/", f"/predictions/{prediction.pk}/report/"):
        page.goto(live_server.url + address)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        for role in ("navigation", "button", "checkbox", "combobox", "slider", "searchbox"):
            expect(page.get_by_role(role)).to_have_count(0)
        expect(page.get_by_role("link", name="Open in the admin")).to_have_count(0)


@pytest.mark.django_db(transaction=True)
def test_forced_colours_leave_thresholds_and_the_present_page_to_be_seen(page: Page, live_server, alice, xray):
    sender = access.Person(user=alice)
    prediction = services.diagnose(file=ContentFile(xray()), name="chest.jpg", sender=sender)
    log_in(page, live_server, alice)
    page.emulate_media(forced_colors="active")
    of = "(element, name) => getComputedStyle(element)[name]"
    ground, text = "rgb(255, 255, 255)", "rgb(0, 0, 0)"  # as Chromium emulates them
    page.goto(live_server.url + prediction.get_absolute_url())
    assert page.locator(".scale__threshold").first.evaluate(of, "fill") == text
    page.goto(f"{live_server.url}/dashboard/")
    assert page.locator(".chart__line").first.evaluate(of, "stroke") == text
    borders = page.locator(".site-nav a").evaluate_all("all => all.map(a => getComputedStyle(a).borderBottomColor)")
    assert [border != ground for border in borders] == [False, False, True, False]


@pytest.mark.django_db(transaction=True)
def test_the_printed_x_ray_is_whole_and_never_flipped(page: Page, live_server, alice, xray):
    sender = access.Person(user=alice)
    prediction = services.diagnose(file=ContentFile(xray()), name="chest.jpg", sender=sender)
    log_in(page, live_server, alice)
    page.goto(live_server.url + prediction.get_absolute_url())
    page.get_by_role("button", name="Flip").click()
    page.emulate_media(media="print")
    expect(page.locator(".viewer__pane").first).to_be_hidden()
    expect(page.locator("#viewer-oriented")).to_be_hidden()
    expect(page.locator("#xray")).to_have_css("opacity", "1")


@pytest.mark.django_db(transaction=True)
def test_the_models_figures_fit_a_phone_and_what_does_not_can_be_scrolled_by_keyboard(page: Page, live_server):
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto(f"{live_server.url}/model/")
    too_wide = "element => element.scrollWidth > element.clientWidth"
    assert not page.get_by_role("region", name="Figures by operating point").evaluate(too_wide)
    assert [term for term in page.locator(".details dt").all() if term.evaluate(too_wide)] == []
    for name in ("Figures under shifts", "Pictures refused by the gate, by kind"):
        table = page.get_by_role("region", name=name)
        table.focus()
        expect(table).to_be_focused()
    assert page.locator(".table:not([tabindex])").count() == 0
