"""Serving: bytes of a picture -> Finding, with LiteRT and without TensorFlow or Keras."""

import queue
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ml_model import bundle, framing, images, phantom, preprocessing, quality

GOLDEN_TOLERANCE = 0.05
"""How far a golden answer may be off, in logits: where a probability is near 0 a wrong one is near it too.

LiteRT's kernels, with and without XNNPACK, differ by 0.0001. The rest is for drawing, should a processor round a few
pixels to another grey: one grey level more or less in every pixel moves logits by up to 0.2.
"""
_GOLDEN_ROUNDING = 1e-5
"""Cards tell five digits; of a golden probability near 0 its logit is known no better."""


@dataclass(frozen=True)
class Output:
    """One pass of the network.

    probability: of pneumonia, 0..1. activation_map: float32 (h, w), 0..1, squeezed to a square like the input; 1 is
    the 99.5th percentile of the positive pushes in ill validation pictures, so that maps of different pictures share
    one scale. Maps of imported networks are scaled to their own maximum. chest_xray_score: how much the picture is
    like a frontal chest X-ray, 0..1; None from a network without a gate. box: the part of the picture that it saw.
    """

    probability: float
    activation_map: np.ndarray
    chest_xray_score: float | None
    box: framing.Box = framing.EVERYTHING


@dataclass(frozen=True)
class Finding:
    """What the network says of one picture; the first three fields are Output's, but the map is of the whole picture.

    accepted: whether the gate takes it for a frontal chest X-ray; if not, the rest means
    nothing. uncertain: the operating points disagree, since the probability lies between
    their thresholds. thresholds: of every operating point, by name. inverted: it was a negative,
    and was turned before the analysis. hints: what may be wrong with the picture, of quality.CODES.
    milliseconds: decoding and network.
    """

    probability: float
    activation_map: np.ndarray
    chest_xray_score: float | None
    accepted: bool
    label: str
    threshold: float
    thresholds: dict[str, float]
    uncertain: bool
    inverted: bool
    hints: tuple[str, ...]
    operating_point: str
    model_version: str
    milliseconds: float


