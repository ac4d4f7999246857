"""A trained model on disk: one folder with the network, its serving form and a card of facts.

    trained/
      current                   the name of the served version, one line
      2026.11-1/
        pneumonia_cnn.h5        the network as trained (Keras)
        pneumonia_cnn.tflite    the same network for serving (LiteRT)
        model_card.json         what the code and the reader need to know of it
        report/                 each picture's score, by set of pictures, and in folders plots, tables, a card to read
      promotions.jsonl          every change of `current`, see evaluation/promotion.py

Reading checks everything that can be checked without running the network; the
golden pictures are run by classifier.py.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TRAINED = Path(__file__).parent / "trained"
KERAS_FILE = "pneumonia_cnn.h5"
SERVING_FILE = "pneumonia_cnn.tflite"
CARD_FILE = "model_card.json"
REPORT = "report"
"""The folder, in a bundle, of what was measured."""
CARD_FORMAT = 2
NORMAL, PNEUMONIA = LABELS = ("Normal", "Pneumonia")
"""In label order: the network's probability is that of the second."""


class BundleError(Exception):
    """A bundle that cannot be served. `str()` says what is wrong and which command fixes it."""


def mend(folder: Path) -> str:
    """A sentence that says how to fix a bundle in `folder` that cannot be served."""
    in_repository = folder.resolve().is_relative_to(TRAINED.resolve())
    source = "with `git checkout -- ml_model/trained`" if in_repository else "from where it was made"
    return f"Restore it {source}, or train a new one with `python manage.py train_model DATA_DIR`."


@dataclass(frozen=True)
class Golden:
    """A phantom (see phantom.draw) and the probability that the network gives it, 0..1."""

    opacity: float
    seed: int
    probability: float
    blur: float = 0.0


@dataclass(frozen=True)
class OperatingPoint:
    """A named decision threshold, 0..1, and how it was chosen."""

    threshold: float
    chosen: str


@dataclass(frozen=True)
class Gate:
    """The gate: what keeps out pictures that are not frontal chest X-rays.

    threshold: of the chest X-ray score, 0..1; below it a picture is refused. measured: counts
    on pictures that fitting did not see, for people to read; on `validation` the threshold was set.
    """

    threshold: float
    measured: dict[str, Any]


@dataclass(frozen=True)
class ModelCard:
    """The facts about one trained network that code acts on, and those that people read.

    input_size: side of the square input in pixels. operating_points: by name. gate: None where
    every picture is taken for a chest X-ray. files: SHA-256 in hex by file name. metrics: by name of the picture set,
    each as evaluation.metrics.measure gives it.
    """

    version: str
    created: str
    input_size: int
    operating_points: dict[str, OperatingPoint]
    default_operating_point: str
    files: dict[str, str]
    golden: list[Golden]
    training: dict[str, Any]
    data: dict[str, Any]
    labels: tuple[str, ...] = LABELS
    gate: Gate | None = None
    intended_use: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    format: int = CARD_FORMAT

    @property
    def of_the_public_set(self) -> bool:
        """Whether every label it learned from is of the public set: children of one hospital."""
        return "population" in self.data and "extra" not in self.data


def parse_card(text: str) -> ModelCard:
    """The card in `text`, JSON. Raises ValueError naming the first thing that is wrong."""
    try:
        raw = json.loads(text)
    except RecursionError:
        raise ValueError("the card is nested too deep") from None
    if not isinstance(raw, dict):
        raise ValueError("the card is not a JSON object")
    if raw.get("format") != CARD_FORMAT:
        raise ValueError(f"format is {raw.get('format')!r}, this program reads {CARD_FORMAT}")
    try:
        card = ModelCard(
            **{
                **raw,
                "labels": tuple(raw["labels"]),
                "operating_points": {k: OperatingPoint(**v) for k, v in raw["operating_points"].items()},
                "golden": [Golden(**g) for g in raw["golden"]],
                "gate": Gate(**raw["gate"]) if raw["gate"] else None,
            }
        )
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"a field is missing, unknown or of the wrong kind: {error}") from error
    _check_kinds(card)
    if card.labels != LABELS:
        raise ValueError(f"labels are {card.labels}, expected {LABELS}")
    if card.default_operating_point not in card.operating_points:
        raise ValueError(f"no operating point is called {card.default_operating_point!r}")
    for name, point in card.operating_points.items():
        if not 0 < point.threshold < 1:
            raise ValueError(f"threshold of {name!r} is {point.threshold}, must lie between 0 and 1")
    if card.gate and not 0 < card.gate.threshold < 1:
        raise ValueError(f"threshold of the gate is {card.gate.threshold}, must lie between 0 and 1")
    if not card.golden:
        raise ValueError("there is no golden picture")
    if set(card.files) != {KERAS_FILE, SERVING_FILE}:
        raise ValueError(f"files must be {KERAS_FILE} and {SERVING_FILE}")
    return card


