"""Settings that work as they are meant, or stop the start with one sentence that names them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from pneumonia_site import environment
from pneumonia_site.environment import Environment, processes

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
        *(
            (said, lambda: env.addresses("SETTING", default="127.0.0.1:8000"), expected)
            for said, expected in [
                ("", ["127.0.0.1:8000"]),
                ("0.0.0.0", ["0.0.0.0"]),
                (":80, [::1]:80", [":80", "[::1]:80"]),
                ("unix:/run/a b.sock", ["unix:/run/a b.sock"]),
                ("fd://3", ["fd://3"]),
            ]
        ),
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
        *(
            (said, lambda: env.addresses("SETTING", default="127.0.0.1:8000"))
            for said in (
                "8000",
                "localhost:99999",
                "localhost:0",
                "localhost:",
                "http://localhost:80",
                "fd://a",
                "unix:",
            )
        ),
    ],
)
def test_what_cannot_be_is_refused_by_name(monkeypatch, said, read):
    monkeypatch.setenv("SETTING", said)
    with pytest.raises(ImproperlyConfigured, match=f"^The setting SETTING is '{said}'; it must be .*[.]$"):
        read()


def test_a_value_that_begins_as_a_variable_does_is_a_value(monkeypatch):
    monkeypatch.setenv("SETTING", "$abc\\$d")
    assert env.text("SETTING") == "$abc\\$d"


@pytest.mark.parametrize("line", ["DEBUG = False", "ALLOWED_HOSTS: a.org", " DEBUG=False", "SECRET_KEY"])
def test_a_line_that_is_no_setting_is_refused_by_its_number_and_not_shown(tmp_path, line):
    (tmp_path / ".env").write_text(f"# of this site\n\n{line}\n")
    with pytest.raises(ImproperlyConfigured, match=r"^Line 3 of .*/\.env is no setting; write NAME=value") as refused:
        environment.read_file(tmp_path / ".env")
    assert line.strip() not in str(refused.value)


def test_a_file_may_begin_with_a_mark_and_end_its_lines_as_windows_does(monkeypatch, tmp_path):
    monkeypatch.delenv("SETTING", raising=False)
    monkeypatch.delenv("ANOTHER", raising=False)
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfSETTING=a b\r\nexport ANOTHER='c'\r\n")
    environment.read_file(tmp_path / ".env")
    try:
        assert (env.text("SETTING"), env.text("ANOTHER")) == ("a b", "c")
    finally:
        del os.environ["SETTING"], os.environ["ANOTHER"]


def test_names_that_are_nearly_a_settings_are_told():
    names = ["DATABSE_URL", "debug", "NUM_PROXY", "SECRET_KEY", "SECRET_KEY_FILE", "PATH", "LANGUAGE", "HTTP_PROXY"]
    assert environment.misspelt(names) == {
        "DATABSE_URL": "DATABASE_URL",
        "debug": "DEBUG",
        "NUM_PROXY": "NUM_PROXIES",
    }


@pytest.mark.parametrize("said", ["foo", "/tmp/x.sqlite3", "postgres://u:secret@h:54x2/n"])
def test_urls_that_cannot_be_read_are_refused_without_their_password(monkeypatch, said):
    monkeypatch.setenv("SETTING", said)
    with pytest.raises(
        ImproperlyConfigured, match=r"^The setting SETTING cannot be read; .*postgres://.*%2F"
    ) as refused:
        env.connection("SETTING", env.db_url_config, default={}, example="postgres://user:password@host:5432/name")
    assert "secret" not in str(refused.value)


def test_the_end_of_a_line_is_no_part_of_what_a_file_says(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("a b\r\n")
    monkeypatch.setenv("OF_A_FILE_FILE", str(tmp_path / "token"))
    assert env.text("OF_A_FILE") == "a b"


def test_a_file_that_cannot_be_read_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("OF_NO_FILE_FILE", str(tmp_path / "none"))
    with pytest.raises(ImproperlyConfigured, match="OF_NO_FILE_FILE"):
        env.text("OF_NO_FILE")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("https://xray.example.org", "xray.example.org"),
        ("https://XRAY.example.org:8443/history/", "XRAY.example.org"),
        ("xray.example.org:8443", "xray.example.org"),
        ("xray.example.org/", "xray.example.org"),
        ("xray.example.org.", "xray.example.org"),
        ("*.example.org", ".example.org"),
        ("xray example", "xray.example.org, or [::1]"),
        ("::1", "xray.example.org, or [::1]"),
        ("röntgen.example.org", "xray.example.org, or [::1]"),
    ],
)
def test_hosts_that_would_keep_everybody_out_are_refused_and_what_to_write_is_told(monkeypatch, said, meant):
    monkeypatch.setenv("SETTING", f"localhost, {said}")
    with pytest.raises(ImproperlyConfigured) as refusal:
        env.hosts("SETTING", default=[])
    assert str(refusal.value).startswith(f"The setting SETTING is '{said}'; it must be hosts alone")
    assert str(refusal.value).endswith(f": write {meant}.")


def test_hosts_that_requests_can_name_are_taken(monkeypatch):
    hosts = ["*", "localhost", "127.0.0.1", "[::1]", ".example.org", "Xray-2.example.org"]
    monkeypatch.setenv("SETTING", ",".join(hosts))
    assert env.hosts("SETTING", default=[]) == hosts


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("xray.example.org", "https://xray.example.org"),
        ("localhost:8000", "https://localhost:8000"),
        ("Xray.example.org/history/", "https://xray.example.org"),
        ("http://xray.example.org/", "http://xray.example.org"),
        ("*.example.org", "https://*.example.org"),
        ("https://.example.org", "https://xray.example.org"),
        ("https://*", "https://xray.example.org"),
        ("ftp://xray.example.org", "https://xray.example.org"),
    ],
)
def test_origins_that_no_form_comes_from_are_refused_and_what_to_write_is_told(monkeypatch, said, meant):
    monkeypatch.setenv("SETTING", f"https://localhost, {said}")
    with pytest.raises(ImproperlyConfigured) as refusal:
        env.origins("SETTING", default=[])
    assert str(refusal.value).startswith(f"The setting SETTING is '{said}'; it must be origins")
    assert str(refusal.value).endswith(f": write {meant}.")


def test_origins_are_taken_as_browsers_send_them(monkeypatch):
    monkeypatch.setenv("SETTING", "http://[::1]:8000, https://*.example.org, https://Xray-2.example.org:8443")
    taken = ["http://[::1]:8000", "https://*.example.org", "https://xray-2.example.org:8443"]
    assert env.origins("SETTING", default=[]) == taken


def test_of_an_origin_the_schemes_own_port_is_left_out_as_browsers_do(monkeypatch):
    monkeypatch.setenv("SETTING", "https://xray.example.org:443, http://[::1]:80, http://a.org:443, https://a.org:80")
    taken = ["https://xray.example.org", "http://[::1]", "http://a.org:443", "https://a.org:80"]
    assert env.origins("SETTING", default=[]) == taken


def test_as_many_processes_serve_as_there_are_cores_also_where_a_system_does_not_tell_which(monkeypatch):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert processes() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processes() == 2
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    assert processes() == 3


@pytest.mark.parametrize("said", ["Mars/Base", "Europe", "utc", "/etc/passwd", "../etc/passwd"])
def test_time_zones_that_there_are_not_are_refused(monkeypatch, said):
    monkeypatch.setenv("SETTING", said)
    with pytest.raises(ImproperlyConfigured, match=f"^The setting SETTING is '{said}'; it must be a time zone"):
        env.time_zone("SETTING", default="UTC")
    monkeypatch.setenv("SETTING", "Europe/Paris")
    assert env.time_zone("SETTING", default="UTC") == "Europe/Paris"


def test_a_folder_that_cannot_be_made_or_written_to_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SETTING", str(tmp_path / "new" / "folder"))
    assert env.folder("SETTING", default=tmp_path).is_dir()
    (tmp_path / "file").touch()
    for place, why in {"file": "File exists", "file/below": "Not a directory"}.items():
        monkeypatch.setenv("SETTING", str(tmp_path / place))
        with pytest.raises(ImproperlyConfigured, match=f"^The setting SETTING is '.*{place}'; it must .*: {why}[.]$"):
            env.folder("SETTING", default=tmp_path)
    monkeypatch.setenv("SETTING", "/proc/self")
    with pytest.raises(ImproperlyConfigured, match=r"^The setting SETTING is '/proc/self'; it must be .*[.]$"):
        env.folder("SETTING", default=tmp_path)


@pytest.mark.parametrize(
    ("command", "setting", "said"),
    [
        (["manage.py", "check"], "API_THROTTLE", "0"),
        (["manage.py", "runserver"], "MAX_UPLOAD_MB", "0"),
        (["manage.py", "check"], "TIME_ZONE", "Mars/Base"),
        (["-m", "gunicorn", "--config", "pneumonia_site/gunicorn.py"], "WEB_CONCURRENCY", "0"),
        (["-m", "pneumonia_site"], "WEB_CONCURRENCY", "abc"),
        (["-m", "pneumonia_site"], "LOG_LEVEL", "0"),
        (["-m", "pneumonia_site"], "ALLOWED_HOSTS", "https://xray.example.org"),
        (["-m", "pneumonia_site"], "CSRF_TRUSTED_ORIGINS", "xray.example.org"),
        (["-m", "pneumonia_site"], "VAR_DIR", "/dev/null/folder"),
    ],
)
def test_a_setting_that_cannot_be_stops_the_start_with_a_sentence(tmp_path, command, setting, said):
    finished = subprocess.run(
        [sys.executable, *command],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "SECRET_KEY": "k" * 50, "VAR_DIR": str(tmp_path), setting: said},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"The setting {setting} is '{said}'; it must be ")
    assert len(finished.stderr.splitlines()) == 1


def test_a_checkout_that_cannot_be_written_to_serves_where_var_dir_is_another_place(tmp_path):
    checkout = Path(django_settings.BASE_DIR)
    shutil.copytree(checkout / "pneumonia_site", tmp_path / "pneumonia_site")  # which tells where the checkout is
    shutil.copy(checkout / "manage.py", tmp_path)
    for name in ("diagnosis", "ml_model", "static", "templates", "locale", ".env.example"):
        (tmp_path / name).symlink_to(checkout / name)
    (tmp_path / "var").touch()  # nothing can be made below, by root neither

    def check(var_dir):
        return subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=tmp_path,
            env={**os.environ, "DEBUG": "False", "SECRET_KEY": "k" * 50, "VAR_DIR": var_dir},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert check(str(tmp_path / "elsewhere")).returncode == 0
    refused = check("")
    assert refused.stderr.startswith(f"The setting VAR_DIR is '{tmp_path / 'var'}'; it must be ")
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("said", ["postgress://u:secret@h/n", "mysql://u:secret@h/n"])
def test_databases_that_the_site_does_not_know_are_refused(tmp_path, said):
    finished = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "SECRET_KEY": "k" * 50, "VAR_DIR": str(tmp_path), "DATABASE_URL": said},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 1
    assert finished.stderr == "The setting DATABASE_URL must begin with postgres:// or sqlite:///.\n"


@pytest.mark.parametrize("command", [["manage.py", "check"], ["-m", "pneumonia_site"]])
def test_a_start_tells_of_a_line_that_is_no_setting(tmp_path, command):
    shutil.copytree(Path(django_settings.BASE_DIR, "pneumonia_site"), tmp_path / "pneumonia_site")
    shutil.copy(Path(django_settings.BASE_DIR, "manage.py"), tmp_path)
    (tmp_path / ".env").write_text("DEBUG = False\n")
    finished = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"Line 1 of {tmp_path / '.env'} is no setting; ")
    assert len(finished.stderr.splitlines()) == 1


def test_the_database_lies_in_its_folder_whatever_that_is_called(tmp_path):
    folder = tmp_path / "a+b%20 #c?d"
    code = (
        "from django.conf import settings; print(settings.DATABASES['default']['NAME'], settings.MEDIA_ROOT, sep='\\n')"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "SECRET_KEY": "k" * 50, "VAR_DIR": str(folder), "DATABASE_URL": "", "MEDIA_ROOT": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert finished.stdout.splitlines() == [str(folder / "db.sqlite3"), str(folder / "media")]
