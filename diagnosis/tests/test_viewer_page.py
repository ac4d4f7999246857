"""The viewer among the rest of its page: what is seen before it runs, how much room it takes, and what it remembers."""

import pytest
from playwright.sync_api import Page, expect

from diagnosis.tests.test_viewer import show

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("size", [(640, 640), (500, 640)])
def test_a_high_picture_and_its_first_controls_fit_a_low_screen(page: Page, live_server, client, xray, size):
    page.set_viewport_size({"width": 1366, "height": 768})
    show(page, live_server, client, xray(size=size))
    controls = page.get_by_label("Show heatmap").bounding_box()
    assert controls
    assert controls["y"] + controls["height"] < 768
    stage, image = page.locator("#stage").bounding_box(), page.locator("#xray").bounding_box()
    assert image["height"] == pytest.approx(stage["height"], abs=1)
    assert image["width"] / image["height"] == pytest.approx(size[0] / size[1], abs=0.01)


def test_the_thumbnail_is_seen_until_the_picture_is_there(page: Page, live_server, client, xray):
    viewer = show(page, live_server, client, xray())
    held: list = []
    viewer.route("**/xray", lambda route: held.append(route))
    viewer.goto(viewer.url, wait_until="commit")
    soon = viewer.locator(".viewer__soon")
    expect(soon).to_be_visible()
    expect(soon).to_have_js_property("complete", True)
    assert soon.evaluate("image => image.naturalWidth") > 0
    assert soon.bounding_box() == viewer.locator("#xray").bounding_box()
    held[0].continue_()
    viewer.wait_for_selector(".viewer--live")
    expect(soon).to_have_css("opacity", "0")


def test_how_the_heatmap_is_shown_is_kept_for_the_next_picture(page: Page, live_server, client, xray):
    viewer = show(page, live_server, client, xray())
    viewer.get_by_role("slider", name="Opacity").fill("20")
    viewer.get_by_label("Show heatmap").uncheck()
    viewer.goto(viewer.url)
    viewer.wait_for_selector(".viewer--live")
    expect(viewer.get_by_label("Show heatmap")).not_to_be_checked()
    expect(viewer.locator(".viewer__canvas--heatmap").first).to_be_hidden()
    expect(viewer.get_by_role("slider", name="Opacity")).to_have_value("20")
