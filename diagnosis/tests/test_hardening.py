"""What protects a site that strangers reach."""

import os
import re
import secrets
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command

from diagnosis.api.throttles import CallerThrottle

PRODUCTION = {"DEBUG": "False", "SECRET_KEY": secrets.token_urlsafe(60), "ALLOWED_HOSTS": "xray.example.org"}


def check(tmp_path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in (*PRODUCTION, "HTTPS", "DJANGO_ALLOW_ASYNC_UNSAFE")
    }
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=django_settings.BASE_DIR,
        env={**kept, "VAR_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
    )


def test_production_settings_pass_the_deployment_check(tmp_path):
    result = check(tmp_path, PRODUCTION)
    assert result.returncode == 0, result.stderr


def test_a_secret_may_lie_in_a_file(tmp_path):
    (tmp_path / "key").write_text(PRODUCTION["SECRET_KEY"] + "\n")
    named = {"SECRET_KEY_FILE": str(tmp_path / "key")}
    without = {name: value for name, value in PRODUCTION.items() if name != "SECRET_KEY"}
    assert check(tmp_path, {**without, **named}).returncode == 0
    assert check(tmp_path, {**without, "SECRET_KEY_FILE": str(tmp_path / "none")}).returncode != 0


def test_every_setting_is_listed_with_its_line():
    source = (django_settings.BASE_DIR / "pneumonia_site" / "settings.py").read_text()
    listed = (django_settings.BASE_DIR / ".env.example").read_text()
    for name in set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source)):
        assert re.search(rf"^# .+\n#{name}=", listed, re.MULTILINE), name


def test_without_a_key_production_does_not_start_and_names_it(tmp_path):
    result = check(tmp_path, {name: value for name, value in PRODUCTION.items() if name != "SECRET_KEY"})
    assert result.returncode != 0
    assert "SECRET_KEY" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize("empty", ["SECRET_KEY", "SECRET_KEY_FILE"])
def test_an_empty_key_is_none(tmp_path, empty):
    (tmp_path / "key").write_text("\n")
    named = {"SECRET_KEY": "", "SECRET_KEY_FILE": str(tmp_path / "key")}
    result = check(tmp_path, {**PRODUCTION, "SECRET_KEY": "", empty: named[empty]})
    assert result.returncode == 1
    assert result.stderr.startswith("SECRET_KEY is not set, or empty.")


COLLECT = """
import os, sys
from pneumonia_site import settings
settings.STATIC_ROOT = sys.argv[1]
settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
import django
django.setup()
os.umask(0o077)
from django.core.management import call_command
call_command("collectstatic", interactive=False, verbosity=0)
"""


def test_whoever_collects_style_sheets_anybody_may_serve_them(tmp_path):
    static = tmp_path / "static"
    static.mkdir()
    subprocess.run(
        [sys.executable, "-c", COLLECT, str(static)],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, **PRODUCTION, "VAR_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "pneumonia_site.settings"},
        check=True,
    )
    modes = {path.relative_to(static): path.stat().st_mode & 0o777 for path in static.rglob("*")}
    assert any(path.suffix == ".gz" for path in modes)
    assert {path: mode for path, mode in modes.items() if mode not in (0o644, 0o755)} == {}


def test_where_style_sheets_cannot_be_written_is_told_in_a_sentence(settings, tmp_path):
    (tmp_path / "closed").touch()
    settings.STATIC_ROOT = str(tmp_path / "closed" / "static")
    with pytest.raises(CommandError, match=r"closed/static.*: Not a directory\.$"):
        call_command("collectstatic", interactive=False, verbosity=0)


@pytest.mark.django_db
def test_a_throttled_caller_stays_so_however_many_others_come(client, settings, monkeypatch):
    monkeypatch.setattr(CallerThrottle, "THROTTLE_RATES", {"api": "1/min"})
    assert [client.get("/api/predictions/").status_code for _ in range(2)] == [200, 429]
    for number in range(1000):
        cache.set(f"throttle_api_{number}", [1.0])
    assert client.get("/api/predictions/").status_code == 429


@pytest.mark.django_db
def test_many_files_too_many_are_refused_in_words(client):
    files = [SimpleUploadedFile(f"{number}.jpg", b"x") for number in range(101)]
    answer = client.post("/api/predictions/", {"file": files})
    assert "You sent 101 files" in answer.content.decode()


def test_any_wsgi_server_serves_with_debug_off(tmp_path):
    program = (
        "import pneumonia_site.wsgi; from django.conf import settings; "
        "print(settings.DEBUG, settings.ALLOWED_HOSTS, settings.SIGN_UP, settings.ANONYMOUS_UPLOADS)"
    )

    def start(**environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=django_settings.BASE_DIR,
            env={"VAR_DIR": str(tmp_path), "DEBUG": "", **environment},
            capture_output=True,
            text=True,
        )

    assert "SECRET_KEY is not set" in start().stderr
    assert start(SECRET_KEY="k" * 50).stdout == "False ['localhost', '127.0.0.1', '[::1]'] False False\n"


def test_for_development_a_key_is_made_once_and_kept(tmp_path):
    development = {"DEBUG": "True"}
    check(tmp_path, development)
    key = tmp_path / "secret_key"
    made = key.read_text()
    assert len(made) >= 50
    assert key.stat().st_mode & 0o077 == 0
    check(tmp_path, development)
    assert key.read_text() == made
    assert not list(tmp_path.glob("secret_key.*"))


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/", "/history/", "/model/", "/accounts/login/", "/admin/login/", "/api/nothing"])
def test_every_answer_carries_the_protecting_headers(client, address):
    headers = client.get(address).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.django_db
def test_over_https_browsers_are_told_to_stay_there(client, settings):
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 31_536_000
    assert client.get("/").headers["Location"].startswith("https://")
    assert "max-age=31536000" in client.get("/", secure=True).headers["Strict-Transport-Security"]


def test_style_sheets_are_served_in_production_and_nothing_beside_them(tmp_path):
    program = (
        "from django.core.wsgi import get_wsgi_application; get_wsgi_application(); from django.test import Client; "
        "client = Client(); paths = ['css/base.css', 'admin/css/base.css', '../README.md', '%2e%2e/README.md', 'x']; "
        "print([client.get('/static/' + path).status_code for path in paths])"
    )
    environment = {**PRODUCTION, "HTTPS": "False", "ALLOWED_HOSTS": "testserver", "VAR_DIR": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=django_settings.BASE_DIR,
        env={**environment, "DJANGO_SETTINGS_MODULE": "pneumonia_site.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == "[200, 200, 404, 404, 404]"
