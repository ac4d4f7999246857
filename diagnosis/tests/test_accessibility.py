"""axe-core finds nothing to mend on any page, in either theme; nothing is wider than a small phone."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.test import Client
from playwright.sync_api import Browser, Page

from diagnosis import access, reviews, services
from diagnosis.models import ApiToken, Prediction

pytestmark = pytest.mark.django_db(transaction=True)

THEMES = ("dark", "light")
# All elements that fail are told, and one of those that pass.
TELL: dict[str, Any] = {"resultTypes": ["violations"]}
RULES = TELL | {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# What Django's own pages of the admin do otherwise is not ours to mend.
RULES_OF_ADMIN = TELL | {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
# The second theme is another in its colours alone.
OF_COLOURS = TELL | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
VISITORS = [
    "/",
    "/history/",
    "/dashboard/",
    "/model/",
    "/accounts/login/",
    "/accounts/sign-up/",
    "/accounts/password/reset/",
]
VISITORS += ["/accounts/password/reset/MQ/old/", "/accounts/logout/"]
ERRORS = ["/nothing/", "/accounts/download?%00", "/preferences/theme"]
OF_A_USER = [
    "/",
    "/history/",
    "/dashboard/",
    "/history/?label=Pneumonia&sort=high",
    "/history/?until=never",
    "/history/compare/?pick={pk}&pick={rejected}",
    "/history/delete/?pick={pk}&pick={rejected}",
    "/predictions/{pk}/?back=",
    "/predictions/{rejected}/",
    "/predictions/{pk}/report/",
    "/accounts/",
    "/accounts/password/",
    "/accounts/delete",
    "/accounts/logout/",
]
OF_STAFF = [
    "/admin/",
    "/admin/diagnosis/prediction/",
    "/admin/diagnosis/prediction/{pk}/change/",
    "/admin/diagnosis/prediction/{pk}/review/",
    "/admin/diagnosis/prediction/agreement/",
    "/admin/diagnosis/prediction/agreement/?readings=all",
]


@pytest.fixture
def addresses(alice, bob, xray, no_xray) -> dict[str, str]:
    """What the pages show: an answer with a reading, a refused picture, a token."""
    send = {"sender": access.Person(user=alice)}
    found = services.diagnose(file=ContentFile(xray()), name="chest.jpg", **send)
    rejected = services.diagnose(file=ContentFile(no_xray), name="board.png", **send)
    forced = services.analyse_all_the_same(rejected, by=access.Person(user=alice))
    reviews.record(found, by=access.Person(user=bob), reading="Pneumonia", note="left lower lobe")
    Prediction.objects.filter(pk=forced.pk).update(uncertain=True)
    ApiToken.objects.create(alice, expiry=None, name="archive")
    return {"pk": str(found.pk), "rejected": str(rejected.pk)}


@pytest.fixture
def page(browser: Browser, settings) -> Iterator[Page]:
    settings.SIGN_UP = True
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.fixture
def look(page: Page, live_server):
    """Opens pages in both themes, or in a language; collects what axe-core finds, and what does not fit a phone."""

    def choose(**cookies: str) -> None:
        page.context.add_cookies([{"name": n, "value": v, "url": live_server.url} for n, v in cookies.items()])

    def check(addresses: list[str], *, themes=THEMES, language="en", rules=RULES, phone=True) -> None:
        found: list[Any] = []
        choose(django_language=language)
        for address in addresses:
            page.goto(live_server.url + address)
            for theme in themes:
                _wear(page, theme)
                found += [(address, theme, *said) for said in violations(page, theme, rules)]
            if phone:
                page.set_viewport_size({"width": 360, "height": 740})
                if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                    found.append((address, language, "wider than 360 px"))
                page.set_viewport_size({"width": 1280, "height": 900})
        assert not found, "\n".join(map(str, found))

    return check


def violations(page: Page, theme: str, rules: dict[str, Any] = RULES) -> list[Any]:
    """What axe-core finds on the page as it stands, with the first of the elements."""
    if page.evaluate("!window.axe"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("options => axe.run(options)", rules if theme == THEMES[0] else OF_COLOURS)
    assert found["passes"], "axe-core looked at something"
    return [(said["id"], said["help"], [node["html"] for node in said["nodes"][:3]]) for said in found["violations"]]


def _wear(page: Page, theme: str) -> None:
    """Show the page in a theme, as the server would have written it."""
    page.evaluate(
        """theme => {
            document.documentElement.dataset.theme = theme;
            document.body.classList.remove("theme-dark", "theme-light");
            if (document.getElementById("branding")) {
                delete document.documentElement.dataset.theme;
                document.body.classList.add(`theme-${theme}`);
            }
        }""",
        theme,
    )


def log_in(page: Page, live_server, user) -> None:
    client = Client()
    client.force_login(user)
    page.context.add_cookies(
        [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
    )


def test_pages_of_visitors_and_errors(look):
    look([*VISITORS, *ERRORS])


def test_pages_of_a_user(look, page, live_server, alice, addresses):
    log_in(page, live_server, alice)
    look([address.format(**addresses) for address in OF_A_USER])


def test_states_of_the_viewer(page, live_server, alice, addresses):
    log_in(page, live_server, alice)
    page.goto(f"{live_server.url}/predictions/{addresses['pk']}/")
    for key in ("m", "s", "w", "?"):
        page.locator("#stage").press(key)
    for theme in THEMES:
        _wear(page, theme)
        assert violations(page, theme) == []


def test_chosen_and_sent_pictures(page, live_server, tmp_path, xray):
    (tmp_path / "chest.jpg").write_bytes(xray())
    (tmp_path / "letter.txt").write_text("Dear doctor")
    page.goto(live_server.url)
    page.locator("#id_file").set_input_files([tmp_path / "chest.jpg", tmp_path / "letter.txt"])
    for _state in ("chosen", "sent"):
        for theme in THEMES:
            _wear(page, theme)
            assert violations(page, theme) == []
        page.get_by_role("button", name="Analyse", exact=True).click()
        page.get_by_role("link", name="Open the result").wait_for()


def test_pages_of_staff(look, page, live_server, addresses):
    root = get_user_model().objects.create_superuser("root", password="secret of root")
    log_in(page, live_server, root)
    look([address.format(**addresses) for address in OF_STAFF], rules=RULES_OF_ADMIN, phone=False)
    page.set_viewport_size({"width": 360, "height": 740})  # where the tables of the last one scroll
    assert violations(page, THEMES[0], RULES_OF_ADMIN) == []


def test_arabic_pages(look, page, live_server, alice, addresses):
    log_in(page, live_server, alice)
    paths = [
        "/",
        "/history/",
        "/dashboard/",
        "/predictions/{pk}/",
        "/predictions/{pk}/report/",
        "/model/",
        "/accounts/",
    ]
    look([path.format(**addresses) for path in paths], language="ar", themes=("dark",))
    assert page.locator("html").get_attribute("dir") == "rtl"


def test_french_pages_fit_a_phone(look, page, live_server, alice, addresses):
    log_in(page, live_server, alice)
    look([path.format(**addresses) for path in OF_A_USER], language="fr", themes=())
