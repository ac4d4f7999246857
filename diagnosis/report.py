"""A result on one sheet, in words, for the printable page and the PDF alike."""

import functools
import importlib.util
import io
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils import formats, timezone
from django.utils.translation import get_language, get_language_bidi
from django.utils.translation import gettext as _

from diagnosis.inference import serving
from diagnosis.models import Prediction
from diagnosis.templatetags import figures, words


@dataclass(frozen=True)
class Report:
    """What a report says of one prediction.

    answer: in a word. sentences: what that means, what speaks against it first. facts: a term and
    what it is. reading: of the reviewer whose reading holds, with the time, the note, and whether it
    differs from the answer.
    """

    answer: str
    sentences: list[str]
    facts: list[tuple[str, str]]
    reading: str = ""
    read_at: str = ""
    note: str = ""
    differs: bool = False

    @property
    def second(self) -> str:
        """What stands below the answer, before all that explains it: the reading, where there is one."""
        if not self.reading:
            return ""
        said = _("A reviewer read this picture as: %(reading)s") % {"reading": self.reading}
        return f"{said}. {_('This differs from the answer.')}" if self.differs else said

    @property
    def disclaimer(self) -> str:
        return _("For education and research. Not for clinical use without validation.")


def report(prediction: Prediction) -> Report:
    """What is to be said of `prediction`."""
    review = prediction.reviews.first()
    return Report(
        answer=prediction.answer or _("Not analysed"),
        sentences=list(_sentences(prediction)),
        facts=list(_facts(prediction)),
        reading=str(review.get_reading_display()) if review else "",
        read_at=_time(review.created) if review else "",
        note=review.note if review else "",
        differs=review.differs if review else False,
    )


def _sentences(prediction: Prediction) -> Iterator[str]:
    if prediction.probability is None:
        yield _(
            "This does not look like a frontal chest X-ray. "
            "The network knows nothing else, so it gave no answer and there is no heatmap."
        )
        yield from _hints(prediction)
        return
    if prediction.is_forced:
        yield _(
            "Unreliable: this does not look like a frontal chest X-ray, and was analysed because somebody asked for it."
        )
    elif prediction.uncertain:
        yield _(
            "Uncertain: the probability lies between the thresholds of the operating points, "
            "so another choice gives the other answer."
        )
    said = _(
        "The network gives a probability of pneumonia of %(probability)s. It answers pneumonia from %(threshold)s."
    )
    yield said % {
        "probability": figures.probability(prediction.probability),
        "threshold": figures.percent(prediction.threshold),
    }
    if not (prediction.uncertain or prediction.is_forced):
        yield _("So this picture lies %(certainty)s.") % {"certainty": prediction.certainty}
    yield from _hints(prediction)


def _hints(prediction: Prediction) -> Iterator[str]:
    if prediction.hints:
        yield " ".join(str(hint.label) for hint in prediction.hints)


def _facts(prediction: Prediction) -> Iterator[tuple[str, str]]:
    upload = prediction.upload
    yield _("File name"), upload.original_name
    yield _("Picture"), _("%(width)d x %(height)d pixels") % {"width": upload.width, "height": upload.height}
    yield _("Analysed"), _time(prediction.created)
    yield _("Model version"), prediction.model_version
    if prediction.probability is not None:
        yield _("Probability of pneumonia"), figures.probability(prediction.probability)
        at = {"name": words.named(prediction.operating_point), "threshold": figures.percent(prediction.threshold)}
        yield _("Operating point"), _("%(name)s, threshold %(threshold)s") % at
    if prediction.probability is not None and not prediction.is_forced:
        if others := [point for point in prediction.operating_points if not point.decided]:
            yield (
                _("Other thresholds"),
                ", ".join(f"{words.named(at.name)} {figures.percent(at.threshold)}" for at in others),
            )
        if measured := prediction.measured:
            yield _("Sensitivity"), figures.interval(measured["sensitivity"])
            yield _("Specificity"), figures.interval(measured["specificity"])
        yield _("Reliability"), figures.how_measured(prediction.measured)
    if prediction.chest_xray_score is not None:
        yield _("Chest X-ray score"), figures.probability(prediction.chest_xray_score)
    yield _("Identifier"), str(prediction.pk)


def _time(when: Any) -> str:
    local = timezone.localtime(when)
    return f"{formats.date_format(local, 'DATETIME_FORMAT')} {formats.date_format(local, 'T')}"


