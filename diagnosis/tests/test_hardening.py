"""What protects a site that strangers reach."""

import os
import re
import secrets
import subprocess
import sys

import pytest
from django.conf import settings as django_settings

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
