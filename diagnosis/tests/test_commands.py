"""The command line, as a shell sees it."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from diagnosis import backup, checks
from diagnosis.inference import serving, workshop
from ml_model import bundle


@pytest.fixture
def folder(tmp_path: Path, xray) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(xray())
    (folder / "b, with comma.png").write_bytes(xray("PNG", opacity=1))
    (folder / "deeper" / "c.txt").write_text("no picture")
    (folder / ".hidden").write_text("not looked at")
    return folder


def run(*args: str | Path) -> str:
    out = io.StringIO()
    call_command("predict_images", *map(str, args), stdout=out)
    return out.getvalue()


def test_csv_has_a_row_for_every_file_and_errors_in_their_rows(folder):
    rows = list(csv.DictReader(io.StringIO(run(folder, folder / "missing.jpg", "--format", "csv"))))
    assert list(rows[0]) == [
        "file",
        "status",
        "prediction",
        "probability",
        "threshold",
        "model_version",
        "chest_xray_score",
        "error",
    ]
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "error"]
    assert rows[1]["file"].endswith("b, with comma.png")
    assert rows[0]["prediction"] in ("Pneumonia", "Normal")
    assert rows[0]["model_version"] == serving.model_version()
    assert "not a picture" in rows[2]["error"]
    assert "No such file" in rows[3]["error"]
    assert rows[2]["prediction"] == rows[2]["probability"] == ""


def test_a_folder_without_files_is_told(tmp_path):
    (tmp_path / ".hidden").write_text("not looked at")
    error = io.StringIO()
    call_command("predict_images", str(tmp_path), "--format", "csv", stdout=io.StringIO(), stderr=error)
    assert error.getvalue() == f"There are no files in {tmp_path}.\n"


def test_what_is_no_chest_xray_is_rejected_with_its_score(tmp_path, no_xray, xray):
    (tmp_path / "board.png").write_bytes(no_xray)
    (tmp_path / "chest.png").write_bytes(xray("PNG"))
    board, chest = json.loads(run(tmp_path / "board.png", tmp_path / "chest.png", "--format", "json"))
    assert (board["status"], board["prediction"], board["probability"]) == ("rejected", "", None)
    assert "frontal chest X-ray" in board["error"]
    assert chest["status"] == "ok"
    assert board["chest_xray_score"] < chest["chest_xray_score"]


def test_an_unknown_operating_point_in_the_settings_is_told(settings, monkeypatch):
    settings.OPERATING_POINT = "wishful"
    monkeypatch.setattr(serving, "_classifier", serving._classifier)
    with pytest.raises(serving.Unavailable, match=r"wishful.*balanced"):
        serving.load()
    (message,) = checks.model_bundle_is_readable()
    assert message.id == "diagnosis.E001"


def test_json_is_one_array(folder):
    rows = json.loads(run(folder, "--format", "json"))
    assert [row["status"] for row in rows] == ["ok", "ok", "error"]
    assert isinstance(rows[0]["probability"], float)
    assert json.loads(run(folder / "deeper", "--format", "json"))[0]["probability"] is None


def test_an_empty_folder_gives_no_rows(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert json.loads(run(empty, "--format", "json")) == []
    assert len(run(empty, "--format", "csv").splitlines()) == 1


def test_table_is_read_by_people(folder):
    lines = run(folder).splitlines()
    assert lines[0].split() == ["status", "prediction", "probability", "threshold", "file"]
    assert len(lines) == 4


def test_output_goes_to_a_file(folder, tmp_path):
    target = tmp_path / "out.csv"
    assert run(folder, "--format", "csv", "--output", target) == ""
    assert len(target.read_text().splitlines()) == 4
    with pytest.raises(CommandError, match="cannot be written"):
        run(folder, "--output", tmp_path / "no" / "out.csv")


def test_without_a_classifier_commands_and_checks_say_which_command_mends_it(tmp_path, settings, monkeypatch, folder):
    settings.MODEL_BUNDLE = str(tmp_path / "nothing")
    monkeypatch.setattr(serving, "_classifier", serving._classifier)
    with pytest.raises(serving.Unavailable):
        serving.load()
    (message,) = checks.model_bundle_is_readable()
    assert message.id == "diagnosis.E001"
    assert "train_model" in message.msg
    with pytest.raises(CommandError, match="train_model"):
        run(folder)


def test_media_that_cannot_be_written_is_told(settings, tmp_path):
    (tmp_path / "file").write_text("")
    settings.MEDIA_ROOT = str(tmp_path / "file" / "media")
    (message,) = checks.media_is_writable()
    assert message.id == "diagnosis.E002"


def test_a_server_can_start_training_with_no_bundle_at_all(tmp_path):
    """The command that mends must not need what it mends."""
    finished = subprocess.run(
        [sys.executable, "manage.py", "train_model", str(tmp_path)],
        cwd=django_settings.BASE_DIR,
        env={"PATH": "", "MODEL_BUNDLE": str(tmp_path / "nothing"), "VAR_DIR": str(tmp_path / "var")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "NORMAL" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_site_and_its_commands_import_neither_tensorflow_nor_pandas():
    program = (
        "import sys, django; django.setup(); import pneumonia_site.urls, pneumonia_site.wsgi; "
        "from diagnosis.inference import serving; serving.classifier(); "
        "assert not {'tensorflow', 'keras', 'pandas', 'diagnosis.inference.workshop'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=django_settings.BASE_DIR,
        env={"DJANGO_SETTINGS_MODULE": "pneumonia_site.settings"},
        check=True,
        capture_output=True,
    )


def test_a_bad_data_folder_is_a_sentence(tmp_path):
    with pytest.raises(CommandError, match="docs/training"):
        call_command("evaluate_model", str(tmp_path))


def test_import_model_tells_what_is_wrong_without_loading_tensorflow(tmp_path):
    with pytest.raises(CommandError, match="no file"):
        call_command("import_model", str(tmp_path / "missing.h5"))
    with pytest.raises(CommandError, match="input-range"):
        call_command("import_model", str(tmp_path / "x.h5"), "--input-range", "0-7")


def test_list_models_marks_the_served_one_and_tells_of_a_damaged_one(tmp_path, settings):
    trained = tmp_path / "trained"
    served = serving.model_version()
    shutil.copytree(bundle.TRAINED / served, trained / served)
    (trained / "current").write_text(served)
    shutil.copytree(trained / served, trained / "broken")
    (trained / "broken" / "pneumonia_cnn.tflite").write_bytes(b"x")
    settings.MODELS_DIR = str(trained)
    out = io.StringIO()
    call_command("list_models", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[1].startswith(f"* {served}")
    assert lines[1].split()[-1] == f"{serving.model_card().metrics['test']['auroc']['value']:.4f}"
    assert lines[2].startswith("  broken")
    assert "SHA-256" in lines[2]


def test_a_card_that_people_edited_is_listed_or_told(tmp_path, settings):
    settings.MODELS_DIR = str(tmp_path)
    served = bundle.TRAINED / serving.model_version()
    card = json.loads((served / "model_card.json").read_text())
    point = card["operating_points"]["balanced"]
    edited = {
        "own-point": {"operating_points": {"mine": point}, "default_operating_point": "mine"},
        "text-threshold": {"operating_points": {"balanced": {**point, "threshold": "0.4"}}},
        "no-metrics": {"metrics": None},
    }
    for name, changes in edited.items():
        shutil.copytree(served, tmp_path / name, ignore=shutil.ignore_patterns("*.h5"))
        (tmp_path / name / "model_card.json").write_text(json.dumps({**card, **changes}))
    settings.MODEL_BUNDLE = "typo"
    out = io.StringIO()
    call_command("list_models", stdout=out)
    said = out.getvalue()
    assert re.search(r"own-point .* - +0\.\d{4}\n", said)
    assert re.search(r"text-threshold .*damaged: threshold of 'balanced' is '0\.4'", said)
    assert re.search(r"no-metrics .*damaged: metrics is None", said)
    assert "MODEL_BUNDLE=typo names none of them" in said
    with pytest.raises(serving.Unavailable, match="list_models"):
        serving.load()


def test_what_training_would_fail_on_later_is_told_at_once(tmp_path, xray):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "train" / label / "a.jpg").write_bytes(xray(size=(64, 64)))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.txt").write_text("no picture")
    for option in ("--other-pictures", "--other-chests"):
        for folder in ("typo", "notes"):
            with pytest.raises(CommandError, match=f"no pictures in .*{folder}"):
                call_command("train_model", str(tmp_path), option, str(tmp_path / folder))
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("train_model", str(tmp_path), "--teacher", "x", "--from-scratch")
    with pytest.raises(CommandError, match="no small trunk"):
        call_command("train_model", str(tmp_path), "--teacher", "x", "--small-epochs", "2")
    with pytest.raises(CommandError, match=r"a\.jpg.*: Not a directory"):
        call_command("train_model", str(tmp_path), "--output", str(tmp_path / "train" / "NORMAL" / "a.jpg" / "models"))
    with pytest.raises(CommandError, match=r"no model 'typo'.*list_models"):
        call_command("train_model", str(tmp_path), "--teacher", "typo")
    teacher = Path(shutil.copytree(bundle.current(), tmp_path / "teacher"))
    (teacher / bundle.KERAS_FILE).write_bytes(b"half")
    with pytest.raises(CommandError, match=rf"{bundle.KERAS_FILE} in .*SHA-256 differs"):
        call_command("train_model", str(tmp_path), "--teacher", str(teacher))


@pytest.mark.parametrize("command", [["drift_report"], ["export_reviewed", "reviewed"], ["purge", "--older-than", "3"]])
def test_without_a_database_commands_say_so_and_leave_nothing_behind(tmp_path, command):
    finished = subprocess.run(
        [sys.executable, Path(django_settings.BASE_DIR) / "manage.py", *command],
        cwd=tmp_path,
        env={"VAR_DIR": str(tmp_path / "var"), "DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "manage.py migrate" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "reviewed").exists()


def test_a_reader_that_goes_ends_a_command_without_complaint():
    shell = f"{sys.executable} manage.py list_models | true"
    finished = subprocess.run(
        ["bash", "-c", shell], cwd=django_settings.BASE_DIR, capture_output=True, text=True, check=True
    )
    assert "Traceback" not in finished.stderr
    assert "BrokenPipe" not in finished.stderr


def test_files_that_fail_and_ctrl_c_are_sentences(tmp_path, settings, monkeypatch, xray):
    for label in ("NORMAL", "PNEUMONIA"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        (tmp_path / "pictures" / label / "a.jpg").write_bytes(xray(size=(64, 64)))
    settings.MODEL_BUNDLE = str(shutil.copytree(bundle.current(), tmp_path / "copy"))
    serving.load()
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(CommandError, match="copy: No such file or directory"):
        call_command("evaluate_model", str(tmp_path / "pictures"))

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(workshop, "train", interrupted)
    with pytest.raises(CommandError, match="again to resume") as stopped:
        call_command("train_model", str(tmp_path))
    assert stopped.value.returncode == 130
    for name, work in (("backup", "write"), ("restore", "read")):
        monkeypatch.setattr(backup, work, interrupted)
        with pytest.raises(CommandError, match="Stopped"):
            call_command(name, str(tmp_path / "all.zip"))


@pytest.mark.parametrize("minutes", [-1, 10**9, 10**15])
def test_sweep_refuses_times_that_no_calendar_has(minutes):
    with pytest.raises(CommandError, match="from 0 to"):
        call_command("sweep", f"--older-than={minutes}")


def test_a_version_is_a_model_bundle_too(settings, monkeypatch):
    monkeypatch.setattr(serving, "_classifier", None)
    settings.MODEL_BUNDLE = bundle.current().name
    serving.load()
    assert serving.model_version() == settings.MODEL_BUNDLE
