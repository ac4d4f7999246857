"""Serving: bytes of a picture -> Finding, with LiteRT and without TensorFlow or Keras."""

import queue
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml_model import bundle, images, phantom, preprocessing

GOLDEN_TOLERANCE = 0.01
"""How far a golden probability may be off: processors round differently, a wrong network is far off."""


@dataclass(frozen=True)
class Finding:
    """What the network says of one picture.

    probability: of pneumonia, 0..1. activation_map: float32 (h, w), 0..1, squeezed to a square
    like the input; 1 is the strongest push towards pneumonia seen in validation, so maps of
    different pictures can be compared. picture: as decoded, maybe at reduced size.
    milliseconds: decoding and network.
    """

    label: str
    probability: float
    threshold: float
    operating_point: str
    activation_map: np.ndarray
    model_version: str
    milliseconds: float
    picture: images.Picture


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
                f"{bundle.SERVING_FILE} in {folder} does not load: {error}. {bundle.MEND}"
            ) from error
        size = self.card.input_size
        if shape != (1, size, size, 1):
            raise bundle.BundleError(
                f"{bundle.SERVING_FILE} in {folder} takes {shape}, the card says {size}. {bundle.MEND}"
            )
        for golden in self.card.golden:
            picture = phantom.draw(opacity=golden.opacity, seed=golden.seed)
            probability, _ = self.run(preprocessing.to_input(picture, size))
            if not abs(probability - golden.probability) <= GOLDEN_TOLERANCE:
                raise bundle.BundleError(
                    f"The model in {folder} answers {probability:.4f} to a golden picture instead of "
                    f"{golden.probability:.4f}. {bundle.MEND}"
                )

    @property
    def version(self) -> str:
        """The served model's version."""
        return self.card.version

    def diagnose(
        self, data: bytes, *, limits: images.Limits = images.Limits(), operating_point: str | None = None
    ) -> Finding:
        """Decode `data` and classify it.

        Raises images.PictureError for a file that cannot be analysed, KeyError for an unknown operating point.
        """
        name = operating_point or self.card.default_operating_point
        threshold = self.card.operating_points[name].threshold
        start = time.perf_counter()
        pixels, picture = preprocessing.from_bytes(data, self.card.input_size, limits=limits)
        probability, activation_map = self.run(pixels)
        return Finding(
            label=bundle.PNEUMONIA if probability >= threshold else bundle.NORMAL,
            probability=probability,
            threshold=threshold,
            operating_point=name,
            activation_map=activation_map,
            model_version=self.version,
            milliseconds=(time.perf_counter() - start) * 1000,
            picture=picture,
        )

    def run(self, pixels: np.ndarray) -> tuple[float, np.ndarray]:
        """Probability (0..1) and activation map (float32 (h, w), 0..1) of one input: uint8 (size, size, 1)."""
        with self._interpreter() as interpreter:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[np.newaxis].astype(np.float32))
            interpreter.invoke()
            outputs = {len(d["shape"]): interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}
        logit = float(outputs[2][0, 0])
        return float(1 / (1 + np.exp(-logit))), outputs[4][0, :, :, 0]

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
