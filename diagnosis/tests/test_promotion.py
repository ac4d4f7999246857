"""Which model is served: changed only for one that is not worse, taken back at will, and no request is lost."""

import contextlib
import errno
import io
import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from diagnosis.inference import serving, workshop
from ml_model import bundle
from ml_model.evaluation import promotion  # noqa: F401  Pandas takes seconds while a server is under load

OLD = bundle.current().name
NEW = "2099.01-1"


def edit_card(folder: Path, **changes) -> None:
    path = folder / "model_card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def models(tmp_path: Path, settings) -> Path:
    """A folder with the released bundle, served, and a copy of it under another version."""
    root = tmp_path / "models"
    shutil.copytree(bundle.TRAINED / OLD, root / OLD, ignore=shutil.ignore_patterns("*.h5"))
    (root / "current").write_text(OLD)
    shutil.copytree(root / OLD, root / NEW)
    edit_card(root / NEW, version=NEW)
    settings.MODELS_DIR = str(root)
    settings.MODEL_BUNDLE = ""
    return root


def promote(*args: str) -> str:
    out = io.StringIO()
    call_command("promote_model", *args, stdout=out)
    return out.getvalue()


def current(models: Path) -> str:
    return (models / "current").read_text().strip()


def refused(models: Path, *args: str, match: str) -> None:
    served = (models / "current").read_bytes()
    with pytest.raises(CommandError, match=match):
        promote(*args)
    assert (models / "current").read_bytes() == served


def test_a_model_that_is_not_worse_is_served_and_taken_back(models):
    told = promote(NEW)
    assert "AUROC" in told
    assert f"{NEW} is served from now on; before: {OLD}" in told
    assert "--back" in told
    assert current(models) == NEW
    assert f"before: {NEW}" in promote("--back")
    assert current(models) == OLD
    lines = [json.loads(line) for line in (models / "promotions.jsonl").read_text().splitlines()]
    assert [(line["version"], line["before"], line["back"]) for line in lines] == [(NEW, OLD, False), (OLD, NEW, True)]
    assert lines[0]["differences"][1]["name"] == "balanced accuracy"


def test_going_back_again_and_again_reaches_the_first(models):
    third = "2099.01-2"
    shutil.copytree(models / NEW, models / third)
    promote(NEW)
    promote(third)
    promote("--back")
    assert current(models) == NEW
    promote("--back")
    assert current(models) == OLD
    refused(models, "--back", match="does not tell what was served before")


def test_a_worse_model_is_refused_with_the_figures(models):
    """Where its more sensitive threshold decides, the same network alarms falsely more often."""
    edit_card(models / NEW, default_operating_point="screening")
    refused(models, NEW, match=rf"{NEW} was not promoted, and {OLD} stays.*balanced accuracy 0\.\d+ after 0\.\d+")
    assert not (models / "promotions.jsonl").exists()


def test_a_model_that_nobody_measured_is_refused_with_the_command(models):
    edit_card(models / NEW, metrics={})
    refused(models, NEW, match=f"evaluate_model DATA_DIR/test --model {NEW}")


def test_the_served_model_must_have_been_measured_too(models):
    (models / OLD / "report" / "test_scores.csv").unlink()
    refused(models, NEW, match=f"evaluate_model DATA_DIR/test --model {OLD}")


def test_models_measured_on_other_pictures_are_refused_with_the_commands(models):
    path = models / NEW / "report" / "test_scores.csv"
    head, first, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, "f" * 64 + first[64:], *others]))
    refused(models, NEW, match=rf"the pictures differ.*--model {NEW}.*--model {OLD}")


def test_a_damaged_model_is_refused(models):
    (models / NEW / "pneumonia_cnn.tflite").write_bytes(b"x")
    refused(models, NEW, match="SHA-256")


@pytest.mark.parametrize("name", ["nothing", "..", ".", "x" * 300, "../models/" + NEW])
def test_what_is_no_model_of_ours_is_refused(models, name):
    refused(models, name, match="list_models")


def test_the_served_model_is_not_promoted_again(models):
    refused(models, OLD, match="already")


def test_a_model_without_the_operating_point_of_the_settings_is_refused(models, settings):
    settings.OPERATING_POINT = "screening"
    points = json.loads((models / NEW / "model_card.json").read_text())["operating_points"]
    edit_card(models / NEW, operating_points={"balanced": points["balanced"]})
    refused(models, NEW, match="OPERATING_POINT is 'screening'")


def test_where_none_can_be_served_the_first_that_opens_is(models):
    (models / "current").unlink()
    assert "Nothing was compared" in promote(NEW)
    assert current(models) == NEW
    refused(models, "--back", match="does not tell")