def pdf(prediction: Prediction) -> bytes:
    """The report as a PDF of one A4 page."""
    said = report(prediction)
    sheet = _Sheet(title=_("Chest X-ray report"))
    sheet.text("Pneumonia Site", size=9, colour=_QUIET)
    sheet.text(_("Chest X-ray report"), size=11, bold=True)
    sheet.space(8)
    sheet.text(said.answer, size=24, bold=True)
    if said.second:
        sheet.space(4)
        sheet.text(said.second, size=11, bold=True)
    sheet.space(2)
    for sentence in said.sentences:
        sheet.text(sentence, most_lines=8)
    # Each hint takes about a line more than the longest report has room for.
    sheet.picture_height -= 15 * max(len(prediction.hints) - 1, 0)
    sheet.space(8)
    with prediction.upload.file.open() as file:
        xray = serving.printable_jpeg(file.read())
    if prediction.is_rejected:
        sheet.pictures([(xray, None, _("The picture"))])
    else:
        with prediction.heatmap.open() as file:
            heatmap = file.read()
        sheet.pictures([(xray, None, _("The X-ray")), (xray, heatmap, _("Heatmap over the X-ray"))])
        sheet.text(
            figures.heatmap_legend(),
            size=8,
            colour=_QUIET,
        )
    sheet.space(8)
    for term, fact in said.facts:
        sheet.fact(term, fact)
    if said.reading:
        sheet.fact(_("Reviewer's reading"), f"{said.reading} ({said.read_at})", bold=True)
        if said.note:
            sheet.fact(_("Reviewer's note"), said.note, most_lines=7)
    elif not prediction.is_rejected:
        sheet.fact(_("Reviewer's reading"), _("Nobody has read this picture yet."))
    sheet.space(10)
    sheet.text(said.disclaimer, size=11, bold=True)
    return sheet.finish()


_QUIET = 0.35
_REGULAR, _BOLD = "DejaVuSans", "DejaVuSans-Bold"


class _Sheet:
    """One A4 page, written from top to bottom."""

    margin = 50.0
    picture_height = 195.0

    def __init__(self, title: str):
        from reportlab.lib.pagesizes import A4
        from reportlab.pdfgen.canvas import Canvas

        _register_fonts()
        self.file = io.BytesIO()
        self.canvas = Canvas(self.file, pagesize=A4, lang=get_language())
        self.canvas.setTitle(title)
        self.canvas.setAuthor("Pneumonia Site")
        self.width = A4[0] - 2 * self.margin
        self.y = A4[1] - self.margin
        self.from_right = get_language_bidi()

    def _left(self, x: float, width: float) -> float:
        """Where on the paper something `width` wide begins that stands `x` from the side where reading begins."""
        return self.margin + (self.width - x - width if self.from_right else x)

    def space(self, points: float) -> None:
        self.y -= points

    def text(
        self,
        text: str,
        *,
        size: float = 10,
        bold: bool = False,
        colour: float = 0,
        x: float = 0,
        width: float = 0,
        most_lines: int = 6,
    ) -> None:
        """Lines below what is there. What is longer than `most_lines` ends in an ellipsis."""
        font = _BOLD if bold else _REGULAR
        lines = _lines(text, font, size, width or self.width - x)
        if len(lines) > most_lines:
            lines = [*lines[: most_lines - 1], lines[most_lines - 1].rstrip()[:-1] + "…"]
        self.canvas.setFillGray(colour)
        for line in lines:
            self.y -= 1.35 * size
            seen = _as_seen(line, from_right=self.from_right)
            at = self._left(x, _width(seen, font, size))
            for run, run_font in _runs(seen, font):
                self.canvas.setFont(run_font, size)
                self.canvas.drawString(at, self.y, run)
                at += self.canvas.stringWidth(run, run_font, size)

    def fact(self, term: str, fact: str, *, bold: bool = False, most_lines: int = 3) -> None:
        """A term and, beside it, what it is."""
        top = self.y
        self.text(term, size=9, colour=_QUIET, width=135)
        below, self.y = self.y, top
        self.text(fact, size=9, bold=bold, x=145, most_lines=most_lines)
        self.y = min(below, self.y) - 2

    def pictures(self, pictures: list[tuple[bytes, bytes | None, str]]) -> None:
        """Side by side: JPEG, what lies over it, and what it is called."""
        from reportlab.lib.utils import ImageReader

        gap = 12.0
        width = (self.width - gap) / 2
        top = self.y
        for column, (picture, over, caption) in enumerate(pictures):
            x = column * (width + gap)
            self.y = top
            self.text(caption, size=8, colour=_QUIET, x=x, width=width)
            self.space(4)
            across, up = ImageReader(io.BytesIO(picture)).getSize()
            scale = min(width / across, self.picture_height / up)
            box = (self._left(x, across * scale), self.y - up * scale, across * scale, up * scale)
            self.canvas.drawImage(ImageReader(io.BytesIO(picture)), *box)
            if over:
                self.canvas.saveState()
                self.canvas.setFillAlpha(0.6)
                self.canvas.drawImage(ImageReader(io.BytesIO(over)), *box, mask="auto")
                self.canvas.restoreState()
            self.y -= up * scale
        self.space(4)

    def finish(self) -> bytes:
        self.canvas.showPage()
        self.canvas.save()
        return self.file.getvalue()


