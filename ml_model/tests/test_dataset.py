"""The public set on disk: whose picture is whose, and which side of the split it falls on."""

from pathlib import Path

import numpy as np
import pytest

from ml_model import dataset


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("person23_bacteria_1.jpeg", "person23_virus_4.jpeg", True),
        ("person23_bacteria_1.jpeg", "person230_bacteria_1.jpeg", False),
        ("IM-0115-0001.jpeg", "IM-0115-0002.jpeg", True),
        ("IM-0115-0001.jpeg", "NORMAL2-IM-0115-0001.jpeg", True),
        ("IM-0115-0001.jpeg", "person115_virus_1.jpeg", False),
        ("NORMAL_00001280_004.jpg", "00001280_005.png", True),
        ("NORMAL_00001280_004.jpg", "NORMAL_00001281_004.jpg", False),
        ("IMG_20240101_123456.jpg", "IMG_20240101_123500.jpg", False),
        ("mine.png", "yours.png", False),
    ],
)
def test_file_names_tell_the_patient(first, second, same):
    assert (dataset.patient_of(first) == dataset.patient_of(second)) is same


def test_no_patient_is_on_both_sides_and_more_pictures_move_nobody():
    patients = np.array([f"person{n // 3}" for n in range(900)])
    held_out = dataset.in_validation(patients, 0.2, seed=1)
    assert not set(patients[held_out]) & set(patients[~held_out])
    assert 0.14 < held_out.mean() < 0.26
    more = np.concatenate([patients, [f"new{n}" for n in range(100)]])
    assert (dataset.in_validation(more, 0.2, seed=1)[:900] == held_out).all()
    assert (dataset.in_validation(patients, 0.2, seed=2) != held_out).any()


def test_copies_under_other_names_are_on_one_side(tmp_path, xray):
    for name, seeds in (("NORMAL", (1, 2, 3, 1)), ("PNEUMONIA", (4, 5, 4, 6))):
        (tmp_path / name).mkdir()
        for number, seed in enumerate(seeds):
            (tmp_path / name / f"{name} {number}.png").write_bytes(xray("PNG", seed=seed, size=(96, 80)))
    # Two pictures of one patient tie three patients together.
    (tmp_path / "NORMAL" / "person7_virus_1.png").write_bytes(xray("PNG", seed=2, size=(96, 80)))
    (tmp_path / "NORMAL" / "person7_virus_2.png").write_bytes(xray("PNG", seed=3, size=(96, 80)))
    pictures = dataset.load(tmp_path, 64)
    together = dict(zip((path.stem for path in pictures.files), dataset.who_stays_together(pictures), strict=True))
    parts = [{name for name, one in together.items() if one == each} for each in set(together.values())]
    assert sorted(map(sorted, parts)) == [
        ["NORMAL 0", "NORMAL 3"],
        ["NORMAL 1", "NORMAL 2", "person7_virus_1", "person7_virus_2"],
        ["PNEUMONIA 0", "PNEUMONIA 2"],
        ["PNEUMONIA 1"],
        ["PNEUMONIA 3"],
    ]


def test_a_folder_gives_pictures_labels_and_patients(tmp_path, xray):
    for name, files in (
        ("NORMAL", ["IM-0001-0001.jpeg"]),
        ("PNEUMONIA", ["person1_virus_1.jpeg", "person1_virus_2.png"]),
    ):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_bytes(xray("PNG" if file.endswith("png") else "JPEG"))
        for left in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (tmp_path / name / left).write_bytes(b"left by a computer")
    pictures = dataset.load(tmp_path, 64)
    assert pictures.pictures.shape == (3, 64, 64, 1)
    assert pictures.pictures.dtype == np.uint8
    assert pictures.labels.tolist() == [0, 1, 1]
    assert pictures.counts() == {"normal": 1, "pneumonia": 2, "patients": 2}


def test_a_damaged_picture_is_named(tmp_path, xray):
    for name in ("NORMAL", "PNEUMONIA"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpeg").write_bytes(xray())
    (tmp_path / "PNEUMONIA" / "broken.jpeg").write_bytes(xray()[:2000])
    with pytest.raises(dataset.DataError, match=r"broken\.jpeg"):
        dataset.load(tmp_path, 64)


def test_a_folder_of_parts_a_missing_and_an_unreadable_one_are_told_apart(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "NORMAL").mkdir(parents=True)
    with pytest.raises(dataset.DataError, match=r"Name a part of it, \S+train or \S+test\."):
        dataset.labelled_files(tmp_path)
    with pytest.raises(dataset.DataError, match=r"No pictures in .*must hold \{train,test\}"):
        dataset.labelled_files(tmp_path / "nothing")
    (tmp_path / "NORMAL").write_text("a file")
    with pytest.raises(dataset.DataError, match="NORMAL cannot be read: Not a directory"):
        dataset.labelled_files(tmp_path)


def test_what_would_be_left_out_is_told(tmp_path, xray):
    for name in dataset.CLASSES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpeg").write_bytes(xray())
    (tmp_path / "NORMAL" / ".hidden").mkdir()
    assert len(dataset.labelled_files(tmp_path)) == 2
    (tmp_path / "NORMAL" / "more").mkdir()
    with pytest.raises(dataset.DataError, match=r"more is a folder. Pictures must lie in .*NORMAL itself"):
        dataset.labelled_files(tmp_path)
    (tmp_path / "NORMAL" / "more").rmdir()
    (tmp_path / "PNEUMONIA" / "2.jpeg").symlink_to(tmp_path / "gone.jpeg")
    with pytest.raises(dataset.DataError, match=r"2\.jpeg is a link that leads nowhere"):
        dataset.labelled_files(tmp_path)


def test_the_public_set_is_known_by_names_and_counts():
    files = [(Path(f"IM-{n:04}-0001.jpeg"), 0) for n in range(1341)]
    files += [(Path(f"person{n}_virus_{n}.jpeg"), 1) for n in range(3875)]
    assert dataset.is_public_train_split(files)
    assert not dataset.is_public_train_split(files[1:])
    assert not dataset.is_public_train_split([(Path("mine.jpeg"), 0), *files[1:]])


def test_no_patient_of_the_public_set_leaks(xray_data):
    files = dataset.labelled_files(xray_data / "chest_xray" / "train")
    assert len(files) == 1341 + 3875
    assert dataset.is_public_train_split(files)
    assert not dataset.is_public_train_split(dataset.labelled_files(xray_data / "chest_xray" / "test"))
    patients = np.array([dataset.patient_of(path.name) for path, _ in files])
    held_out = dataset.in_validation(patients, 0.15, seed=20261123)
    assert not set(patients[held_out]) & set(patients[~held_out])