def test_a_lost_gate_is_told(models):
    edit_card(models / NEW, gate=None)
    assert "has no gate" in promote(NEW)


def test_a_setting_that_decides_is_told(models, settings):
    settings.MODEL_BUNDLE = OLD
    assert f"MODEL_BUNDLE={OLD} decides" in promote(NEW)


def test_a_damaged_log_is_told_and_a_version_can_be_promoted_all_the_same(models):
    (models / "promotions.jsonl").write_text("[]\n")
    refused(models, "--back", match="damaged")
    promote(NEW)
    assert current(models) == NEW


def test_a_last_line_that_was_cut_off_counts_for_nothing(models):
    promote(NEW)
    with (models / "promotions.jsonl").open("a") as log:
        log.write('{"when": "2026-')
    promote("--back")
    assert current(models) == OLD
    lines = (models / "promotions.jsonl").read_text().splitlines()
    assert [json.loads(line)["back"] for line in lines] == [False, True]


def test_a_last_line_without_its_end_counts(models):
    promote(NEW)
    log = models / "promotions.jsonl"
    log.write_text(log.read_text().removesuffix("\n"))  # as an editor may leave it
    promote("--back")
    assert current(models) == OLD
    assert len(log.read_text().splitlines()) == 2


def test_a_folder_that_cannot_be_written_is_told(models):
    (models / "promotions.jsonl").mkdir()
    refused(models, NEW, match="MODELS_DIR")


@pytest.mark.parametrize("fails", [(os, "fsync"), (bundle, "make_current")], ids=["log", "pointer"])
def test_where_the_disk_is_full_nothing_is_changed_and_nothing_told(models, monkeypatch, fails):
    promote(NEW)
    log = (models / "promotions.jsonl").read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*fails, full)
    refused(models, "--back", match="No space left")
    assert (models / "promotions.jsonl").read_bytes() == log


def test_evaluate_model_measures_a_model_that_is_not_served(models, tmp_path, xray, settings):
    settings.VAR_DIR = tmp_path / "var"
    for number, label in enumerate(("NORMAL", "PNEUMONIA")):
        (tmp_path / "test" / label).mkdir(parents=True)
        (tmp_path / "test" / label / "a.jpg").write_bytes(xray(opacity=number))
    before = (models / OLD / "model_card.json").read_bytes()
    out = io.StringIO()
    call_command("evaluate_model", str(tmp_path / "test"), "--model", NEW, stdout=out)
    assert f"model {NEW}: 2 pictures" in out.getvalue()
    assert len((models / NEW / "report" / "test_scores.csv").read_text().splitlines()) == 3
    assert (models / OLD / "model_card.json").read_bytes() == before
    with pytest.raises(CommandError, match="list_models"):
        call_command("evaluate_model", str(tmp_path / "test"), "--model", "nothing", stdout=out)
    with pytest.raises(CommandError, match=r"Name a part of it, \S+test\."):
        call_command("evaluate_model", str(tmp_path), "--model", NEW, stdout=out)


@pytest.mark.parametrize(("gated", "said"), [(True, "2 pass the gate"), (False, "the model has no gate")])
def test_evaluate_model_tells_shifts_at_the_default_operating_point_and_of_the_gate(tmp_path, monkeypatch, gated, said):
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    counts = dict.fromkeys(("true_negative", "false_positive", "false_negative", "true_positive"), 1)
    points = {
        name: {"threshold": 0.5, **counts, "accuracy": {**interval, "value": value}}
        | dict.fromkeys(("sensitivity", "specificity"), interval)
        for name, value in (("balanced", 0.9), ("screening", 0.8))
    }
    figures = {"pictures": 2, "patients": 2, "normal": 1, "pneumonia": 1, "accepted": 2, "operating_points": points}
    figures |= {"auroc": interval, "calibration_error": interval}
    figures["shifts"] = {"blur": {"accuracy": 0.7, "auroc": 0.9, "accepted": 2}}
    evaluation = workshop.Evaluation("one", "screening", gated, figures, tmp_path)
    monkeypatch.setattr(workshop, "evaluate", lambda folder, model: evaluation)
    out = io.StringIO()
    call_command("evaluate_model", str(tmp_path), stdout=out)
    assert "-0.100" in out.getvalue()
    assert said in out.getvalue()
    assert ("pass the gate" in out.getvalue()) == gated


# --- Servers that run meanwhile -----------------------------------------------------------


@pytest.fixture
def looking(models, monkeypatch) -> Path:
    """This process serves from `models`, and looks for another one at every request."""
    monkeypatch.setattr(serving, "LOOK_EVERY", 0)
    monkeypatch.setattr(serving, "_next_look", 0)
    serving.load()
    return models


