"""A contact sheet of the worst errors. It shows patients' pictures, so it is never part of a bundle."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ml_model import dataset, framing, heatmap, images
from ml_model.classifier import Classifier

TILE, CAPTION, COLUMNS = 200, 32, 3


def write(
    path: Path, classifier: Classifier, files: list[Path], labels: np.ndarray, probabilities: np.ndarray, most: int = 24
) -> int:
    """Draw the `most` most confident wrong answers into `path`, a JPEG; returns how many there are.

    Each is shown as it is and under its heatmap. labels: (n,), 1 is pneumonia. probabilities: (n,), 0..1.
    """
    point = classifier.card.operating_points[classifier.card.default_operating_point]
    wrong = np.flatnonzero((probabilities >= point.threshold) != (labels == 1))
    worst = wrong[np.argsort(-np.abs(probabilities[wrong] - labels[wrong]), kind="stable")][:most]
    rows = -(-len(worst) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * 2 * TILE, max(rows, 1) * (TILE + CAPTION)), "black")
    pen = ImageDraw.Draw(sheet)
    for place, index in enumerate(worst):
        grey = images.read(files[index].read_bytes()).grey
        output, _ = classifier.classify(grey)
        left, top = place % COLUMNS * 2 * TILE, place // COLUMNS * (TILE + CAPTION)
        shown = grey.resize((TILE, TILE)).convert("RGB")
        sheet.paste(shown, (left, top))
        colours = heatmap.picture(framing.placed(output.activation_map, output.box), TILE).convert("RGBA")
        shown.paste(colours, mask=colours.getchannel("A").point(lambda alpha: alpha * 0.6))
        sheet.paste(shown, (left + TILE, top))
        name = dataset.printable(files[index].name)
        said = f"is {'pneumonia' if labels[index] else 'normal'}, probability {probabilities[index]:.3f}"
        pen.text((left + 4, top + TILE + 2), f"{name}\n{said}", fill="white", font_size=12)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, "JPEG", quality=85)
    return len(worst)
