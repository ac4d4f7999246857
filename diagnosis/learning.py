"""Reviewed pictures as training data: what people read, in the layout that training reads."""

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Coalesce

from diagnosis import audit
from diagnosis.inference import workshop
from diagnosis.models import Review

COLUMNS = (
    "file",
    "sha256",  # of the file as it was sent
    "reading",
    "reviewer",
    "reviewed",
    "blind",
    "model_version",
    "model_label",
    "probability",
    "prediction",
)


class ExportRefused(Exception):
    """Nothing, or not all, could be written. `str()` says why."""


@dataclass(frozen=True)
class Exported:
    """How many pictures were written of each class, and how many were left out and why.

    not_blind: pictures without a blind reading, left out or, where all were asked for, among those written.
    """

    normal: int = 0
    pneumonia: int = 0
    unreadable: int = 0
    negatives: int = 0
    not_blind: int = 0


def readings() -> QuerySet[Review]:
    """The reading of each picture that has one: the latest of all sendings of the same file, by whomever.

    The latest blind one, where there is such: whoever has seen the answer tends to agree with it, and a model that
    learned from them would learn its own mistakes.
    """
    latest = Coalesce(Max("pk", filter=Q(blind=True)), Max("pk"))
    of_pictures = Review.objects.order_by().values("prediction__upload__sha256").annotate(latest=latest)
    chosen = Review.objects.filter(pk__in=of_pictures.values("latest"))
    return chosen.select_related("prediction__upload", "reviewer").order_by("pk")


def export_reviewed(folder: Path, *, blind: bool = True) -> Exported:
    """Write every picture with a blind reading to `folder`/{NORMAL,PNEUMONIA} and tell of each in the manifest.

    blind: if False, those without a blind reading too, by their latest.
    Names of files are keys of uploads: what senders call their files may name patients. Pictures
    that could not be read teach nothing; negatives would teach the wrong thing, since training
    takes pictures as they are. Raises ExportRefused.
    """
    counts = dict.fromkeys(Exported.__dataclass_fields__, 0)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ExportRefused(f"{folder} is not empty. Name a new folder, so that no earlier reading stays in it.")
        readings().exists()  # so that a database that fails leaves no folder behind
        for name in workshop.CLASS_FOLDERS.values():
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / workshop.MANIFEST).open("w", newline="", encoding="utf-8") as file:
            manifest = csv.writer(file, lineterminator="\n")
            manifest.writerow(COLUMNS)
            for review in readings().iterator(chunk_size=500):
                if blind and not review.blind:
                    counts["not_blind"] += 1
                elif review.reading == Review.Reading.UNREADABLE:
                    counts["unreadable"] += 1
                elif review.prediction.inverted:
                    counts["negatives"] += 1
                else:
                    manifest.writerow(_write(review, folder))
                    counts[review.reading.lower()] += 1
                    counts["not_blind"] += not review.blind
    except OSError as error:
        raise ExportRefused(
            f"{error.filename or folder}: {error.strerror or error}. The export is not whole."
        ) from error
    exported = Exported(**counts)
    written = exported.normal + exported.pneumonia
    audit.record_many("manage.py export_reviewed", audit.Action.EXPORTED, f"{written} reviewed pictures for training")
    return exported


def _write(review: Review, folder: Path) -> list[Any]:
    """Copy the picture of `review` into `folder`; returns its row of the manifest."""
    prediction, upload = review.prediction, review.prediction.upload
    name = f"{workshop.CLASS_FOLDERS[review.reading]}/{upload.pk}.{upload.file.name.rpartition('.')[2]}"
    with upload.file.open("rb") as source, (folder / name).open("wb") as target:
        shutil.copyfileobj(source, target)
    return [
        name,
        upload.sha256,
        review.reading,
        review.reviewer.get_username(),
        review.created.isoformat(),
        review.blind,
        prediction.model_version,
        prediction.label,
        prediction.probability,
        prediction.pk,
    ]
