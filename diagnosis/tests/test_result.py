"""A result: the thresholds of its own model on the scale, and hints about the picture wherever it is told."""

import csv
import io
import re
import uuid

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from diagnosis import access, report, reviews, services
from diagnosis.inference import serving
from diagnosis.models import Hint, Prediction
from diagnosis.templatetags import figures
from diagnosis.tests.test_pages import text
from ml_model import phantom, quality

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(client, alice, xray):
    client.force_login(alice)

    def send(data: bytes | None = None) -> Prediction:
        file = SimpleUploadedFile("x", data or xray())
        return services.diagnose(file=file, name="chest.png", sender=access.Person(user=alice))

    return send


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


DARK = png(phantom.draw(seed=1).point(lambda value: value * 0.35))


def shown(client, prediction: Prediction) -> str:
    return text(client.get(prediction.get_absolute_url())).replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")


def kept(prediction: Prediction, **fields) -> Prediction:
    Prediction.objects.filter(pk=prediction.pk).update(**fields)
    return Prediction.objects.get(pk=prediction.pk)


def percent(operating_point: str) -> str:
    """The served model's threshold, as pages write it."""
    return f"{100 * serving.model_card().operating_points[operating_point].threshold:.1f}"


def test_a_prediction_keeps_the_thresholds_of_its_model_and_shows_both(client, sent):
    prediction = sent()
    card = serving.model_card()
    assert prediction.thresholds == {name: point.threshold for name, point in card.operating_points.items()}
    said = shown(client, prediction)
    assert f"Screening {percent('screening')} %" in said
    assert f"Balanced {percent('balanced')} %" in said
    assert f"{percent('screening')} % to {percent('balanced')} % Uncertain" in said


@pytest.mark.parametrize(
    ("label", "probability", "told"), [("Pneumonia", 0.99996, "over 99.9 %"), ("Normal", 0.00001, "under 0.1 %")]
)
def test_rounding_claims_no_certainty_on_any_page(client, sent, label, probability, told):
    prediction = kept(sent(), label=label, probability=probability, chest_xray_score=0.99999)
    address = prediction.get_absolute_url()
    for page in ("/", "/history/", address, f"{address}report/"):
        said = client.get(page).content.decode().replace("\N{NO-BREAK SPACE}", " ").replace("&nbsp;", " ")
        assert told in said, page
        assert "100.0 %" not in said, page
    said = client.get(address).content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert f"This picture: {told}." in said
    assert re.search(rf"<title>\s*{label}: chest\.png\s", said)


def test_an_older_prediction_shows_the_thresholds_of_its_own_model_and_no_others(client, sent):
    older = kept(sent(), thresholds={"balanced": 0.4, "screening": 0.2}, threshold=0.4, model_version="2026.10-1")
    said = shown(client, older)
    assert "Balanced 40.0 %" in said
    assert "Screening 20.0 %" in said
    assert percent("screening") not in said
    assert percent("balanced") not in said


def test_a_prediction_from_before_thresholds_were_kept_shows_the_one_that_decided(client, sent):
    oldest = kept(sent(), thresholds={})
    said = shown(client, oldest)
    assert f"Balanced {percent('balanced')} %" in said
    assert "Screening" not in said
    assert "Uncertain" not in said
    answer = client.get(f"/api/predictions/{oldest.pk}/").json()
    assert answer["thresholds"] == {"balanced": oldest.threshold}
    assert [fact for term, fact in report.report(oldest).facts if term == "Other thresholds"] == []


def test_a_threshold_is_the_same_figure_on_every_page(client, sent):
    half_way = {"threshold": 0.3125, "thresholds": {"balanced": 0.3125}, "operating_point": "balanced"}
    one, other = (kept(sent(), probability=0.1, label="Normal", uncertain=False, **half_way) for _ in range(2))
    for address in (
        one.get_absolute_url(),
        f"/history/compare/?pick={one.pk}&pick={other.pk}",
        f"/predictions/{one.pk}/report/",
    ):
        said = text(client.get(address))
        assert "31.2" in said, address
        assert "31.3" not in said, address


@pytest.mark.parametrize(
    ("probability", "label", "uncertain", "zone"),
    [
        (0.05, "Normal", False, "under 15.0 % Normal at every operating point"),
        (0.15, "Normal", True, "15.0 % to 35.0 % Uncertain: the operating points disagree"),
        (0.35, "Pneumonia", False, "from 35.0 % upward Pneumonia at every operating point"),
        (1.0, "Pneumonia", False, "from 35.0 % upward Pneumonia at every operating point"),
    ],
)
def test_the_zone_that_the_picture_lies_in_is_told_in_words(client, sent, probability, label, uncertain, zone):
    points = {"thresholds": {"balanced": 0.35, "screening": 0.15}, "threshold": 0.35}
    prediction = kept(sent(), probability=probability, label=label, uncertain=uncertain, **points)
    said = shown(client, prediction)
    assert said.count("This picture ") == 1
    assert f"{zone} This picture" in said


