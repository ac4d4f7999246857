"""Settings that work as they are meant, or stop the start with one sentence that names them."""

import os
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from pneumonia_site.environment import Environment

env = Environment()


@pytest.mark.parametrize(
    ("said", "read", "expected"),
    [
        ("1e3", lambda: env.number("SETTING", default=25.0, least=0.1, most=10_000), 1000.0),
        ("", lambda: env.number("SETTING", default=25.0, least=0.1, most=10_000), 25.0),
        ("7", lambda: env.number("SETTING", default=20, least=1, most=100), 7),
        ("60 / Hour", lambda: env.rate("SETTING", default="1/min"), "60/hour"),
        ("", lambda: env.rate("SETTING", default="1/min"), "1/min"),
        ("a, 127.0.0.1,", lambda: env.words("SETTING", default=[]), ["a", "127.0.0.1"]),
        ("", lambda: env.words("SETTING", default=["a"]), ["a"]),
        ("info", lambda: env.one_of("SETTING", ["DEBUG", "INFO"], default="DEBUG"), "INFO"),
        ("False", lambda: env.flag("SETTING", default=True), False),
        ("", lambda: env.flag("SETTING", default=True), True),
    ],
)
def test_what_can_be_meant_works(monkeypatch, said, read, expected):
    monkeypatch.setenv("SETTING", said)
    assert read() == expected


@pytest.mark.parametrize(
    ("said", "read"),
    [
        *((said, lambda: env.number("SETTING", default=25.0, least=0.1, most=100)) for said in ("-1", "0x10", "nan")),
        *((said, lambda: env.number("SETTING", default=2, least=1, most=100)) for said in ("0", "2.5", "many", "101")),
        *(
            (said, lambda: env.rate("SETTING", default="1/min"))
            for said in ("600/fortnight", "600/month", "600", "x/s")
        ),
        ("loud", lambda: env.one_of("SETTING", ["DEBUG", "INFO"], default="DEBUG")),
        ("Treu", lambda: env.flag("SETTING", default=True)),
    ],
)
def test_what_cannot_be_is_refused_by_name(monkeypatch, said, read):
    monkeypatch.setenv("SETTING", said)
    with pytest.raises(ImproperlyConfigured, match=f"^The setting SETTING is '{said}'; it must be .*[.]$"):
        read()


def test_the_end_of_a_line_is_no_part_of_what_a_file_says(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("a b\r\n")
    monkeypatch.setenv("OF_A_FILE_FILE", str(tmp_path / "token"))
    assert env.str("OF_A_FILE") == "a b"


def test_a_file_that_cannot_be_read_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("OF_NO_FILE_FILE", str(tmp_path / "none"))
    with pytest.raises(ImproperlyConfigured, match="OF_NO_FILE_FILE"):
        env.str("OF_NO_FILE", default="")


@pytest.mark.parametrize(
    ("command", "setting"),
    [
        (["manage.py", "check"], "API_THROTTLE"),
        (["manage.py", "runserver"], "MAX_UPLOAD_MB"),
        (["-m", "gunicorn", "--config", "pneumonia_site/gunicorn.py"], "WEB_CONCURRENCY"),
        (["-m", "gunicorn", "--config", "pneumonia_site/gunicorn.py"], "LOG_LEVEL"),
    ],
)
def test_a_setting_that_cannot_be_stops_the_start_with_a_sentence(tmp_path, command, setting):
    finished = subprocess.run(
        [sys.executable, *command],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "SECRET_KEY": "k" * 50, "VAR_DIR": str(tmp_path), setting: "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"The setting {setting} is '0'; it must be ")
    assert len(finished.stderr.splitlines()) == 1
