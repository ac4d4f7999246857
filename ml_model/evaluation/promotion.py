"""Which bundle is served: replaced only by one that is shown not to be worse, and taken back at will.

`promotions.jsonl`, beside the bundles, tells every change in a line; lines are only ever added.
"""

import contextlib
import datetime
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ml_model import bundle
from ml_model.classifier import Classifier
from ml_model.evaluation import comparison, scores

TEST_SPLIT = "test"
"""The set of pictures that decides, by the name under which it was measured."""

LOG = "promotions.jsonl"
MEASURE = "python manage.py evaluate_model DATA_DIR/test --model"


class Refused(Exception):
    """The served bundle stays as it is. `str()` says why, in sentences."""


@dataclass(frozen=True)
class Promotion:
    """A change of the served bundle. before: the version served until then; None where none could be served.

    differences: what the comparison gave; empty where there was none. gate_lost: the one
    before refused what is no chest X-ray, and this one does not.
    """

    version: str
    before: str | None
    pictures: int = 0
    differences: list[comparison.Difference] = field(default_factory=list)
    gate_lost: bool = False


def promote(newcomer: Classifier, root: Path) -> Promotion:
    """Make `newcomer`, a bundle in `root`, the served one if it is not worse on the test split. Raises Refused.

    Where what `current` names cannot be served, there is nothing to be worse than.
    """
    try:
        served = Classifier(bundle.current(root))
    except bundle.BundleError:
        return _switch(newcomer, root, Promotion(newcomer.folder.name, None))
    if served.folder.resolve() == newcomer.folder.resolve():
        raise Refused(f"{newcomer.version} is the served model already.")
    theirs, ours = (_scores(classifier) for classifier in (newcomer, served))
    try:
        differences = comparison.compare(theirs, _threshold(newcomer), ours, _threshold(served))
    except comparison.Incomparable as error:
        raise Refused(
            f"{newcomer.version} and {served.version} cannot be compared: {error}. Measure both on the same folder, by "
            f"`{MEASURE} {newcomer.folder.name}` and `{MEASURE} {served.folder.name}`."
        ) from error
    if worse := [difference for difference in differences if not difference.not_worse]:
        raise Refused(
            f"{newcomer.version} was not promoted, and {served.version} stays: on {len(ours)} test pictures, "
            + "; ".join(f"{d}, where {-comparison.MARGINS[d.name]:+.4f} is the limit" for d in worse)
            + ". The bound is the lower one of the 95 % one-sided paired bootstrap over patients."
        )
    gate_lost = newcomer.card.gate is None and served.card.gate is not None
    promotion = Promotion(newcomer.folder.name, served.folder.name, len(ours), differences, gate_lost)
    return _switch(newcomer, root, promotion)


def earlier(root: Path) -> Path:
    """The folder of the bundle that was served before the current one; called again after going back, the one before.

    Raises Refused where the log does not tell of one.
    """
    try:
        now = bundle.current(root).name
    except bundle.BundleError:
        now = ""
    before: list[str] = []
    reached = ""
    for back, version, replaced in _read(root):
        reached = version
        if back:
            before = before[:-1]
        elif replaced:
            before.append(replaced)
    if not before or reached != now:
        raise Refused(f"{root / LOG} does not tell what was served before {now or 'now'}. Name a version to promote.")
    return root / before[-1]


def go_back(to: Classifier, root: Path) -> Promotion:
    """Make `to`, which `earlier` named, the served bundle again, without a comparison. Raises Refused."""
    return _switch(to, root, Promotion(to.folder.name, bundle.current(root).name), back=True)


def _scores(classifier: Classifier) -> scores.Scores:
    try:
        return scores.read(classifier.folder, TEST_SPLIT)
    except scores.NotMeasured as error:
        raise Refused(f"{error}. Measure it by `{MEASURE} {classifier.folder.name}`, then promote again.") from error


def _threshold(classifier: Classifier) -> float:
    return classifier.card.operating_points[classifier.card.default_operating_point].threshold


def _read(root: Path) -> list[tuple[bool, str, str | None]]:
    """Of each line of the log whether it went back, the version, and the one before. Raises Refused."""
    try:
        log = (root / LOG).read_bytes()
        lines = [json.loads(line) for line in log[: _end(log)].splitlines()]
        return [(line["back"], line["version"], line["before"]) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{root / LOG} is damaged. Name a version to promote.") from error


def _end(log: bytes) -> int:
    """Where the log ends without a last line that was cut off while it was written, of a change that was not made."""
    begins = log.rfind(b"\n") + 1
    try:
        json.loads(log[begins:])
    except ValueError:
        return begins
    return len(log)


def _switch(to: Classifier, root: Path, promotion: Promotion, *, back: bool = False) -> Promotion:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path, length = root / LOG, None
    try:
        earlier = path.read_bytes() if path.exists() else b""
        with path.open("ab") as log:  # told first, and for good: a change that cannot be told is not made
            length = _end(earlier)
            log.truncate(length)
            if length and not earlier[:length].endswith(b"\n"):  # as after an editor
                log.write(b"\n")
            log.write(json.dumps({"when": now, "back": back, **asdict(promotion)}).encode() + b"\n")
            log.flush()
            os.fsync(log.fileno())
        bundle.make_current(to.folder)
    except OSError as error:
        if length is not None:
            with contextlib.suppress(OSError):
                os.truncate(path, length)  # nor is one told that was not made
        raise Refused(
            f"{root} cannot be written: {error.strerror}. Where the program lies where it may not write, "
            "copy that folder elsewhere and name it in the setting MODELS_DIR."
        ) from error
    return promotion
