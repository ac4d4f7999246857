"""From a folder of pictures to a served bundle: load, split, fit, export."""

import platform
from collections.abc import Callable
from pathlib import Path

from ml_model import bundle, dataset
from ml_model.dataset import DataError
from ml_model.training import export, fitting
from ml_model.training.fitting import Settings

SOURCE = {
    "name": "Chest X-Ray Images (Pneumonia), official train split",
    "authors": "Kermany, Zhang, Goldbaum 2018, Mendeley Data, doi 10.17632/rscbjbr9sj",
    "licence": "CC BY 4.0",
    "population": "children of one to five years, Guangzhou Women and Children's Medical Center",
}


def train(
    data_dir: Path,
    settings: Settings,
    *,
    work: Path,
    root: Path = bundle.TRAINED,
    say: Callable[[str], None] = print,
    progress: Callable[[int, int], None] | None = None,
    verbose: int = 1,
) -> Path:
    """Train on `data_dir`/train and make the new bundle under `root` the current one; returns its folder.

    `data_dir`/test is not opened: measuring is evaluation's business. work: checkpoints.
    Raises DataError if the folder is not laid out as dataset.load expects.
    """
    import keras
    import tensorflow

    pictures = dataset.load(data_dir / "train", settings.size, progress=progress)
    held_out = dataset.in_validation(pictures.patients, settings.validation_share, settings.seed)
    train_part, validation = pictures.only(~held_out), pictures.only(held_out)
    for name, part in (("training", train_part), ("validation", validation)):
        counts = part.counts()
        say("{}: {normal} normal, {pneumonia} pneumonia, {patients} patients".format(name, **counts))
        if not counts["normal"] or not counts["pneumonia"]:
            raise DataError(
                f"The {name} part has no picture of one of the classes. More patients are needed, "
                "or another --validation-share."
            )
    fitted = fitting.fit(train_part, validation, settings, work, verbose=verbose)
    say(f"best epoch {fitted.best_epoch} of {len(fitted.history)}")
    data = {
        **SOURCE,
        "split": "by patient, so that no patient is in both parts",
        "train": train_part.counts(),
        "validation": validation.counts(),
        "made_with": {
            "python": platform.python_version(),
            "tensorflow": tensorflow.__version__,
            "keras": keras.__version__,
        },
    }
    folder = export.write_bundle(fitted, settings, data, root, say=say)
    bundle.make_current(folder)
    return folder
