"""The pages as a browser without JavaScript sees them."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from diagnosis.inference import serving
from diagnosis.models import Prediction, Upload
from diagnosis.templatetags import figures
from ml_model import bundle

pytestmark = pytest.mark.django_db

DISCLAIMER = "not for clinical use"


def send(client: Client, *files: tuple[str, bytes], follow: bool = True):
    return client.post("/", {"file": [SimpleUploadedFile(name, data) for name, data in files]}, follow=follow)


def text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_first_page_tells_whom_the_network_learned_from_where_that_is_known(client, monkeypatch):
    said, data = "learned from children", serving.model_card().data
    assert said in client.get("/").content.decode()
    with monkeypatch.context() as read_here:
        read_here.setitem(data, "extra", {"normal": 1, "pneumonia": 0})
        assert said not in client.get("/").content.decode()
    monkeypatch.delitem(data, "population")
    assert said not in client.get("/").content.decode()


def test_first_page_offers_the_form_and_tells_the_limits(client):
    page = client.get("/")
    assert page.status_code == 200
    assert 'name="file"' in page.content.decode()
    assert "25" in text(page)
    assert DISCLAIMER in text(page).lower()


def test_one_picture_leads_to_its_result(client, xray):
    page = send(client, ("chest of <b>me.jpg", xray(opacity=1)))
    assert page.status_code == 200
    prediction = Prediction.objects.get()
    assert page.redirect_chain[-1][0] == f"/predictions/{prediction.pk}/"
    shown = text(page)
    assert prediction.label in shown
    assert f"{prediction.probability_percent:.1f}" in shown
    assert f"{100 * prediction.threshold:.1f}" in shown
    assert serving.model_version() in shown
    assert DISCLAIMER in shown.lower()
    assert "&lt;b&gt;me" in page.content.decode()
    assert f"/predictions/{prediction.pk}/heatmap.png" in page.content.decode()


def test_several_pictures_lead_to_the_history(client, xray):
    page = send(client, ("a.jpg", xray(seed=1)), ("b.png", xray("PNG", seed=2)))
    assert page.redirect_chain[-1][0] == "/history/"
    assert "a.jpg" in text(page)
    assert "b.png" in text(page)


def test_a_bad_file_costs_no_other(client, xray):
    page = send(client, ("good.jpg", xray()), ("letter.pdf", b"%PDF-1.7"), ("broken.jpg", xray()[:3000]))
    assert page.status_code == 200
    shown = text(page)
    assert "letter.pdf" in shown
    assert "JPEG, PNG, TIFF" in shown
    assert "broken.jpg" in shown
    assert "damaged or incomplete" in shown
    assert Upload.objects.get().original_name == "good.jpg"


@pytest.mark.parametrize(("data", "status"), [(b"", 415), (b"hello", 415), (b"\xff\xd8\xff\xe0 broken", 415)])
def test_only_a_bad_file_is_an_error_page_with_the_form(client, data, status):
    page = send(client, ("x.jpg", data))
    assert page.status_code in (status, 422)
    assert "x.jpg" in text(page)
    assert 'name="file"' in page.content.decode()


def test_what_is_no_chest_xray_is_refused_kept_and_analysed_on_request(client, no_xray):
    page = send(client, ("board.png", no_xray))
    assert page.status_code == 422
    assert "does not look like a frontal chest X-ray" in text(page)
    rejected = Prediction.objects.get()
    address = f"/predictions/{rejected.pk}/all-the-same"
    assert f'action="{address}"' in page.content.decode()
    for path in (f"/predictions/{rejected.pk}/", "/history/", "/"):
        assert "Not analysed" in text(client.get(path)), path
    assert Client().post(address).status_code == 404

    page = client.post(address, follow=True)
    forced = Prediction.objects.get(status="forced")
    assert page.redirect_chain[-1][0] == f"/predictions/{forced.pk}/"
    assert forced.upload == rejected.upload
    assert "Unreliable" in text(page)
    assert forced.label in text(page)
    assert client.post(address).url == f"/predictions/{forced.pk}/"  # as after going back
    assert Prediction.objects.filter(status="forced").get() == forced


def test_two_requests_for_a_refused_picture_at_the_same_time_make_one_result(client, no_xray, monkeypatch, settings):
    send(client, ("board.png", no_xray))
    address = f"/predictions/{Prediction.objects.get().pk}/all-the-same"
    diagnose = serving.diagnose

    def after_a_quicker_twin(picture, **options):
        monkeypatch.setattr(serving, "diagnose", diagnose)
        client.post(address)
        return diagnose(picture, **options)

    monkeypatch.setattr(serving, "diagnose", after_a_quicker_twin)
    page = client.post(address)
    assert page.url == f"/predictions/{Prediction.objects.get(status='forced').pk}/"
    assert len(list(Path(settings.MEDIA_ROOT).rglob("heatmap.png"))) == 1


def test_an_answered_picture_is_not_analysed_again(client, xray):
    send(client, ("a.jpg", xray()))
    prediction = Prediction.objects.get()
    for ask in (client.post, client.get):
        page = ask(f"/predictions/{prediction.pk}/all-the-same")
        assert page["Location"] == f"/predictions/{prediction.pk}/"
    assert Prediction.objects.count() == 1


def test_without_a_classifier_a_refused_picture_stays(client, no_xray, monkeypatch):
    send(client, ("board.png", no_xray))
    rejected = Prediction.objects.get()
    monkeypatch.setattr(serving, "_classifier", None)
    page = client.post(f"/predictions/{rejected.pk}/all-the-same")
    assert page.status_code == 503
    assert "try again later" in text(page)


def test_the_form_offers_the_operating_points(client, xray):
    assert client.get("/").content.decode().count('name="operating_point"') == 2
    page = client.post("/", {"file": SimpleUploadedFile("a.jpg", xray()), "operating_point": "screening"}, follow=True)
    assert Prediction.objects.get().operating_point == "screening"
    assert "Sensitivity" in text(page)
    page = client.post("/", {"file": SimpleUploadedFile("a.jpg", xray()), "operating_point": "wishful"})
    assert page.status_code == 400
    assert "wishful" in text(page)


def test_the_operating_point_stays_as_it_was_chosen(client, xray):
    def ticked(response) -> list[str]:
        return re.findall(r'value="(\w+)"\s+checked', response.content.decode())

    assert ticked(client.get("/")) == ["balanced"]
    assert ticked(client.post("/", {"operating_point": "screening"})) == ["screening"], "no file was chosen"
    assert ticked(client.get("/")) == ["balanced"]
    letter = SimpleUploadedFile("letter.jpg", b"Dear doctor")
    assert ticked(client.post("/", {"file": letter, "operating_point": "screening"})) == ["screening"]
    client.post("/", {"file": SimpleUploadedFile("a.jpg", xray()), "operating_point": "screening"})
    assert ticked(client.get("/")) == ["screening"]
    client.post("/", {"file": SimpleUploadedFile("a.jpg", xray()), "operating_point": "balanced"})
    assert not client.cookies["operating_point"].value, "the site's own choice may change"
    client.cookies["operating_point"] = "wishful"
    assert ticked(client.get("/")) == ["balanced"]


def test_no_file_and_too_many_files_are_told(client, xray, settings):
    assert "Choose at least one" in text(client.post("/"))
    settings.MAX_FILES_PER_REQUEST = 2
    page = send(client, *[(f"{n}.jpg", xray()) for n in range(3)])
    assert page.status_code == 400
    assert "at most 2" in text(page)
    assert not Upload.objects.exists()


def test_pages_and_api_count_analyses_together_and_the_excess_costs_no_other(client, alice, xray, monkeypatch):
    monkeypatch.setattr("diagnosis.api.throttles.PredictThrottle.THROTTLE_RATES", {"predict": "3/min"})
    client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())})
    page = send(client, *[(f"{number}.jpg", xray(seed=number)) for number in range(4)])
    assert page.status_code == 200
    assert "2 pictures were analysed" in text(page)
    waits = re.findall(
        r"Too many pictures in too short a time: this one was not analysed. Try again in (\d+) seconds?\.", text(page)
    )
    assert re.findall(r"(\d\.jpg) Too many pictures", text(page)) == ["2.jpg", "3.jpg"]
    assert 0 < int(waits[0]) <= int(page["Retry-After"]) <= 60
    assert Upload.objects.count() == 3

    page = send(client, ("late.jpg", xray()))
    assert page.status_code == 429
    assert 0 < int(page["Retry-After"]) <= 60
    assert 'name="file"' in page.content.decode()
    assert client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())}).status_code == 429
    assert Upload.objects.count() == 3

    other = Client()
    other.force_login(alice)
    assert send(other, ("x.jpg", xray())).redirect_chain[-1][0].startswith("/predictions/")
    other.post("/", {"file": [SimpleUploadedFile(f"{number}.jpg", xray()) for number in range(2)]})
    assert send(other, ("x.jpg", xray())).status_code == 429
    assert Upload.objects.filter(owner=alice).count() == 3


def test_analysing_all_the_same_counts_as_an_analysis(client, no_xray, monkeypatch):
    monkeypatch.setattr("diagnosis.api.throttles.PredictThrottle.THROTTLE_RATES", {"predict": "1/hour"})
    send(client, ("board.png", no_xray))
    page = client.post(f"/predictions/{Prediction.objects.get().pk}/all-the-same")
    assert page.status_code == 429
    assert 0 < int(page["Retry-After"]) <= 3600
    assert re.search(r"Try again in \d+ minutes\.", text(page))
    assert Prediction.objects.get().is_rejected


def test_a_body_over_the_limit_gets_a_page_that_says_so(client):
    page = client.post("/", b"", content_type="multipart/form-data; boundary=x", CONTENT_LENGTH="99999999999")
    assert page.status_code == 413
    assert "25" in text(page)


def test_a_damaged_picture_tag_in_the_name_is_harmless(client, xray):
    send(client, ("../../etc/\x00pass\nwd" + "x" * 300 + ".jpg", xray()))
    upload = Upload.objects.get()
    assert "/" not in upload.original_name
    assert len(upload.original_name) <= 255
    assert upload.file.name.startswith("uploads/")


def test_without_a_classifier_the_page_says_so(client, xray, monkeypatch):
    monkeypatch.setattr(serving, "_classifier", None)
    page = send(client, ("a.jpg", xray()))
    assert page.status_code == 503
    assert "try again later" in text(page)
    chosen = {"file": SimpleUploadedFile("a.jpg", xray()), "operating_point": "screening"}
    page = client.post("/", chosen)
    assert page.status_code == 503
    assert "operating_point" not in page.cookies, "nobody knows whether there is such a one"


def test_the_same_picture_again_shows_its_earlier_result_and_is_recorded(client, xray):
    data = xray(opacity=1)
    first = send(client, ("monday.jpg", data))
    assert "same picture before" not in text(first)
    second = send(client, ("tuesday.jpg", data))
    assert Upload.objects.count() == Prediction.objects.count() == 2
    earlier, later = Prediction.objects.order_by("created")
    assert second.redirect_chain[-1][0] == f"/predictions/{later.pk}/"
    assert "You sent this same picture before" in text(second)
    assert f"/predictions/{earlier.pk}/" in second.content.decode()
    assert "same picture before" not in text(send(Client(), ("other.jpg", data)))


def test_empty_history_and_empty_filter_lead_on(client, xray):
    assert 'href="/"' in client.get("/history/").content.decode()
    send(client, ("a.jpg", xray()))
    other = "Normal" if Prediction.objects.get().label == "Pneumonia" else "Pneumonia"
    assert client.get(f"/history/?label={other}").status_code == 200


def test_tiff_is_shown_as_png(client, xray):
    send(client, ("a.tif", xray("TIFF")))
    response = client.get(f"/predictions/{Prediction.objects.get().pk}/xray")
    assert response["Content-Type"] == "image/png"
    assert response.content.startswith(b"\x89PNG")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "private" in response["Cache-Control"]


def test_anonymous_uploads_can_be_switched_off(client, xray, settings):
    settings.ANONYMOUS_UPLOADS = False
    assert "/accounts/login/" in client.get("/").content.decode()
    refused = send(client, ("a.jpg", xray()), follow=False)
    assert (refused.status_code, refused["Location"]) == (302, "/accounts/login/?next=/")
    assert not Upload.objects.exists()


def test_without_a_role_nobody_is_asked_to_log_in_once_more(client, django_user_model, settings):
    settings.ANONYMOUS_UPLOADS = False
    client.force_login(django_user_model.objects.create_user("norole"))
    page = client.get("/")
    assert "You have no role yet" in text(page)
    assert "log in" not in text(page).lower()
    assert "/accounts/login/" not in page.content.decode()


def test_a_person_can_log_in_and_out(client, alice):
    page = client.post("/accounts/login/", {"username": "alice", "password": "secret of alice"}, follow=True)
    assert "alice" in text(page)
    page = client.post("/accounts/logout/", follow=True)
    assert "alice" not in text(page)
    assert client.post("/accounts/login/", {"username": "alice", "password": "wrong"}).status_code == 200


@pytest.mark.parametrize("path", ["/nowhere", "/predictions/1/", "/predictions/00000000-0000-4000-8000-000000000000/"])
def test_what_is_not_there_is_a_page_that_leads_back(client, path):
    page = client.get(path)
    assert page.status_code == 404
    assert 'href="/"' in page.content.decode()


def test_pages_bring_nothing_from_elsewhere_and_no_inline_code(client, xray):
    send(client, ("a.jpg", xray()))
    result = f"/predictions/{Prediction.objects.get().pk}/"
    for path in ("/", "/history/", "/dashboard/", result, "/accounts/login/"):
        page = client.get(path).content.decode()
        assert not re.search(r"(src|href)=[\"'](https?:)?//", page)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_the_model_page_tells_use_figures_and_limits(client):
    page = client.get("/model/")
    assert page.status_code == 200
    shown = text(page)
    card = serving.model_card()
    assert shown.lower().count(DISCLAIMER) == 2, "of the model, and below every page"
    assert card.version in shown
    assert card.intended_use in shown
    for at in card.metrics["test"]["operating_points"].values():
        assert f"{100 * at['sensitivity']['low']:.1f} to {100 * at['sensitivity']['high']:.1f}" in shown
    assert "phone photo" in shown
    assert card.files["pneumonia_cnn.h5"] in shown
    for source in re.findall(r'src="(/model/[^"]+)"', page.content.decode()):
        plot = client.get(source)
        assert (plot.status_code, plot["Content-Type"]) == (200, "image/svg+xml")


@pytest.mark.parametrize("name", ["nothing", "..%2fmodel_card", "model_card"])
def test_only_plots_are_served(client, name):
    assert client.get(f"/model/{name}.svg").status_code == 404


def test_plots_are_of_the_pictures_whose_figures_are_shown(client, settings, tmp_path):
    folder = Path(shutil.copytree(bundle.current(), tmp_path / "copy"))
    (folder / "report" / "other").mkdir()
    (folder / "report" / "other" / "another_plot.svg").write_text("<svg/>")
    settings.MODEL_BUNDLE = str(folder)
    serving.load()
    assert serving.measured_on(serving.model_card()) == "test"
    page = client.get("/model/").content.decode()
    assert "roc_curve" in page
    assert "another_plot" not in page
    assert client.get("/model/another_plot.svg").status_code == 404


def test_the_model_page_of_a_model_that_nobody_measured(client, monkeypatch):
    unmeasured = replace(serving.model_card(), metrics={}, data={}, gate=None)
    monkeypatch.setattr(serving, "model_card", lambda: unmeasured)
    monkeypatch.setattr(serving, "report_plots", dict)
    page = client.get("/model/")
    assert page.status_code == 200
    assert "Nobody has measured" in text(page)
    assert "This model has none" in text(page)


def test_the_model_page_without_a_model(client, monkeypatch):
    monkeypatch.setattr(serving, "_classifier", None)
    page = client.get("/model/")
    assert page.status_code == 503
    assert "No model is loaded" in text(page)


@pytest.mark.parametrize("path", ["/", "/history/", "/model/", "/accounts/login/"])
def test_pages_answer_to_head(client, path):
    assert client.head(path).status_code == 200


def test_the_model_page_rounds_its_figures_as_the_report_does(client):
    figures = serving.model_card().metrics["test"]
    page = client.get("/model/").content.decode()
    for name in ("auroc", "calibration_error"):
        assert "{value:.3f} ({low:.3f} to {high:.3f})".format(**figures[name]) in page


def test_a_result_says_in_plain_words_how_often_the_model_is_right(client, xray):
    client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())})
    page = client.get(Prediction.objects.get().get_absolute_url()).content.decode()
    point = serving.model_card().metrics["test"]["operating_points"]["balanced"]
    finds, clears = (f"{100 * point[name]['value']:.0f}" for name in ("sensitivity", "specificity"))
    assert f"Of 100 X-rays with pneumonia it finds {finds}; of 100 normal ones it clears {clears}." in page


@pytest.mark.parametrize(("share", "told"), [(0.9974, 99), (0.996, 99), (0.897, 90), (0.0021, 1), (1.0, 100), (0.0, 0)])
def test_of_a_hundred_none_or_all_is_said_where_it_was_so(share, told):
    assert figures.of_hundred(share) == told


def test_a_result_says_what_a_heatmap_without_colour_means(client, xray):
    client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray())})
    address = Prediction.objects.get().get_absolute_url()
    for page in (address, f"{address}report/"):
        assert "where nothing is coloured, no single place raised it much" in client.get(page).content.decode()
