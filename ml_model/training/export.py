"""Export of a fitted network as a bundle: calibrated, with thresholds, as Keras and LiteRT files."""

import contextlib
import datetime
import errno
import io
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

from ml_model import bundle, network, phantom, preprocessing
from ml_model.classifier import Classifier, Output
from ml_model.dataset import DataError
from ml_model.evaluation import drift, metrics
from ml_model.training import gate, linear
from ml_model.training.fitting import Fitted, need_room

INTENDED_USE = "Education and research. Not for clinical use without validation. Frontal chest X-rays; learned from "
OF_THE_PUBLIC_SET = "children of one to five years of one hospital, so figures hold for such pictures only."
OF_OTHERS = "people of whom nothing is told here, so figures hold for pictures like those they were measured on only."

SCREENING_SENSITIVITY = 0.98
CHOSEN_ON = "validation pictures and one augmented copy of each"


def logits_of(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A function from pictures, uint8 (n, size, size, 1), to the network's logits before the sigmoid, float64 (n,).

    Only the first call is slow. It follows the weights of `model`.
    """
    headless = keras.Model(model.input, model.get_layer(network.HEAD).output)
    return lambda pictures: headless.predict(pictures, batch_size=64, verbose=0)[:, 0].astype(np.float64)


def calibrate(model: keras.Model, values: np.ndarray, labels: np.ndarray) -> float:
    """Divide the head's weights by the temperature that calibrates the probabilities, and return it.

    Guo et al. 2017. Classes are weighted equally, as in training, so a probability refers to a population with as many
    ill as healthy people.
    """
    temperature = metrics.best_temperature(values, labels, metrics.even_weights(labels))
    head = model.get_layer(network.HEAD)
    head.set_weights([weights / temperature for weights in head.get_weights()])
    return temperature


def push_map(model: keras.Model) -> keras.Model:
    """What each place of the picture adds to the logit: (batch, h, w, 1); its mean is the logit without the bias.

    The head is linear in averages of feature maps, so applied before averaging it gives
    this map (class activation mapping, Zhou et al. 2016). Needs no gradient.
    """
    kernel, _ = model.get_layer(network.HEAD).get_weights()
    pushes, start, finest = [], 0, model.get_layer(network.FINE).output.shape[1]
    for name in network.feature_maps(model):
        features = model.get_layer(name).output
        layer = layers.Conv2D(1, 1, use_bias=False, name=f"{name}_push")
        push = layer(features)
        layer.set_weights([kernel[start : start + features.shape[-1]].reshape(1, 1, -1, 1)])
        start += features.shape[-1]
        if features.shape[1] < finest:
            enlarge = layers.UpSampling2D(finest // features.shape[1], interpolation="bilinear", name=f"{name}_enlarge")
            push = enlarge(push)
        pushes.append(push)
    return keras.Model(model.input, layers.Add(name="push")(pushes))


def serving_graph(model: keras.Model, full_scale: float, gate_head: linear.Head | None = None) -> keras.Model:
    """`model` with two outputs: logits, (batch, 1 or 2), and activation map, (batch, h, w, 1) in 0..1.

    full_scale: the push, in logits, that the map shows as 1. gate_head: gives the second
    logit, of being a frontal chest X-ray.
    """
    push = push_map(model)
    shown = layers.ReLU(max_value=1.0, name="activation_map")(layers.Rescaling(1 / full_scale)(push.output))
    logits = model.get_layer(network.HEAD).output
    if gate_head is not None:
        dense = layers.Dense(1, name="chest_xray_logit")
        second = dense(gate.feature_model(model).output)
        dense.set_weights([gate_head.kernel[:, np.newaxis], np.array([gate_head.bias], np.float32)])
        logits = layers.Concatenate(name="logits")([logits, second])
    return keras.Model(model.input, [logits, shown])


def to_litert(model: keras.Model) -> bytes:
    """A LiteRT flatbuffer of `model` in full precision: half precision moved probabilities by up to 0.02."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Traced once, with weights as constants. From a Keras model the converter writes and reads a SavedModel, which
    # traces the network anew for each way of calling it and takes four times as long.
    traced = tf.function(lambda picture: model(picture, training=False), autograph=False)
    graph = traced.get_concrete_function(tf.TensorSpec(model.input.shape, tf.float32, name="picture"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(graph)], tf.Module())
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line per weight
        return converter.convert()


def write_bundle(
    fitted: Fitted,
    data: dict,
    root: Path,
    *,
    fit_gate: Callable[[keras.Model], tuple[linear.Head, bundle.Gate]] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Calibrate, choose the thresholds, fit the gate, export and write a new version under `root`; returns its folder.

    data: what the card is to say of the pictures. The folder gets its final name only when
    it is complete and was opened as a server would open it. Does not make it current.
    """
    validation, size = fitted.validation, fitted.recipe["size"]
    logits = logits_of(fitted.model)
    values = logits(validation.pictures)
    if not np.ptp(values) > 0:  # nor where one of them is no number
        raise DataError(
            "The network says the same of every picture: it learned nothing. Choose a lower --learning-rate."
        )
    temperature = calibrate(fitted.model, values, validation.labels)
    probabilities = metrics.sigmoid(values / temperature)
    thresholds = operating_thresholds(probabilities, validation.labels)
    chosen = {
        "balanced": f"sensitivity equals specificity on {CHOSEN_ON}",
        "screening": f"sensitivity of at least {SCREENING_SENSITIVITY} on {CHOSEN_ON}",
    }
    points = {name: bundle.OperatingPoint(thresholds[name], how) for name, how in chosen.items()}
    push = push_map(fitted.model).predict(validation.pictures[validation.labels == 1], batch_size=64, verbose=0)
    full_scale = float(np.percentile(push[push > 0], 99.5))
    gate_head, gate_facts = fit_gate(fitted.model) if fit_gate else (None, None)

    today = datetime.datetime.now(datetime.UTC)
    with draft_in(root) as draft:
        need_room(root, fitted.model.variables, copies=3)  # plain, compressed and LiteRT's
        fitted.model.save(draft / bundle.KERAS_FILE, include_optimizer=False)
        compress(draft / bundle.KERAS_FILE)
        (draft / bundle.SERVING_FILE).write_bytes(to_litert(serving_graph(fitted.model, full_scale, gate_head)))

        clean = len(validation) // 2
        card = bundle.ModelCard(
            version="",  # until it has one
            created=today.isoformat(timespec="seconds"),
            input_size=size,
            operating_points=points,
            default_operating_point="balanced",
            files={name: bundle.sha256(draft / name) for name in (bundle.KERAS_FILE, bundle.SERVING_FILE)},
            golden=golden_pictures(lambda inputs: metrics.sigmoid(logits(inputs)), size),
            gate=gate_facts,
            training={
                **fitted.recipe,
                "best_epochs": fitted.best_epochs,
                "temperature": round(temperature, 4),
                "temperature_note": "already divided into the weights of the last layer",
                "activation_full_scale": round(full_scale, 4),
                "history": fitted.history,
            },
            data=data,
            metrics={
                name: metrics.measure(
                    probabilities[rows], validation.labels[rows], validation.patients[rows], thresholds
                )
                for name, rows in (("validation", slice(clean)), ("validation_augmented", slice(clean, None)))
            },
        )
        card = replace(card, intended_use=INTENDED_USE + (OF_THE_PUBLIC_SET if card.of_the_public_set else OF_OTHERS))
        while True:
            version = bundle.next_version(root, today.year, today.month)
            bundle.write_card(draft, replace(card, version=version))
            outputs = _compare(draft, validation.pictures[:clean], say)
            drift.write(draft, drift.reference_of(outputs))
            try:
                return draft.rename(root / version)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # Another training was quicker, and has that version.


def operating_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The threshold of each operating point, by name. probabilities: (n,), 0..1; labels: (n,), 1 is pneumonia.

    That of `screening` is never above that of `balanced`, whose sensitivity may be higher than is asked of screening
    where the classes are easy to tell apart.
    """
    balanced = metrics.equal_error_threshold(probabilities, labels)
    screening = metrics.threshold_for_sensitivity(probabilities, labels, SCREENING_SENSITIVITY)
    return {"balanced": balanced, "screening": min(balanced, screening)}


@contextlib.contextmanager
def draft_in(root: Path) -> Iterator[Path]:
    """A temporary folder to make a bundle in; removed unless it was renamed."""
    root.mkdir(parents=True, exist_ok=True)
    draft = root / f".{os.getpid()}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def golden_pictures(answer: Callable[[np.ndarray], np.ndarray], size: int) -> list[bundle.Golden]:
    """The phantoms that a network finds least and most like pneumonia, and its answers to them.

    So there is one on each side of the threshold, if any phantom lies there. answer: gives the probability (n,) of
    inputs, uint8 (n, size, size, 1).
    """
    ways = itertools.product((0.0, 1.0), (0, 1), (0.0, 0.05, 0.1))
    drawn = [bundle.Golden(opacity, seed, 0.0, blur) for opacity, seed, blur in ways]
    pictures = [phantom.draw(opacity=golden.opacity, seed=golden.seed, blur=golden.blur) for golden in drawn]
    probabilities = answer(np.stack([preprocessing.to_input(picture, size) for picture in pictures]))
    return [
        replace(drawn[index], probability=round(float(probabilities[index]), 9))
        for index in (int(np.argmin(probabilities)), int(np.argmax(probabilities)))
    ]


def compress(path: Path) -> None:
    """Rewrite the HDF5 file `path` with its arrays compressed, without loss; Keras reads it as before."""
    smaller = path.with_suffix(".smaller")
    with h5py.File(path) as source, h5py.File(smaller, "w", libver="latest") as target:

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Dataset):
                how = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if item.shape else {}
                made = target.create_dataset(name, data=item[()], **how)
            else:
                made = target.require_group(name)
            made.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    smaller.replace(path)


def _compare(folder: Path, pictures: np.ndarray, say: Callable[[str], None]) -> list[Output]:
    """What the serving file says of `pictures`.

    Raises RuntimeError unless the two files, read back as a user would, are the same network.
    """
    saved = keras.saving.load_model(folder / bundle.KERAS_FILE, compile=False)
    expected = saved.predict(pictures, batch_size=64, verbose=0)[:, 0]
    classifier = Classifier(folder)
    outputs = [classifier.run(picture) for picture in pictures]
    difference = float(np.abs(np.array([output.probability for output in outputs]) - expected).max())
    say(f"Keras and LiteRT files differ by at most {difference:.6f} on validation")
    if not difference <= 1e-3:
        raise RuntimeError(f"{bundle.KERAS_FILE} and {bundle.SERVING_FILE} are not the same network: {difference:.4f}")
    return outputs
