"""Many files on the command line: in order, whatever they are, and resumed after an interruption."""

import csv
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from diagnosis import bulk


@pytest.fixture
def folder(tmp_path: Path, xray, no_xray) -> Path:
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(xray(opacity=1))
    (folder / 'b, "quoted"\nin two lines.png').write_bytes(no_xray)
    (folder / "b" / "first.jpg").write_bytes(xray(seed=1))
    (folder / "c.jpg").write_text("no picture")
    (folder / "d.jpg").write_bytes(xray(seed=2))
    return folder


def run(*args: str | Path) -> str:
    out = io.StringIO()
    call_command("predict_images", *map(str, args), stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_rows_come_in_the_order_of_names_however_many_work(folder):
    one, many = (run(folder, "--format", "json", "--jobs", jobs) for jobs in ("1", "7"))
    assert one == many
    names = [Path(row["file"]).relative_to(folder).as_posix() for row in json.loads(one)]
    assert names == ["a.jpg", "b/first.jpg", 'b, "quoted"\nin two lines.png', "c.jpg", "d.jpg"]


def test_a_slow_file_holds_up_no_more_than_its_window(tmp_path, monkeypatch, xray):
    """Files are not read ahead without end while the row of one is awaited."""
    asked = []

    def endless():
        for number in range(10**9):
            asked.append(number)
            yield tmp_path / f"{number}.jpg"

    rows = bulk.classify(endless(), jobs=2)
    assert next(rows).error.startswith("The file cannot be read")
    rows.close()
    assert len(asked) <= 2 * bulk.AHEAD + 1


def test_what_cannot_even_be_looked_at_is_a_row(folder, monkeypatch):
    (row,) = json.loads(run("x" * 300, "--format", "json"))
    assert (row["status"], row["error"]) == ("error", "The file cannot be read: File name too long")

    def refuse(self):  # as in a folder whose names may be read and nothing else
        raise PermissionError

    monkeypatch.setattr(Path, "is_file", refuse)
    assert len(list(bulk.files([folder]))) == 5


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_output_cut_off_anywhere_is_gone_on_with(folder, tmp_path, ending):
    output = tmp_path / f"answers.{ending}"
    run(folder, "--output", output)
    whole = output.read_bytes()
    assert len(whole) > 500
    for kept in [*range(0, len(whole), 41), *range(len(whole) - 4, len(whole) + 1)]:
        output.write_bytes(whole[:kept])
        run(folder, "--output", output)
        assert output.read_bytes() == whole, f"after {kept} bytes"


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_answers_of_two_models_are_not_mixed(folder, tmp_path, ending, monkeypatch):
    output = tmp_path / f"answers.{ending}"
    run(folder, "--output", output)
    whole = output.read_bytes()
    monkeypatch.setattr("diagnosis.inference.serving.model_version", lambda: "2031.01-1")
    with pytest.raises(CommandError, match=r"by the model 2026\.\d\d-\d+, and 2031\.01-1 answers now.*MODEL_BUNDLE"):
        run(folder, "--output", output)
    assert output.read_bytes() == whole


def test_a_name_with_a_carriage_return_is_one_row_and_gone_on_with(tmp_path):
    """macOS keeps the picture of a folder in a file `Icon\\r`."""
    (tmp_path / "pictures").mkdir()
    for name in ("Icon\r", "z.jpg"):
        (tmp_path / "pictures" / name).touch()
    output = tmp_path / "answers.csv"
    run(tmp_path / "pictures", "--output", output)
    whole = output.read_bytes()
    with output.open(newline="") as file:
        assert [Path(row["file"]).name for row in csv.DictReader(file)] == ["Icon\r", "z.jpg"]
    output.write_bytes(whole[:-20])
    run(tmp_path / "pictures", "--output", output)
    assert output.read_bytes() == whole


def test_a_row_damaged_in_the_middle_costs_no_later_one(folder, tmp_path):
    output = tmp_path / "answers.csv"
    run(folder, "--output", output)
    damaged = output.read_text().replace('two lines.png"', 'two lines.png"x')
    output.write_text(damaged)
    with pytest.raises(CommandError, match="left unchanged"):
        run(folder, "--output", output)
    assert output.read_text() == damaged


def test_what_has_a_row_is_not_opened_again(folder, tmp_path):
    output = tmp_path / "answers.csv"
    run(folder, "--output", output)
    whole = output.read_text()
    for path in (folder / "a.jpg", folder / "c.jpg"):
        path.write_text("another")
    (folder / "e.jpg").write_text("came later")
    run(folder, "--output", output)
    assert output.read_text().startswith(whole)
    assert [Path(row["file"]).name for row in csv.DictReader(output.open())][-2:] == ["d.jpg", "e.jpg"]


def test_other_files_than_those_with_rows_are_told_and_nothing_is_changed(folder, tmp_path):
    output = tmp_path / "answers.csv"
    run(folder, "--output", output)
    whole = output.read_bytes()
    (folder / "aa.jpg").write_text("came between")
    with pytest.raises(CommandError, match=r"Row 2 .*first\.jpg.*aa\.jpg is now"):
        run(folder, "--output", output)
    (folder / "aa.jpg").unlink()
    (folder / "d.jpg").unlink()
    with pytest.raises(CommandError, match=r"d\.jpg.*no further file"):
        run(folder, "--output", output)
    assert output.read_bytes() == whole


@pytest.mark.parametrize("content", ["My notes\n", "[\nno json\n]\n", '[\n  {"file": "x"}\n]\n', "file,status\nx,ok\n"])
@pytest.mark.parametrize("format_name", ["csv", "json", "table"])
def test_a_file_of_somebody_else_is_left_alone(folder, tmp_path, content, format_name):
    output = tmp_path / "notes"
    output.write_text(content)
    with pytest.raises(CommandError, match="Choose another --output"):
        run(folder, "--output", output, "--format", format_name)
    assert output.read_text() == content


def test_the_output_is_none_of_the_pictures(folder):
    output = folder / "answers.csv"
    run(folder, "--output", output)
    whole = output.read_bytes()
    assert b"answers.csv" not in whole
    run(folder, "--output", output)
    assert output.read_bytes() == whole


def test_no_file_stops_the_run(tmp_path, xray):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "circle").symlink_to(folder)
    (folder / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    (folder / "empty.jpg").touch()
    (folder / "folder.jpg").mkdir()
    (folder / "itself.jpg").symlink_to("itself.jpg")
    Path(os.fsdecode(os.fsencode(folder) + b"/n\xe4me.jpg")).write_bytes(xray())
    os.mkfifo(folder / "pipe.jpg")
    (folder / "z.jpg").write_bytes(xray())
    rows = json.loads(run(folder, folder / "pipe.jpg", "/dev/zero", tmp_path / "missing", "--format", "json"))
    answers = {Path(row["file"]).name: row["status"] for row in rows}
    assert answers == {
        "dangling.jpg": "error",
        "empty.jpg": "error",
        "itself.jpg": "error",
        r"n\xe4me.jpg": "ok",
        "pipe.jpg": "error",
        "z.jpg": "ok",
        "zero": "error",
        "missing": "error",
    }
    assert all(row["error"] for row in rows if row["status"] == "error")


def test_at_least_one_job(folder):
    with pytest.raises(CommandError, match="at least 1"):
        run(folder, "--jobs", "0")


def test_an_interrupted_run_leaves_what_the_same_command_goes_on_with(tmp_path, xray):
    folder, output = tmp_path / "many", tmp_path / "answers.csv"
    folder.mkdir()
    (tmp_path / "one.jpg").write_bytes(xray())
    for number in range(1500):
        (folder / f"{number:04}.jpg").hardlink_to(tmp_path / "one.jpg")
    command = [sys.executable, "manage.py", "predict_images", str(folder), "--output", str(output)]
    options = {"cwd": django_settings.BASE_DIR, "stderr": subprocess.PIPE, "text": True}
    # What a shell starts in the background ignores the key, and so would its children.
    options["preexec_fn"] = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, **options) as process:
        while not (output.exists() and output.stat().st_size > 1000):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "to resume" in said
    assert "Traceback" not in said
    rows = len(list(csv.DictReader(output.open())))
    assert 0 < rows < 1500
    finished = subprocess.run(command, check=True, **options)
    assert f"already has {rows} rows" in finished.stderr
    assert [Path(row["file"]).name for row in csv.DictReader(output.open())] == [f"{n:04}.jpg" for n in range(1500)]
