"""Pictures that wait on the upload page while somebody logs in or out: they go to nobody else."""

import pytest
from django.test import Client
from playwright.sync_api import Page, expect

from diagnosis.models import Upload
from diagnosis.tests.test_upload_many import analyse, choose, row

pytestmark = pytest.mark.django_db(transaction=True)


def log_in(page: Page, live_server) -> None:
    page.goto(f"{live_server.url}/accounts/login/")
    page.get_by_label("User name").fill("alice")
    page.get_by_label("Password").fill("secret of alice")
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{live_server.url}/")


def test_whoever_logs_in_in_another_tab_sends_from_this_one(upload_page: Page, live_server, pictures, alice):
    log_in(upload_page.context.new_page(), live_server)
    choose(upload_page, pictures[:2])
    analyse(upload_page)
    expect(upload_page.get_by_role("link", name="Open the result")).to_have_count(2)
    assert Upload.objects.filter(owner=alice).count() == 2


@pytest.mark.parametrize("lost", ["sessionid", "csrftoken"])
def test_whoever_is_logged_out_meanwhile_is_told_so_and_goes_on(
    page: Page, live_server, pictures, alice, settings, lost
):
    settings.ANONYMOUS_UPLOADS = False
    log_in(page, live_server)
    page.context.clear_cookies(name=lost)
    choose(page, pictures[:2])
    analyse(page)
    first = row(page, "first.jpg")
    expect(first).to_contain_text("You are no longer logged in. Log in in another tab, then try again.")
    assert not Upload.objects.exists()
    with page.expect_popup() as opened:
        first.get_by_role("link", name="Log in").click()
    log_in(opened.value, live_server)
    page.get_by_role("button", name="Try the failed ones again").click()
    expect(page.get_by_role("link", name="Open the result")).to_have_count(2)
    assert Upload.objects.filter(owner=alice).count() == 2


@pytest.mark.parametrize("meanwhile", ["nobody", "charlie"])
def test_what_somebody_chose_goes_to_nobody_else(page: Page, live_server, pictures, alice, charlie, meanwhile):
    """Whoever is logged out meanwhile is a visitor, and two of their pictures at once would belong to two."""
    log_in(page, live_server)
    page.context.clear_cookies(name="sessionid")
    if meanwhile == "charlie":
        client = Client()
        client.force_login(charlie)
        cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
        page.context.add_cookies([cookie])
    choose(page, pictures)
    analyse(page)
    expect(page.locator(".total__counts")).to_contain_text("Failed: 3")
    expect(row(page, "first.jpg")).to_contain_text("You are no longer logged in.")
    assert not Upload.objects.exists()
    page.context.clear_cookies(name="sessionid")
    log_in(page.context.new_page(), live_server)
    page.get_by_role("button", name="Try the failed ones again").click()
    expect(page.get_by_role("link", name="Open the result")).to_have_count(3)
    assert Upload.objects.filter(owner=alice).count() == 3


def test_what_was_refused_can_be_analysed_from_the_list_found_again(page: Page, live_server, tmp_path, no_xray, alice):
    (tmp_path / "board.png").write_bytes(no_xray)
    log_in(page, live_server)
    choose(page, [tmp_path / "board.png"])
    analyse(page)
    expect(row(page, "board.png").get_by_role("button", name="Analyse it anyway")).to_be_visible()
    page.reload()
    expect(page.locator("#picked img")).to_be_visible()
    row(page, "board.png").get_by_role("link", name="Open the result").click()
    page.get_by_role("button", name="Analyse it anyway").click()
    expect(page.get_by_text("Unreliable").first).to_be_visible()


def test_the_list_is_found_again_by_its_own_account_alone(page: Page, live_server, pictures, alice, charlie):
    log_in(page, live_server)
    choose(page, pictures[:2])
    analyse(page)
    expect(page.get_by_role("link", name="Open the result")).to_have_count(2)
    page.reload()
    expect(page.get_by_role("link", name="Open the result")).to_have_count(2)
    client = Client()
    client.force_login(charlie)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    page.context.add_cookies([cookie])
    page.reload()
    expect(page.locator("#picked")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0