class Classifier:
    """One trained network, ready to answer. Safe to share between threads, and to make before a fork.

    LiteRT interpreters are not thread-safe: each call borrows one and gives it back, and
    a new one is made when all are out. They share the model file's mapped memory.
    """

    def __init__(self, folder: Path):
        """Open and verify the bundle in `folder`, golden pictures included. Raises bundle.BundleError."""
        self.folder = folder
        self.card = bundle.read(folder)
        self._idle: queue.LifoQueue = queue.LifoQueue()
        try:
            with self._interpreter() as interpreter:
                shape = tuple(interpreter.get_input_details()[0]["shape"])
        except Exception as error:
            raise bundle.BundleError(
                f"{bundle.SERVING_FILE} in {folder} does not load: {error}. {bundle.mend(folder)}"
            ) from error
        size = self.card.input_size
        if shape != (1, size, size, 1):
            raise bundle.BundleError(
                f"{bundle.SERVING_FILE} in {folder} takes {shape}, the card says {size}. {bundle.mend(folder)}"
            )
        for golden in self.card.golden:
            picture = phantom.draw(opacity=golden.opacity, seed=golden.seed, blur=golden.blur)
            answer = self.run(self.prepare(picture)).probability
            if not _same(answer, golden.probability):
                raise bundle.BundleError(
                    f"The model in {folder} answers {answer:.5f} to a golden picture instead of "
                    f"{golden.probability:.5f}. {bundle.mend(folder)}"
                )

    @property
    def version(self) -> str:
        """The served model's version."""
        return self.card.version

    def diagnose(
        self, data: bytes, *, limits: images.Limits = images.Limits(), operating_point: str | None = None
    ) -> Finding:
        """`read` and `answer` at once.

        Raises images.PictureError for a file that cannot be analysed, KeyError for an unknown operating point.
        """
        return self.answer(self.read(data, limits=limits), operating_point=operating_point)

    def read(self, data: bytes, *, limits: images.Limits = images.Limits()) -> images.Picture:
        """Decode `data` as finely as this network sees. Raises images.PictureError where it cannot be analysed."""
        return images.read(data, limits=limits, at_least=self.card.input_size)

    def answer(self, picture: images.Picture, *, operating_point: str | None = None) -> Finding:
        """Classify what `read` gave. Raises KeyError for an unknown operating point."""
        name = operating_point or self.card.default_operating_point
        thresholds = {point: at.threshold for point, at in self.card.operating_points.items()}
        threshold = thresholds[name]
        start = time.perf_counter()
        output, inverted = self.classify(picture.grey)
        above = [output.probability >= other for other in thresholds.values()]
        return Finding(
            probability=output.probability,
            activation_map=framing.placed(output.activation_map, output.box),
            chest_xray_score=output.chest_xray_score,
            accepted=self.accepts(output),
            label=bundle.PNEUMONIA if output.probability >= threshold else bundle.NORMAL,
            threshold=threshold,
            thresholds=thresholds,
            uncertain=any(above) and not all(above),
            inverted=inverted,
            hints=quality.hints(picture, output.box, inverted=inverted),
            operating_point=name,
            model_version=self.version,
            milliseconds=picture.milliseconds + (time.perf_counter() - start) * 1000,
        )

    def classify(self, grey: Image.Image) -> tuple[Output, bool]:
        """What the network says of `grey` (mode "L"), or of its negative if only that passes the gate, and which."""
        output = self._see(grey)
        if not self.accepts(output):
            turned = self._see(ImageOps.invert(grey))
            if self.accepts(turned):
                return turned, True
        return output, False

    def accepts(self, output: Output) -> bool:
        """Whether the gate takes the picture for a frontal chest X-ray; without a gate every picture passes."""
        return (
            self.card.gate is None
            or output.chest_xray_score is None
            or output.chest_xray_score >= self.card.gate.threshold
        )

    def prepare(self, grey: Image.Image) -> np.ndarray:
        """`grey` (mode "L", any size) as this network's input: uint8 (size, size, 1)."""
        return preprocessing.to_input(grey, self.card.input_size)

    def _see(self, grey: Image.Image) -> Output:
        pixels, box = preprocessing.unframed(grey, self.card.input_size)
        return replace(self.run(pixels), box=box)

    def run(self, pixels: np.ndarray) -> Output:
        """What the network says of one input, uint8 (size, size, 1), upright and not inverted."""
        with self._interpreter() as interpreter:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[np.newaxis].astype(np.float32))
            interpreter.invoke()
            outputs = {len(d["shape"]): interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}
        # Two outputs: the logits of pneumonia and, if there is a gate, of chest X-ray; and the map.
        probability, *chest = (float(1 / (1 + np.exp(-logit))) for logit in outputs[2][0].astype(np.float64))
        return Output(probability, outputs[4][0, :, :, 0], chest[0] if chest else None)

    @contextmanager
    def _interpreter(self):
        try:
            interpreter = self._idle.get_nowait()
        except queue.Empty:
            from ai_edge_litert.interpreter import Interpreter  # slow to import: 0.2 s

            interpreter = Interpreter(model_path=str(self.folder / bundle.SERVING_FILE), num_threads=1)
            interpreter.allocate_tensors()
        yield interpreter
        # Not given back after an exception: its state is unknown then.
        self._idle.put(interpreter)


def _same(answer: float, golden: float) -> bool:
    """Whether two probabilities are one network's answer to one picture."""
    logits = [np.log(p / (1 - p)) for p in np.clip((answer, golden), 1e-6, 1 - 1e-6)]
    return bool(abs(answer - golden) <= _GOLDEN_ROUNDING or abs(logits[0] - logits[1]) <= GOLDEN_TOLERANCE)
