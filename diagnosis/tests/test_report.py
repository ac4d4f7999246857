"""The report of a result: the page to print and the PDF."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from diagnosis import access, report, reviews, services
from diagnosis.inference import serving
from diagnosis.models import AuditEvent, Prediction
from diagnosis.templatetags import figures
from diagnosis.tests.test_pages import DISCLAIMER, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(client, alice, xray):
    client.force_login(alice)

    def send(data: bytes | None = None, name: str = "chest.jpg") -> Prediction:
        file = SimpleUploadedFile("x", data or xray(opacity=1))
        return services.diagnose(file=file, name=name, sender=access.Person(user=alice))

    return send


def address(prediction: Prediction, ending: str) -> str:
    return f"/predictions/{prediction.pk}/report{ending}"


def pages_and_pictures(pdf: bytes) -> tuple[int, int]:
    """How many pages a PDF has, and how many pictures and masks of pictures."""
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    return len(re.findall(rb"/Type /Page\b", pdf)), len(re.findall(rb"/Subtype /Image\b", pdf))


def test_the_page_tells_all_of_the_result(client, sent, bob):
    prediction = sent()
    page = client.get(address(prediction, "/"))
    assert "Nobody has read this picture yet." in text(page)
    reviews.record(prediction, by=access.Person(user=bob), reading="Normal", note="rotated & <b>bold</b>")
    page = client.get(address(prediction, "/"))
    shown = text(page)
    measured = prediction.measured
    for told in (
        prediction.label,
        figures.percent(prediction.threshold),
        figures.interval(measured["sensitivity"]),
        figures.interval(measured["specificity"]),
        "chest.jpg",
        prediction.model_version,
        prediction.decided_at.title,
        str(prediction.pk),
        "Normal (",
        "rotated &amp; &lt;b&gt;bold",
    ):
        assert told.replace("\N{NO-BREAK SPACE}", " ") in shown.replace("\N{NO-BREAK SPACE}", " "), told
    assert DISCLAIMER in shown.lower()
    assert f"/predictions/{prediction.pk}/heatmap.png" in page.content.decode()
    result = client.get(f"/predictions/{prediction.pk}/").content.decode()
    assert f'href="{address(prediction, "/")}"' in result
    assert f'href="{address(prediction, ".pdf")}"' in result


def test_the_pdf_is_one_page_with_picture_and_heatmap(client, sent):
    prediction = sent()
    response = client.get(address(prediction, ".pdf"))
    assert response["Content-Type"] == "application/pdf"
    assert response["Content-Disposition"] == f'attachment; filename="report-{prediction.pk}.pdf"'
    assert "no-store" in response["Cache-Control"]
    pages, pictures = pages_and_pictures(response.content)
    assert pages == 1
    assert pictures == 3, "the X-ray once, the heatmap and how transparent it is"


def test_looking_at_a_report_is_in_the_log(client, sent):
    prediction = sent()
    client.get(address(prediction, "/"))
    client.get(address(prediction, ".pdf"))
    events = AuditEvent.objects.filter(actor="alice", action="viewed", prediction=prediction.pk).order_by("id")
    assert [event.detail for event in events] == ["result, report", "result, PDF"]


def test_a_refused_picture_has_a_report_that_says_so(client, sent, no_xray):
    rejected = sent(no_xray, "board.png")
    shown = text(client.get(address(rejected, "/")))
    assert "Not analysed" in shown
    assert "gave no answer and there is no heatmap" in shown
    assert "Sensitivity" not in shown
    assert pages_and_pictures(client.get(address(rejected, ".pdf")).content) == (1, 1)


def test_what_speaks_against_an_answer_comes_first(sent, no_xray, alice):
    forced = services.analyse_all_the_same(sent(no_xray), by=access.Person(user=alice))
    assert report.report(forced).sentences[0].startswith("Unreliable")
    Prediction.objects.filter(pk=forced.pk).update(status="ok", uncertain=True)
    forced.refresh_from_db()
    said = report.report(forced).sentences
    assert said[0].startswith("Uncertain")
    assert not any("So this picture lies" in sentence for sentence in said)


def test_an_unreliable_answer_is_headed_so_and_claims_no_figures(client, sent, no_xray, alice):
    forced = services.analyse_all_the_same(sent(no_xray), by=access.Person(user=alice))
    said = report.report(forced)
    assert said.answer == f"{forced.label} (unreliable)"
    assert not {"Sensitivity", "Specificity", "Reliability", "Other thresholds"} & dict(said.facts).keys()
    shown = text(client.get(address(forced, "/")))
    assert f"{forced.label} (unreliable)" in shown
    assert "the threshold" not in shown


def test_a_contrary_reading_stands_directly_under_the_answer(client, sent, bob, monkeypatch):
    prediction = sent()
    other = "Normal" if prediction.label == "Pneumonia" else "Pneumonia"
    reviewer = access.Person(user=bob)
    written: list[str] = []
    write = report._Sheet.text
    monkeypatch.setattr(
        report._Sheet, "text", lambda sheet, said, **how: (written.append(said), write(sheet, said, **how))[1]
    )
    for reading, differs in ((other, True), ("Unreadable", False), (prediction.label, False)):
        reviews.record(prediction, by=reviewer, reading=reading)
        second = f"A reviewer read this picture as: {reading}" + (". This differs from the answer." if differs else "")
        assert f"{prediction.label} {second} The network gives" in text(client.get(address(prediction, "/")))
        written.clear()
        report.pdf(prediction)
        assert written[written.index(prediction.label) + 1] == second


@pytest.mark.parametrize(
    ("on", "says"),
    [
        ("test", "children of 1 to 5 years"),
        ("validation", "looks better"),
        (None, "Nobody has measured"),
    ],
)
def test_page_and_report_tell_alike_what_a_model_was_measured_on(client, sent, monkeypatch, on, says):
    prediction = sent()
    figures = prediction.measured
    monkeypatch.setattr(serving, "measured", lambda version, point: figures | {"on": on} if on else None)
    said = dict(report.report(prediction).facts)["Reliability"]
    assert says in said
    for page in (address(prediction, "/"), prediction.get_absolute_url()):
        assert said in text(client.get(page))


@pytest.mark.parametrize(
    "name",
    [
        "صورة الصدر ٢٠٢٦.jpg",
        "胸部X光片-张三.png",
        "レントゲン 엑스레이.tif",
        "שלום <b>&amp; 😀 \ue000 \ud800.jpg".encode("utf-8", "replace").decode(),
        "W" * 251 + ".jpg",
        "e\u0301" * 100,
        "\u2068013.jpg\u2069 \u2066\u2067 \ufffe \U0010fffd \U0001fae8",  # of which the note keeps all
        "=cmd|' /C calc'!A0.jpg",
    ],
)
def test_any_file_name_fits_on_the_page(client, sent, name, bob):
    prediction = sent(name=name)
    reviews.record(prediction, by=access.Person(user=bob), reading="Normal", note=f"{name}\n" * 7 + "x" * 240)
    assert pages_and_pictures(client.get(address(prediction, ".pdf")).content) == (1, 3)


@pytest.mark.parametrize("status", ["ok", "forced"])
def test_the_longest_report_ends_above_the_margin(sent, xray, bob, monkeypatch, status):
    prediction = sent(xray(size=(560, 900), opacity=1), "W" * 255)
    reviews.record(prediction, by=access.Person(user=bob), reading="Normal", note="wide words " * 180)
    prediction.status, prediction.uncertain, prediction.inverted = status, True, True
    prediction.model_version, prediction.operating_point = "m" * 64, "o" * 32
    prediction.quality = ["too_dark", "low_contrast", "low_resolution", "borders", "cut_off"]
    measured = serving.measured(serving.model_version(), "balanced")
    monkeypatch.setattr(serving, "measured", lambda version, point: measured)
    ends = []
    finish = report._Sheet.finish
    monkeypatch.setattr(report._Sheet, "finish", lambda sheet: (ends.append(sheet.y), finish(sheet))[1])
    assert pages_and_pictures(report.pdf(prediction)) == (1, 3)
    assert ends[0] >= report._Sheet.margin


def test_arabic_is_joined_and_stands_from_right_to_left():
    assert report._as_seen(report._lines("صدر.jpg", "DejaVuSans", 9, 300)[0]) == "jpg.\ufeadﺪ\ufebb"


def test_text_is_broken_between_words_and_a_long_word_anywhere():
    report._register_fonts()
    lines = report._lines("one two " + "x" * 60 + " three", "DejaVuSans", 10, 100)
    assert "".join(lines).replace(" ", "") == "onetwo" + "x" * 60 + "three"
    assert all(report._width(line.rstrip(), "DejaVuSans", 10) <= 100 for line in lines)


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WEBP", "PNG"])
def test_every_kind_of_picture_is_printed(client, sent, xray, kind):
    pdf = client.get(address(sent(xray(kind)), ".pdf")).content
    assert pages_and_pictures(pdf) == (1, 3)
    assert len(pdf) < 1_000_000