# File names and notes come in any script. DejaVu has the alphabets; for Chinese, Japanese and
# Korean the PDF names fonts that every viewer brings or replaces; a character that none of them
# has is shown as a question mark in a diamond.

_OTHER_FONTS = [
    ("HeiseiMin-W3", re.compile("[\u3040-\u30ff]")),
    ("HYSMyeongJo-Medium", re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")),
    ("STSong-Light", re.compile("[\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")),
]


@functools.cache
def _register_fonts() -> None:
    """Make the fonts known; DejaVu lies in matplotlib's package, which is not imported for that."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfbase.ttfonts import TTFont

    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is None or matplotlib.origin is None:
        raise RuntimeError("matplotlib, which brings the report's fonts, is not installed.")
    folder = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf"
    for name in (_REGULAR, _BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    for name, _characters in _OTHER_FONTS:
        pdfmetrics.registerFont(UnicodeCIDFont(name))


def _font_of(character: str, font: str) -> str | None:
    from reportlab.pdfbase import pdfmetrics

    if ord(character) in pdfmetrics.getFont(font).face.charToGlyph:
        return font
    return next((name for name, characters in _OTHER_FONTS if characters.match(character)), None)


def _runs(text: str, font: str) -> Iterator[tuple[str, str]]:
    """`text` in pieces of one font each, as (piece, font)."""
    run, run_font = "", font
    for character in text:
        found = _font_of(character, font)
        if found is None:
            character, found = "\N{REPLACEMENT CHARACTER}", font
        if found != run_font and run:
            yield run, run_font
            run = ""
        run, run_font = run + character, found
    if run:
        yield run, run_font


def _width(text: str, font: str, size: float) -> float:
    from reportlab.pdfbase.pdfmetrics import stringWidth

    return sum(stringWidth(run, run_font, size) for run, run_font in _runs(text, font))


def _lines(text: str, font: str, size: float, width: float) -> list[str]:
    """`text` in lines that fit `width`, broken between words where there are any, in the order of reading."""
    import arabic_reshaper

    lines = []
    for paragraph in arabic_reshaper.reshape(_with_direction(text)).splitlines() or [""]:
        line = ""
        for word in re.findall(r"\S+\s*|\s+", paragraph):
            if line and _width(line + word.rstrip(), font, size) > width:
                lines.append(line)
                line = ""
            while _width(word.rstrip(), font, size) > width:
                ends = itertools.accumulate(_width(character, font, size) for character in word)
                fits = max(1, sum(1 for _end in itertools.takewhile(lambda end: end <= width, ends)))
                lines.append(word[:fits])
                word = word[fits:]
            line += word
        lines.append(line)
    return lines


_ISOLATES = dict.fromkeys(map(ord, "\u2066\u2067\u2068\u2069"))


def _with_direction(text: str) -> str:
    """`text` as `_as_seen` can order it: python-bidi fails at isolates, which word processors and messengers put around
    words, and at what this Python's Unicode has not assigned, such as the newest emoji."""
    return "".join(
        character if unicodedata.bidirectional(character) else "\N{REPLACEMENT CHARACTER}"
        for character in text.translate(_ISOLATES)
    )


def _as_seen(line: str, *, from_right: bool = False) -> str:
    """A line of letters from left to right, as they stand on paper; from_right: whether it is read in Arabic."""
    from bidi.algorithm import get_display

    return str(get_display(line.rstrip(), base_dir="R" if from_right else None))
