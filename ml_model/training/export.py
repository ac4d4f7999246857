"""A fitted network -> a bundle: calibrated, with thresholds, as Keras and as LiteRT files."""

import contextlib
import datetime
import io
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

from ml_model import bundle, network, phantom, preprocessing
from ml_model.classifier import Classifier
from ml_model.evaluation import metrics
from ml_model.training.fitting import Fitted, Settings, balancing_weights

INTENDED_USE = (
    "Education and research. Not for clinical use without validation. Frontal chest X-rays; learned from "
    "children of one to five years of one hospital, so figures hold for such pictures only."
)


def logits(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """The network's logits before the sigmoid: float64 (n,). pictures: uint8 (n, size, size, 1)."""
    headless = keras.Model(model.input, model.get_layer(network.HEAD).output)
    return headless.predict(pictures, batch_size=64, verbose=0)[:, 0].astype(np.float64)


def calibrate(model: keras.Model, values: np.ndarray, labels: np.ndarray) -> float:
    """Divide the head's weights by the temperature that makes probabilities honest, and return it.

    Guo et al. 2017. The classes count the same, as in training, so a probability speaks of
    a population with as many ill as healthy.
    """
    temperature = metrics.best_temperature(values, labels, balancing_weights(labels))
    head = model.get_layer(network.HEAD)
    head.set_weights([weights / temperature for weights in head.get_weights()])
    return temperature


def push_map(model: keras.Model) -> keras.Model:
    """What each place of the picture adds to the logit: (batch, h, w, 1), whose mean is the logit less its bias.

    The head is linear in averages of feature maps, so applied before averaging it gives
    this map (class activation mapping, Zhou et al. 2016). Needs no gradient.
    """
    fine, coarse = model.get_layer(network.FINE).output, model.get_layer(network.COARSE).output
    kernel, _ = model.get_layer(network.HEAD).get_weights()
    split = fine.shape[-1]

    def apply_head(features, weights: np.ndarray, name: str):
        layer = layers.Conv2D(1, 1, use_bias=False, name=name)
        result = layer(features)
        layer.set_weights([weights.reshape(1, 1, -1, 1)])
        return result

    enlarge = layers.UpSampling2D(fine.shape[1] // coarse.shape[1], interpolation="bilinear", name="enlarge")
    total = layers.Add(name="push")(
        [apply_head(fine, kernel[:split], "fine_push"), enlarge(apply_head(coarse, kernel[split:], "coarse_push"))]
    )
    return keras.Model(model.input, total)


def serving_graph(model: keras.Model, full_scale: float) -> keras.Model:
    """`model` with two outputs: logit, (batch, 1), and activation map, (batch, h, w, 1) in 0..1.

    full_scale: the push, in logits, that the map shows as 1.
    """
    push = push_map(model)
    shown = layers.ReLU(max_value=1.0, name="activation_map")(layers.Rescaling(1 / full_scale)(push.output))
    return keras.Model(model.input, [model.get_layer(network.HEAD).output, shown])


def to_litert(model: keras.Model) -> bytes:
    """A LiteRT flatbuffer of `model` in full precision: half precision moved probabilities by up to 0.02."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line per weight
        return converter.convert()


def write_bundle(
    fitted: Fitted, settings: Settings, data: dict, root: Path, *, say: Callable[[str], None] = print
) -> Path:
    """Calibrate, choose the threshold, export and write a new version under `root`; returns its folder.

    data: what the card is to say of the pictures. The folder gets its final name only when
    it is complete and was opened as a server would open it. Does not make it current.
    """
    validation = fitted.validation
    values = logits(fitted.model, validation.pictures)
    temperature = calibrate(fitted.model, values, validation.labels)
    probabilities = metrics.sigmoid(values / temperature)
    threshold = metrics.equal_error_threshold(probabilities, validation.labels)
    push = push_map(fitted.model).predict(validation.pictures[validation.labels == 1], batch_size=64, verbose=0)
    full_scale = float(np.percentile(push[push > 0], 99.5))

    today = datetime.datetime.now(datetime.UTC)
    root.mkdir(parents=True, exist_ok=True)
    version = bundle.next_version(root, today.year, today.month)
    draft = root / f".{version}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    fitted.model.save(draft / bundle.KERAS_FILE, include_optimizer=False)
    (draft / bundle.SERVING_FILE).write_bytes(to_litert(serving_graph(fitted.model, full_scale)))

    golden = [bundle.Golden(opacity, seed, 0.0) for opacity, seed in ((0.0, 0), (1.0, 0))]
    golden = [
        replace(g, probability=_probability(fitted.model, phantom.draw(opacity=g.opacity, seed=g.seed))) for g in golden
    ]
    clean = len(validation) // 2
    card = bundle.ModelCard(
        version=version,
        created=today.isoformat(timespec="seconds"),
        input_size=settings.size,
        preprocessing=preprocessing.DESCRIPTION,
        operating_points={
            "balanced": bundle.OperatingPoint(
                round(threshold, 4),
                "sensitivity equals specificity on validation pictures and one augmented copy of each",
            )
        },
        default_operating_point="balanced",
        files={name: bundle.sha256(draft / name) for name in (bundle.KERAS_FILE, bundle.SERVING_FILE)},
        golden=golden,
        intended_use=INTENDED_USE,
        training={
            **asdict(settings),
            "best_epoch": fitted.best_epoch,
            "temperature": round(temperature, 4),
            "temperature_note": "already divided into the weights of the last layer",
            "activation_full_scale": round(full_scale, 4),
            "history": fitted.history,
        },
        data=data,
        metrics={
            "validation": metrics.measure(
                probabilities[:clean], validation.labels[:clean], validation.patients[:clean], threshold
            ),
            "validation_augmented": metrics.measure(
                probabilities[clean:], validation.labels[clean:], validation.patients[clean:], threshold
            ),
        },
    )
    bundle.write_card(draft, card)
    _compare(draft, validation.pictures[:clean], say)
    return draft.rename(root / version)


def _compare(folder: Path, pictures: np.ndarray, say: Callable[[str], None]) -> None:
    """Raises RuntimeError unless the two files, read back as a user would, are the same network."""
    saved = keras.saving.load_model(folder / bundle.KERAS_FILE, compile=False)
    expected = saved.predict(pictures, batch_size=64, verbose=0)[:, 0]
    classifier = Classifier(folder)
    served = np.array([classifier.run(picture)[0] for picture in pictures])
    difference = float(np.abs(served - expected).max())
    say(f"Keras and LiteRT files differ by at most {difference:.6f} on validation")
    if not difference <= 1e-3:
        raise RuntimeError(f"{bundle.KERAS_FILE} and {bundle.SERVING_FILE} are not the same network: {difference:.4f}")


def _probability(model: keras.Model, picture: Image.Image) -> float:
    pixels = preprocessing.to_input(picture, model.input.shape[1])
    return round(float(metrics.sigmoid(logits(model, pixels[np.newaxis]))[0]), 5)