def version_within(seconds: float, expected: str) -> str:
    until = time.monotonic() + seconds
    while (version := serving.model_version()) != expected and time.monotonic() < until:
        time.sleep(0.01)
    return version


def test_a_process_takes_up_what_was_promoted(looking):
    assert serving.model_version() == OLD
    promote(NEW)
    assert version_within(5, NEW) == NEW
    promote("--back")
    assert version_within(5, OLD) == OLD


def test_figures_measured_anew_are_taken_up(looking):
    edit_card(looking / OLD, metrics={})
    until = time.monotonic() + 5
    while serving.measured(OLD, "balanced") and time.monotonic() < until:
        time.sleep(0.01)
    assert serving.measured(OLD, "balanced") is None
    assert serving.measured(NEW, "balanced") is not None
    edit_card(looking / NEW, metrics={})
    assert serving.measured(NEW, "balanced") is None, "also of a model that does not answer now"


@pytest.mark.parametrize(
    "harm",
    [
        lambda root: (root / "current").unlink(),
        lambda root: (root / "current").write_bytes(b"\xff\xfe"),
        lambda root: (root / "current").write_text("nothing"),
        lambda root: [(root / NEW / "pneumonia_cnn.tflite").write_bytes(b"x"), (root / "current").write_text(NEW)],
    ],
    ids=["no pointer", "garbage", "no such model", "damaged model"],
)
def test_a_model_that_does_not_open_leaves_the_old_one_answering_and_is_told_once(looking, harm, xray, caplog):
    harm(looking)
    with caplog.at_level(logging.CRITICAL):
        for _ in range(5):
            assert serving.diagnose(serving.read(xray())).model_version == OLD
        time.sleep(0.3)
        assert version_within(0, NEW) == OLD
    assert len([record for record in caplog.records if f"{OLD} goes on answering" in record.getMessage()]) == 1


def test_a_server_that_had_none_answers_once_there_is_one(models, monkeypatch, client, xray, db):
    monkeypatch.setattr(serving, "LOOK_EVERY", 0)
    monkeypatch.setattr(serving, "_next_look", 0)
    (models / "current").unlink()
    with pytest.raises(serving.Unavailable):
        serving.load()
    assert serving.model_version() == ""
    promote(NEW)
    assert version_within(5, NEW) == NEW


def test_an_operating_point_that_went_with_its_model_is_answered_by_the_default(looking, xray):
    finding = serving.diagnose(serving.read(xray()), operating_point="of an earlier model")
    assert finding.operating_point == "balanced"


@pytest.fixture
def server(models, tmp_path) -> Iterator[str]:
    """Address of a server process of its own, which serves from `models`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "VAR_DIR": str(tmp_path / "var"),
        "MODELS_DIR": str(models),
        "PREDICT_THROTTLE": "100000/min",
        "ANONYMOUS_UPLOADS": "True",
        "LOG_LEVEL": "WARNING",
    }
    manage = [sys.executable, "manage.py"]
    place = {"cwd": django_settings.BASE_DIR, "env": environment}
    subprocess.run([*manage, "migrate", "--verbosity", "0"], check=True, **place)
    log = (tmp_path / "server.log").open("wb")
    process = subprocess.Popen([*manage, "runserver", "--noreload", str(port)], stdout=log, stderr=log, **place)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/predict"
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def post(address: str, picture: bytes) -> tuple[int, str]:
    """Status and model version of the answer to one picture, by multipart form."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n'
    body = head.encode() + picture + f"\r\n--{edge}--\r\n".encode()
    request = urllib.request.Request(address, body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)["model_version"]
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_a_promotion_under_load_loses_no_request(models, server, xray):
    """Three clients post without pause while a model is promoted and taken back again."""
    pictures = [xray(seed=seed) for seed in range(3)]
    answers: list[list[tuple[int, str]]] = [[] for _ in pictures]
    done = threading.Event()

    def client(number: int) -> None:
        while not done.is_set():
            try:
                answers[number].append(post(server, pictures[number]))
            except OSError as error:
                answers[number].append((0, str(error)))

    def until_all(seen: Callable[[list[tuple[int, str]]], bool]) -> None:
        limit = time.monotonic() + 20
        while time.monotonic() < limit and not all(map(seen, answers)):
            time.sleep(0.02)

    threads = [threading.Thread(target=client, args=[number]) for number in range(len(pictures))]
    for thread in threads:
        thread.start()
    try:
        until_all(lambda given: len(given) > 3)
        promote(NEW)
        until_all(lambda given: (200, NEW) in given)
        promote("--back")
        until_all(lambda given: given[-1] == (200, OLD) and (200, NEW) in given)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    for given in answers:
        assert {status for status, _ in given} == {200}
        assert [version for version, _ in itertools.groupby(version for _, version in given)] == [OLD, NEW, OLD]
