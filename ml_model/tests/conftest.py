"""What several tests of training read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml_model import phantom


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for label, (name, pattern) in enumerate((("NORMAL", "IM-{:04}-0001.png"), ("PNEUMONIA", "person{}_virus_1.png"))):
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for number in range(1, 17):
            phantom.draw(96, 80, opacity=float(label), seed=number).save(folder / pattern.format(number))
    generator = np.random.Generator(np.random.PCG64(3))
    for kind, cell in (("grain", 1), ("blocks", 16)):
        folder = root / "other" / kind
        folder.mkdir(parents=True)
        for number in range(12):
            cells = generator.integers(0, 256, (96 // cell, 96 // cell), np.uint8)
            Image.fromarray(np.kron(cells, np.ones((cell, cell), np.uint8))).save(folder / f"{number}.png")
    (root / "other" / "note.txt").write_text("not a picture")
    return root
