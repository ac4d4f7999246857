"""A foreign `.h5` -> a bundle with the same input and outputs as our own, so that everything else just works.

Range, channels and activation of the foreign network are dealt with inside the exported graph.
"""

import datetime
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ml_model import bundle, phantom
from ml_model.classifier import Classifier
from ml_model.evaluation import metrics
from ml_model.training import export, keras_file
from ml_model.training.keras_file import ModelFileError

RANGES = {"0-1": (1 / 255, 0.0), "0-255": (1.0, 0.0), "-1-1": (1 / 127.5, -1.0)}
"""Scale and offset from grey values 0..255 to what a network expects, by name of the range."""
LARGEST_DIFFERENCE = 1e-4
"""How far the exported network's probability may be from Keras's."""
GRID = 14
"""Most rows and columns of places that are erased in turn for the activation map."""


_ENDS = (None, "linear", "sigmoid", "hard_sigmoid", "softmax")
"""Activations of a last layer; None: it has none of its own, and what it gives must be probabilities."""


@dataclass(frozen=True)
class Options:
    """What a file may leave open; None is to be read from it.

    size: side of the input in pixels. channels: 1 or 3. input_range: a key of RANGES.
    positive_label: what a high output, or the second of two outputs, means: one of bundle.LABELS.
    """

    size: int | None = None
    channels: int | None = None
    input_range: str | None = None
    positive_label: str | None = None
    threshold: float = 0.5


def import_model(path: Path, options: Options, root: Path, *, name: str | None = None) -> Path:
    """Write the Keras 2 or 3 whole-model file `path` as the bundle `root`/imported-<name>; returns the folder.

    Does not make it current. Raises ModelFileError.
    """
    called = re.sub(r"[^a-z0-9]+", "-", (name or path.stem).lower()).strip("-")
    if not called:
        raise ModelFileError("No letter from a to z or digit is left of its name; choose one by --name.")
    version = f"imported-{called}"
    if (root / version).exists():
        raise ModelFileError(f"There is a model {version} already. Remove {root / version}, or choose another --name.")
    if not 0 < options.threshold < 1:
        raise ModelFileError("--threshold must lie between 0 and 1.")
    if options.size is not None and not 16 <= options.size <= 1024:
        raise ModelFileError("--size must lie between 16 and 1024 pixels.")
    model = keras_file.load(path)
    options = complete(model, options)
    try:
        graph = _serving_graph(model, options)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:  # whatever a network may stumble over
        raise ModelFileError(f"The network in {path.name} does not run: {keras_file.first_line(error)}") from error

    with export.draft_in(root) as draft:
        shutil.copyfile(path, draft / bundle.KERAS_FILE)
        try:
            (draft / bundle.SERVING_FILE).write_bytes(export.to_litert(graph))
        except Exception as error:  # the converter raises many kinds
            raise ModelFileError(
                f"{path.name} has an operation that LiteRT lacks: {keras_file.first_line(error)}"
            ) from error
        card = bundle.ModelCard(
            version=version,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            input_size=graph.input.shape[1],
            operating_points={"balanced": bundle.OperatingPoint(options.threshold, "given when it was imported")},
            default_operating_point="balanced",
            files={file: bundle.sha256(draft / file) for file in (bundle.KERAS_FILE, bundle.SERVING_FILE)},
            golden=export.golden_pictures(lambda inputs: _answers(graph, inputs), graph.input.shape[1]),
            intended_use=(
                "Education and research. Not for clinical use without validation. Imported: nothing is known here of "
                "the pictures it learned from, nor how often it is right."
            ),
            training={
                "architecture": f"imported from {path.name}",
                "channels": options.channels,
                "input_range": options.input_range,
                "positive_label": options.positive_label,
            },
            data={},
        )
        bundle.write_card(draft, card)
        _compare(draft, model, options)
        return draft.rename(root / version)


