"""Drift: whether incoming pictures still resemble those the model was validated on, judged by its scores."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from diagnosis import access
from diagnosis.inference import serving
from diagnosis.models import Prediction

LATEST = 500
"""How many scores are looked at unless asked otherwise."""


@dataclass(frozen=True)
class Measure:
    """One of the model's two scores: how its latest values compare with validation, in figures and in words."""

    name: str
    title: str
    comparison: serving.Comparison
    verdict: str


@dataclass(frozen=True)
class Drift:
    """What drift_report tells. missing: why nothing could be compared; empty otherwise."""

    model_version: str
    latest: int
    measures: list[Measure]
    share_ill: float | None = None
    missing: str = ""

    @property
    def share_ill_percent(self) -> float | None:
        return None if self.share_ill is None else 100 * self.share_ill


def drift(latest: int = LATEST) -> Drift:
    """Compare the last `latest` scores of the model that answers with those of its validation pictures.

    Everybody's uploads count. Pictures that the gate refused count only for the gate's score; those analysed all the
    same do not count.
    """
    version = serving.model_version()
    own = Prediction.objects.filter(model_version=version)
    analysed = own.filter(status=Prediction.Status.OK)
    judged = own.exclude(status=Prediction.Status.FORCED).filter(chest_xray_score__isnull=False)
    try:
        score, gate = serving.compare_with_validation(
            _latest(analysed, "probability", latest), _latest(judged, "chest_xray_score", latest)
        )
    except serving.Unavailable:
        return Drift("", latest, [], missing=str(serving.UNAVAILABLE))
    except serving.NoReference as error:
        return Drift(version, latest, [], missing=_(error.sentence) % {"version": error.version})
    measures = [Measure("probability", _("Probability of pneumonia"), score, _verdict(score))]
    if gate:
        measures.append(Measure("chest_xray_score", _("Chest X-ray score"), gate, _verdict(gate)))
    return Drift(version, latest, measures, share_ill=serving.share_ill_in_validation())


def drift_for(person: access.Person) -> Drift | None:
    """What `drift` tells, to those who may see everybody's predictions; None to others."""
    return drift() if person.may_see_all else None


def _latest(predictions: QuerySet[Prediction], column: str, number: int) -> Sequence[float]:
    return list(predictions.order_by("-created", "-id").values_list(column, flat=True)[:number])


def _verdict(comparison: serving.Comparison) -> str:
    match comparison.level:
        case serving.TOO_FEW:
            needed = serving.FEWEST_SCORES
            return _("Too few to tell: %(rows)d scores; at least %(needed)d are needed.") % {
                "rows": comparison.rows,
                "needed": needed,
            }
        case serving.STABLE if comparison.by_chance:
            return _("Stable: the scores differ from validation no more than by chance.")
        case serving.STABLE:
            return _("Stable: the scores hardly differ from validation.")
        case serving.DIFFERS:
            return _("Some drift: the scores differ from validation. Look at what has changed.")
    return _("Much drift: the scores differ greatly from validation. Its figures may not hold for these pictures.")
