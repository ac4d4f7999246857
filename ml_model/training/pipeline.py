"""The training pipeline, from a folder of pictures to a bundle: load, split, fit, export."""

import functools
import platform
from collections.abc import Callable
from pathlib import Path

from ml_model import bundle, dataset
from ml_model.classifier import Classifier
from ml_model.dataset import DataError
from ml_model.evaluation import promotion
from ml_model.training import distillation, export, fitting, gate
from ml_model.training.fitting import Settings

PUBLIC_SET = {
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
    extra: Path | None = None,
    other_chests: Path | None = None,
    other_pictures: Path | None = None,
    teacher: Classifier | None = None,
    progress: Callable[[int, int], None] | None = None,
    verbose: int = 1,
) -> Path:
    """Train on `data_dir`/train and write a new bundle under `root`; returns its folder.

    It becomes the current one only where there is none that could be served. `data_dir`/test is
    not learned from: measuring is evaluation's business. work: checkpoints. extra: a folder of
    further training pictures, see dataset.extra_files; none of them goes into validation.
    other_pictures: a folder of KIND/files that are no chest X-rays; without it the bundle has no
    gate. other_chests: chest X-rays of other hospitals, whose labels are not looked at; half of them are learned
    from, for the gate and by a student. teacher: a bundle of the same size of input, to teach a student.
    Raises DataError if a folder is not laid out as expected.
    """
    import keras
    import tensorflow

    if teacher and teacher.card.input_size != settings.size:
        raise DataError(
            f"{teacher.version} takes pictures of {teacher.card.input_size} pixels, not of {settings.size}."
        )
    backend = keras.backend.backend()
    if backend != "tensorflow" and not teacher:
        raise DataError(
            f"Keras with {backend} can train a student alone. Set KERAS_BACKEND=tensorflow, or name a teacher."
        )
    if teacher and "train" not in teacher.card.data:
        raise DataError(f"{teacher.version} was trained elsewhere. A teacher is a model that train_model made.")
    pictures = dataset.load(data_dir / "train", settings.size, progress=progress)
    together = dataset.who_stays_together(pictures)
    held_out = dataset.in_validation(together, settings.validation_share, settings.seed)
    train_part, validation = pictures.only(~held_out), pictures.only(held_out)
    for name, part in (("training", train_part), ("validation", validation)):
        counts = part.counts()
        say("{}: {normal} normal, {pneumonia} pneumonia, {patients} patients".format(name, **counts))
        if not counts["normal"] or not counts["pneumonia"]:
            raise DataError(
                f"The {name} part has no picture of one of the classes. More patients are needed, "
                "or another --validation-share."
            )
    added: dict[str, dict] = {}
    if extra:
        files, left_out = dataset.extra_files(extra, data_dir)
        further = dataset.load_extra(files, settings.size)
        added = {"extra": {**further.counts(), "left_out": left_out}}
        counted = (
            "extra for training: {normal} normal, {pneumonia} pneumonia; {left_out} left out, since DATA_DIR has them"
        )
        say(counted.format(**added["extra"]))
        train_part = train_part.joined(further)
    if teacher:
        elsewhere = gate.pictures_for_fitting(other_chests, settings.size) if other_chests else None
        fitted = distillation.distil(
            teacher.folder, train_part, validation, settings, work, elsewhere=elsewhere, verbose=verbose
        )
        added["teacher"] = {"version": teacher.version, "sha256": teacher.card.files[bundle.SERVING_FILE]}
        added["without_labels"] = {"pictures": 0 if elsewhere is None else len(elsewhere)}
    else:
        fitted = fitting.fit(train_part, validation, settings, work, verbose=verbose)
    if backend != "tensorflow":
        raise DataError(
            f"The student is trained, by {backend}. The same command with KERAS_BACKEND=tensorflow makes a model of it."
        )
    for name, epoch in fitted.best_epochs.items():
        say(f"{name}: epoch {epoch} of {len(fitted.history[name])} is kept")
    public = dataset.is_public_train_split(zip(pictures.files, pictures.labels, strict=True))
    data = {
        **(PUBLIC_SET if public else {"name": dataset.printable(data_dir.resolve().name), "origin": "not told"}),
        "split": "by patient, so that no patient is in both parts",
        "train": train_part.counts(),
        **added,
        "validation": validation.counts(),
        "made_with": {
            "python": platform.python_version(),
            "tensorflow": tensorflow.__version__,
            "keras": keras.__version__,
        },
    }
    fit_gate = None
    if other_pictures:
        fit_gate = functools.partial(
            gate.build,
            chests=train_part.pictures,
            validation=validation.pictures,
            other_chests=other_chests,
            other_pictures=other_pictures,
            augment=functools.partial(fitting.augmented, seed=settings.seed + 2000),
        )
    folder = export.write_bundle(fitted, data, root, fit_gate=fit_gate, say=say)
    try:
        Classifier(bundle.current(root))
    except bundle.BundleError:
        try:
            promotion.promote(Classifier(folder), root)
        except promotion.Refused as error:  # the bundle is whole all the same
            say(str(error))
    return folder