def complete(model: keras.Model, options: Options) -> Options:
    """`options` with what `model` tells filled in. Raises ModelFileError naming everything that is still missing."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelFileError(f"It has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one each is needed.")
    shape, units = model.inputs[0].shape, model.outputs[0].shape
    if len(shape) != 4 or shape[3] not in (None, 1, 3):
        raise ModelFileError(f"Its input is {shape[1:]}; a picture of height, width and 1 or 3 channels is needed.")
    if shape[1] != shape[2]:
        raise ModelFileError(f"Its input is {shape[1]} x {shape[2]} pixels; only square inputs can be imported.")
    if len(units) != 2 or units[1] not in (1, 2):
        raise ModelFileError(f"Its output is {units[1:]}; one unit, or two for the two classes, are needed.")
    activation = _last_activation(model)
    if activation not in _ENDS or (activation == "softmax" and units[1] == 1):
        raise ModelFileError(
            f"Its output is {activation} of {units[1]}, which is no probability. Sigmoid, softmax of two, or logits "
            "are needed."
        )
    size, channels = shape[1] or options.size, shape[3] or options.channels
    if halves := {layer.compute_dtype for layer in _all_layers(model)} & {"float16", "bfloat16"}:
        raise ModelFileError(
            f"It computes in {', '.join(sorted(halves))}; which this site does not. Build it again after "
            "keras.config.set_dtype_policy('float32'), give it the weights of this one, and save that."
        )
    input_range = options.input_range or ("0-255" if _scales_itself(model) else None)
    missing = []
    if size is None:
        missing.append("the size of its input (--size PIXELS)")
    if channels is None:
        missing.append("how many channels its input has (--channels 1 or 3)")
    if input_range is None:
        missing.append(f"in which range it expects pixels (--input-range {', '.join(RANGES)})")
    if options.positive_label is None:
        high = "a high output" if units[1] == 1 else "its second output"
        missing.append(f"what {high} means (--positive-label {' or '.join(reversed(bundle.LABELS))})")
    if missing:
        raise ModelFileError("The file does not tell " + "; ".join(missing) + ". Call again with these options.")
    for given, found, option in ((options.size, shape[1], "--size"), (options.channels, shape[3], "--channels")):
        if given and found and given != found:
            raise ModelFileError(f"{option} is {given}, but the file says {found}.")
    return Options(size, channels, input_range, options.positive_label, options.threshold)


def _scales_itself(model: keras.Model) -> bool:
    """Whether all that comes in passes a first layer that brings grey values of 0..255 into 0..1 or -1..1."""
    first = next((layer for layer in model.layers if not isinstance(layer, layers.InputLayer)), None)
    if isinstance(first, keras.Model):
        return _scales_itself(first)
    if not isinstance(first, layers.Rescaling):
        return False
    if not isinstance(model, keras.Sequential):
        try:
            keras.Model(first.output, model.outputs[0])
        except ValueError:  # other paths lead around it
            return False
    ends = np.array([np.add(first.offset, np.multiply(first.scale, grey)) for grey in (0, 255)], np.float64)
    return any(np.allclose(ends.reshape(2, -1).T, target, atol=0.02) for target in ((0, 1), (-1, 1)))


def _serving_graph(model: keras.Model, options: Options) -> keras.Model:
    """Grey picture 0..255 -> logit of pneumonia, (1, 1), and activation map, (1, rows, columns, 1) in 0..1."""
    plain = keras.models.clone_model(model, keras.Input((options.size, options.size, options.channels)))
    plain.set_weights(model.get_weights())
    activation = _last_activation(model)
    if activation in ("sigmoid", "softmax", "linear"):
        # Before the activation nothing is saturated. The file itself is kept as it is.
        _last_layer(plain).activation = keras.activations.linear

    picture = keras.Input((options.size, options.size, 1), name="picture")
    prepared = _prepare(picture, options)
    to_logit = _Logit(activation, options.positive_label == bundle.PNEUMONIA, name="logit")
    for features in _feature_maps(plain):
        try:
            first, rest = keras.Model(plain.inputs[0], features), keras.Model(features, plain.outputs[0])
        except ValueError:
            continue  # other paths lead around this layer
        found = first(prepared)
        logit = to_logit(rest(found))
        activation_map = _Occlusion(rest, to_logit, features.shape[1:3], name="activation_map")([found, logit])
        return keras.Model(picture, [logit, activation_map])
    raise ModelFileError("No activation map can be made for this network.")


def _prepare(picture, options: Options):
    scale, offset = RANGES[options.input_range or "0-255"]
    x = layers.Rescaling(scale, offset, name="to_its_range")(picture)
    return layers.Concatenate(name="to_its_channels")([x, x, x]) if options.channels == 3 else x


def _last_activation(model: keras.Model) -> str | None:
    """Name of the activation of the last layer, if that is a Dense one or nothing else."""
    last = _last_layer(model)
    return last.get_config()["activation"] if isinstance(last, layers.Dense | layers.Activation) else None


def _last_layer(model: keras.Model) -> layers.Layer:
    """The layer that gives the output, also where the last is a model of its own."""
    last = model.layers[-1]
    return _last_layer(last) if isinstance(last, keras.Model) else last


class _Logit(layers.Layer):
    """Outputs of the last layer, (batch, 1 or 2) -> logit of pneumonia, (batch, 1)."""

    def __init__(self, activation: str | None, high_is_pneumonia: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation, self.sign = activation, 1.0 if high_is_pneumonia else -1.0

    def call(self, outputs):
        if outputs.shape[1] == 2:
            if self.activation not in ("softmax", "linear"):
                # Two probabilities that need not add up to one: Keras's loss divides by their sum, and so the logit
                # of the second's share is the difference of logarithms.
                outputs = self._log_sigmoid(outputs) if self.activation == "sigmoid" else self._log(outputs)
            outputs = outputs[:, 1:] - outputs[:, :1]
        elif self.activation not in ("sigmoid", "linear"):
            outputs = self._log(outputs) - self._log(1 - outputs)
        return self.sign * outputs

    def _log(self, probabilities):
        return ops.log(ops.clip(probabilities, 1e-6, 1.0))

    def _log_sigmoid(self, x):
        return ops.minimum(x, 0.0) - ops.log(1 + ops.exp(-ops.abs(x)))


def _feature_maps(model: keras.Model) -> Iterator[Any]:
    """Tensors to erase places of, best first: the last that still are maps, then smaller ones, then the picture."""
    maps = [layer.output for layer in model.layers if not isinstance(layer.output, list | tuple)]
    maps = [tensor for tensor in maps if len(tensor.shape) == 4][::-1]
    yield from (tensor for tensor in maps if min(tensor.shape[1:3]) >= 5)
    yield from (tensor for tensor in maps if 2 <= min(tensor.shape[1:3]) < 5)
    yield model.inputs[0]


class _Occlusion(layers.Layer):
    """Features (1, h, w, c) and their logit (1, 1) -> how far each place raises it: (1, rows, columns, 1), 0..1.

    The features of one place after the other are erased, and the rest of the network is run
    again: occlusion (Zeiler & Fergus 2014) on the last feature map. It needs no gradients,
    whose operations LiteRT lacks, and fits every head.
    """

    FAINT = 0.1
    """Logits; a map whose strongest place adds less than this stays faint."""

    def __init__(self, rest: keras.Model, to_logit: layers.Layer, size: tuple[int, int], **kwargs: Any):
        super().__init__(**kwargs)
        self.rest, self.to_logit = rest, to_logit
        self.cells = [min(side, GRID) for side in size]
        row, column = (np.arange(side) * cells // side for side, cells in zip(size, self.cells, strict=True))
        place = row[:, None] * self.cells[1] + column[None, :]
        places = np.arange(self.cells[0] * self.cells[1])[:, None, None]
        self.kept = (place != places).astype(np.float32)[..., None]

    def call(self, inputs):
        features, logit = inputs
        falls = logit - self.to_logit(self.rest(features * self.kept))
        raised = ops.relu(ops.reshape(falls, (1, *self.cells, 1)))
        return raised / ops.maximum(ops.max(raised), self.FAINT)


def _answers(graph: keras.Model, inputs: np.ndarray) -> np.ndarray:
    """Probability (n,) of inputs, uint8 (n, size, size, 1). Raises ModelFileError where the network answers NaN."""
    logits = [np.asarray(graph(pixels[np.newaxis].astype(np.float32))[0])[0, 0] for pixels in inputs]
    if not np.isfinite(logits).all():
        raise ModelFileError("It answers NaN to a chest X-ray: its weights are damaged, export it again.")
    return metrics.sigmoid(np.array(logits, np.float64))


def _compare(folder: Path, model: keras.Model, options: Options) -> None:
    """Raises ModelFileError unless the bundle answers as the foreign network does, on noise and on drawn chests."""
    try:
        classifier = Classifier(folder)
    except bundle.BundleError as error:
        raise ModelFileError("After conversion it answers drawn chest X-rays differently: not imported.") from error
    side = classifier.card.input_size
    generator = np.random.Generator(np.random.PCG64(0))
    pictures = [generator.integers(0, 256, (side, side, 1), np.uint8) for _ in range(8)]
    pictures += [classifier.prepare(phantom.draw(opacity=seed / 7, seed=seed)) for seed in range(8)]
    outputs = model.predict(_prepare(np.stack(pictures).astype(np.float32), options), batch_size=4, verbose=0)
    activation = _last_activation(model)
    if activation != "linear" and (outputs.min() < -1e-6 or outputs.max() > 1 + 1e-6):  # softmax rounds so far
        raise ModelFileError(
            f"Its outputs are no probabilities: they go from {outputs.min():.3g} to {outputs.max():.3g}. End the "
            "network with a sigmoid or a softmax, and save it again."
        )
    expected = expected_probability(outputs.astype(np.float64), activation)
    if options.positive_label == bundle.NORMAL:
        expected = 1 - expected
    difference = float(np.abs([classifier.run(picture).probability for picture in pictures] - expected).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ModelFileError(f"After conversion it answers differently, by up to {difference:.5f}: not imported.")


def expected_probability(outputs: np.ndarray, activation: str | None) -> np.ndarray:
    """Probability (n,) of the high or second class that outputs (n, 1 or 2) stand for; linear ones are logits."""
    if activation == "linear":
        return metrics.sigmoid(outputs[:, -1] - (outputs[:, 0] if outputs.shape[1] == 2 else 0))
    return outputs[:, -1] / (outputs.sum(axis=1) if outputs.shape[1] == 2 else 1)


def _all_layers(model: keras.Model) -> Iterator[layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)
        yield layer