_KINDS: dict[str, type] = {
    "version": str,
    "created": str,
    "input_size": int,
    "default_operating_point": str,
    "files": dict,
    "training": dict,
    "data": dict,
    "intended_use": str,
    "metrics": dict,
}


def _check_kinds(card: ModelCard) -> None:
    """Raises ValueError for a field of another kind than code takes it for."""
    for name, kind in _KINDS.items():
        if not isinstance(value := getattr(card, name), kind):
            raise ValueError(f"{name} is {value!r}")
    for name, point in card.operating_points.items():
        _check_number(f"threshold of {name!r}", point.threshold)
    for golden in card.golden:
        for name, number in asdict(golden).items():
            _check_number(f"{name} of a golden picture", number)
        if not isinstance(golden.seed, int) or golden.seed < 0 or not 0 <= golden.blur <= 1:
            raise ValueError("a golden picture cannot be drawn")
    if card.gate:
        _check_number("threshold of the gate", card.gate.threshold)
        if not isinstance(card.gate.measured, dict) or not {"accepted", "refused"} <= set(card.gate.measured):
            raise ValueError("what was measured of the gate is not told")
    for name, figures in card.metrics.items():
        points = figures.get("operating_points") if isinstance(figures, dict) else None
        if not isinstance(points, dict) or not all(isinstance(at, dict) for at in points.values()):
            raise ValueError(f"metrics of {name!r} have no figures by operating point")


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, must be a number")


def current(root: Path = TRAINED) -> Path:
    """The folder of the served version. Raises BundleError."""
    pointer = root / "current"
    try:
        name = pointer.read_text().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name:
        there = sorted(card.parent.name for card in root.glob(f"*/{CARD_FILE}"))
        helps = f"`python manage.py promote_model {there[-1]}` names one." if there else mend(root)
        raise BundleError(f"There is no trained model to serve: {pointer} is missing or names none. {helps}")
    return root / name


def read(folder: Path, *, verify: tuple[str, ...] = (SERVING_FILE,)) -> ModelCard:
    """The card of the bundle in `folder`, once the files in `verify` have the SHA-256 it tells. Raises BundleError."""
    try:
        card = parse_card((folder / CARD_FILE).read_text())
    except (OSError, UnicodeDecodeError):
        raise BundleError(
            f"The model bundle {folder} is missing or has no readable {CARD_FILE}. {mend(folder)}"
        ) from None
    except ValueError as error:
        raise BundleError(f"The {CARD_FILE} in {folder} is damaged: {error}. {mend(folder)}") from error
    for name in verify:
        try:
            found = sha256(folder / name)
        except OSError:
            raise BundleError(f"The model bundle {folder} lacks {name}. {mend(folder)}") from None
        if found != card.files[name]:
            raise BundleError(
                f"{name} in {folder} is not the file that was trained (its SHA-256 differs). {mend(folder)}"
            )
    return card


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `card` into `folder`; a reader sees the old one or the new one, never half."""
    text = json.dumps(asdict(card), indent=2) + "\n"
    parse_card(text)
    draft = folder / f"{CARD_FILE}.new"
    draft.write_text(text)
    draft.replace(folder / CARD_FILE)


def make_current(folder: Path) -> None:
    """Let `folder` be the served version; a reader of `current` sees the old name or the new one."""
    draft = folder.parent / "current.new"
    draft.write_text(folder.name + "\n")
    draft.replace(folder.parent / "current")


def next_version(root: Path, year: int, month: int) -> str:
    """The next number of the month: 2026.11-1, 2026.11-2, …

    If the bundle with the highest number is deleted, its number is used again, and old predictions would name the
    wrong model: delete only bundles that never served.
    """
    month_of = f"{year}.{month:02}-"
    names = [path.name.removeprefix(month_of) for path in root.glob(f"{month_of}*")]
    return f"{month_of}{max((int(name) for name in names if name.isdecimal()), default=0) + 1}"


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
