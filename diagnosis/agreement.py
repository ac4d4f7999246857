"""Agreement of the model with reviewers, and of reviewers with each other."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from diagnosis import reviews
from diagnosis.inference import serving
from diagnosis.models import Prediction, Review

# People who have seen the answer tend to agree with it, so a reading that is not blind says little about the model.
# Figures are of the blind ones alone wherever nobody asks for all.


def share(part: int, whole: int) -> dict[str, float]:
    """`part` of `whole`, which is not 0, as `value`, `low` and `high`, 0..1.

    The 95 % interval after Wilson (1927), which holds for small numbers too.
    """
    low, high = serving.wilson(part / whole, whole)
    return {"value": part / whole, "low": low, "high": high}


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa (1960) of two reviewers: 1 is full agreement, 0 what chance gives.

    value: None where all readings are of one kind, and chance would agree as well.
    """

    pairs: int
    agreed: int
    value: float | None


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha of however many reviewers, of whom each may have read other pictures; scale as of Kappa.

    pictures: those with several readers. value: None where all readings are of one kind.
    """

    pictures: int
    value: float | None


@dataclass(frozen=True)
class Agreement:
    """The model against readings, the latest of each prediction, over some predictions.

    counts: (reading, label) -> predictions. sensitivity: of the pictures read as pneumonia, those that the model
    called so; specificity: likewise of normal ones; None without such pictures. alpha: between reviewers,
    None where no picture has two readers, or where it was not asked for.
    """

    counts: Counter[tuple[str, str]]
    alpha: Alpha | None

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def sensitivity(self) -> dict[str, float] | None:
        return self._right(serving.PNEUMONIA)

    @property
    def specificity(self) -> dict[str, float] | None:
        return self._right(serving.NORMAL)

    def _right(self, kind: str) -> dict[str, float] | None:
        whole = sum(self.counts[kind, label] for label in serving.LABELS)
        return share(self.counts[kind, kind], whole) if whole else None

    def matrix(self) -> Iterator[tuple[str, list[int]]]:
        """A row for each reading: its name, and how often the model answered Normal and Pneumonia to it."""
        for reading in (serving.NORMAL, serving.PNEUMONIA, Review.Reading.UNREADABLE):
            yield str(Review.Reading(reading).label), [self.counts[reading, label] for label in serving.LABELS]


@dataclass(frozen=True)
class Report:
    """Over everything, and for each model version, month of the prediction, and pair of reviewers.

    read, read_blind: predictions with any reading, and with a blind one.
    """

    read: int
    read_blind: int
    overall: Agreement
    by_model_version: list[tuple[str, Agreement]]
    by_month: list[tuple[str, Agreement]]
    by_pair: list[tuple[str, str, Kappa]]


def report(predictions: QuerySet[Prediction], *, blind: bool = True) -> Report:
    """The agreement over those of `predictions` that somebody has read, without unreliable ones.

    blind: by blind readings alone.
    """
    counted = _of(predictions, Review.objects.all()).aggregate(
        read=Count("prediction", distinct=True), read_blind=Count("prediction", distinct=True, filter=Q(blind=True))
    )
    read = {
        pk: (reading, label, version, f"{timezone.localtime(created):%Y-%m}")
        for pk, reading, label, version, created in _of(predictions, reviews.that_hold(blind=blind)).values_list(
            "prediction", "reading", "prediction__label", "prediction__model_version", "prediction__created"
        )
    }
    readings: defaultdict = defaultdict(dict)  # prediction -> reviewer's name -> reading
    for pk, name, reading in (
        reviews.latest_of_each_reviewer(blind=blind)
        .order_by("reviewer__username")
        .values_list("prediction", "reviewer__username", "reading")
    ):
        if pk in read:
            readings[pk][name] = reading

    def agreement(keys: Iterable) -> Agreement:
        keys = list(keys)
        return Agreement(
            Counter(read[pk][:2] for pk in keys), krippendorffs_alpha(readings[pk].values() for pk in keys)
        )

    def by(column: int) -> list[tuple[str, Agreement]]:
        groups: defaultdict[str, list] = defaultdict(list)
        for pk, row in read.items():
            groups[row[column]].append(pk)
        return [(name, agreement(groups[name])) for name in sorted(groups, reverse=True)]

    of_pair: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for of in readings.values():
        for one, other in combinations(of, 2):
            of_pair[one, other].append((of[one], of[other]))
    by_pair = [(one, other, cohens_kappa(rows)) for (one, other), rows in sorted(of_pair.items())]
    return Report(**counted, overall=agreement(read), by_model_version=by(2), by_month=by(3), by_pair=by_pair)


def with_reviewers(predictions: QuerySet[Prediction]) -> Agreement:
    """The model against the latest blind readings, over those of `predictions` that have one; no alpha.

    Without unreliable answers. The database counts, so it costs one query however many there are.
    """
    rows = (
        _of(predictions, reviews.that_hold(blind=True))
        .values_list("reading", "prediction__label")
        .annotate(Count("pk"))
    )
    return Agreement(Counter({(reading, label): count for reading, label, count in rows}), None)


def _of(predictions: QuerySet[Prediction], readings: QuerySet[Review]) -> QuerySet[Review]:
    # An answer to a picture that is no chest X-ray is marked unreliable, and says nothing about the model.
    reliable = predictions.exclude(status=Prediction.Status.FORCED)
    return readings.filter(Exists(reliable.filter(pk=OuterRef("prediction")))).order_by()


def cohens_kappa(pairs: list[tuple[str, str]]) -> Kappa:
    """The kappa of readings of the same pictures by two readers, (first, second) for each picture; at least one."""
    agreed = sum(first == second for first, second in pairs)
    firsts, seconds = (Counter(side) for side in zip(*pairs, strict=True))
    by_chance = sum(firsts[kind] * seconds[kind] for kind in firsts) / len(pairs) ** 2
    observed = agreed / len(pairs)
    return Kappa(len(pairs), agreed, None if by_chance == 1 else (observed - by_chance) / (1 - by_chance))


def krippendorffs_alpha(pictures: Iterable[Collection[str]]) -> Alpha | None:
    """The alpha of the readings of each picture, one by each of its readers; None where no picture has two.

    For kinds without an order and with missing readings (Krippendorff 2011, Computing Krippendorff's
    alpha-reliability). Who is who changes nothing; Cohen's kappa needs a first and a second reader.
    """
    counted = [Counter(readings) for readings in pictures if len(readings) > 1]
    if not counted:
        return None
    kinds: Counter[str] = Counter()
    for readings in counted:
        kinds.update(readings)
    differing = sum(_differing(readings) / (readings.total() - 1) for readings in counted)
    by_chance = _differing(kinds) / (kinds.total() - 1)
    return Alpha(len(counted), 1 - differing / by_chance if by_chance else None)


def _differing(kinds: Counter[str]) -> int:
    """How many ordered pairs of that many readings of each kind are of two kinds."""
    return kinds.total() ** 2 - sum(count**2 for count in kinds.values())