def test_a_fault_of_the_picture_is_told_on_page_report_and_api_and_kept(client, sent):
    prediction = sent(DARK)
    assert prediction.quality == ["too_dark", "low_contrast"]
    for sentence in (str(Hint.TOO_DARK.label), str(Hint.LOW_CONTRAST.label)):
        assert sentence in shown(client, prediction)
        assert sentence in text(client.get(f"/predictions/{prediction.pk}/report/"))
        assert sentence in report.report(prediction).sentences[-1]
    assert client.get(f"/predictions/{prediction.pk}/report.pdf").status_code == 200
    told = client.get(f"/api/predictions/{prediction.pk}/").json()["hints"]
    assert told == [
        {"code": "too_dark", "text": str(Hint.TOO_DARK.label)},
        {"code": "low_contrast", "text": str(Hint.LOW_CONTRAST.label)},
    ]
    (row,) = csv.DictReader(io.StringIO(client.get("/history/export.csv").content.decode()))
    assert row["hints"] == "too_dark low_contrast"


def test_a_negative_is_told_among_the_hints(client, sent):
    negative = sent(png(Image.eval(phantom.draw(seed=1), lambda value: 255 - value)))
    assert negative.inverted
    assert negative.hints == [Hint.INVERTED]
    assert shown(client, negative).count(str(Hint.INVERTED.label)) == 1


def test_a_good_picture_and_an_old_row_bear_no_hint(client, sent):
    assert "About the picture" not in shown(client, sent())
    assert kept(sent(), quality=["what_nobody_measures_any_more"]).hints == []


def test_a_refused_picture_is_told_what_may_be_wrong_with_it(client, sent):
    cut = sent(png(phantom.draw(seed=1).crop((360, 0, 640, 560))))
    assert cut.is_rejected
    assert str(Hint.CUT_OFF.label) in shown(client, cut)
    assert report.report(cut).sentences[-1] == str(Hint.CUT_OFF.label)


def test_an_unreliable_answer_claims_no_certainty_and_no_figures(client, sent):
    prediction = sent()
    certain = shown(client, prediction)
    claims = ["Certainty:", "the threshold", "Screening", "Sensitivity", "Of 100 X-rays"]
    assert all(said in certain for said in claims)
    forced = shown(client, kept(prediction, status="forced"))
    assert not [said for said in claims if said in forced.replace("raised it up to the threshold", "")]
    assert f"{prediction.label} unreliable" in forced
    assert 'class="panel answer is-rejected"' in client.get(prediction.get_absolute_url()).content.decode()


def test_a_reading_stands_directly_under_the_answer_and_as_a_warning_where_it_differs(client, sent, bob):
    prediction = sent()
    other = "Normal" if prediction.label == "Pneumonia" else "Pneumonia"
    reviews.record(prediction, by=access.Person(user=bob), reading=other, note="left lower lobe")
    said = f"{prediction.label} A reviewer read this picture as: {other} This differs from the answer. left lower lobe"
    assert said in shown(client, prediction)
    page = client.get(prediction.get_absolute_url()).content.decode()
    assert page.index('class="notice notice--warning"') < page.index("A reviewer read") < page.index("Probability of")
    assert 'class="panel answer is-rejected"' in page
    reviews.record(prediction, by=access.Person(user=bob), reading=prediction.label)
    agreed = shown(client, prediction)
    assert f"{prediction.label} A reviewer read this picture as: {prediction.label}" in agreed
    assert "differs" not in agreed


def test_of_many_earlier_results_the_newest_are_listed_and_the_others_counted(client, alice, make):
    client.force_login(alice)
    results = [make(f"{age}.jpg", sha256="f" * 64, age=age) for age in range(13)]

    def listed(result: Prediction) -> list[int | None]:
        page = client.get(f"/predictions/{result.pk}/").content.decode()
        section = page.partition('id="earlier-title"')[2].partition("</section>")[0]
        said = re.search(r"And (\d+) results? before these", section)
        return [age for age, one in enumerate(results) if str(one.pk) in section] + [said and int(said[1])]

    assert listed(results[0]) == [*range(1, 11), 2]
    assert listed(results[1]) == [*range(2, 12), 1]
    assert listed(results[2]) == [*range(3, 13), None]


def test_a_picture_that_two_models_answered_was_not_sent_twice(client, sent):
    result = sent()
    Prediction.objects.filter(pk=result.pk).update(model_version="2020.01-1")
    again = Prediction.objects.get(pk=result.pk)
    again.pk, again._state.adding = uuid.uuid4(), True
    again.save()
    assert "same picture before" not in shown(client, again)


def test_an_earlier_sending_is_told_as_the_senders_to_others(client, sent, bob):
    sent()
    again = sent()
    assert "You sent this same picture before" in shown(client, again)
    client.force_login(bob)
    said = shown(client, again)
    assert "The sender sent this same picture before" in said
    assert "You sent" not in said


def test_every_measure_has_a_sentence():
    assert Hint.values == ["inverted", *quality.CODES]


@pytest.mark.parametrize(
    ("size", "told"),
    [(0, "0 kB"), (20, "0.1 kB"), (8_200, "8.2 kB"), (9_999, "10 kB"), (453_600, "454 kB"), (1_400_000, "1.4 MB")],
)
def test_a_size_is_told_in_thousands_of_bytes(size, told):
    assert figures.file_size(size) == told.replace(" ", "\N{NO-BREAK SPACE}")


def test_a_result_tells_the_size_of_its_file_in_the_readers_language(client, sent):
    prediction = sent()
    size = f"{prediction.upload.size / 1000:.0f}"
    address = prediction.get_absolute_url()
    assert f"640 \N{MULTIPLICATION SIGN} 560 pixels, {size} kB" in text(client.get(address))
    arabic = text(client.get(address, headers={"Accept-Language": "ar"}))
    assert f"بكسل، {size} كيلوبايت" in arabic
    assert "ملي ثانية" in arabic
