"""The API's description tells the truth: nothing is sent back that it does not announce."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command

from diagnosis.models import ApiToken

SNAPSHOT = Path(django_settings.BASE_DIR) / "docs" / "openapi.yaml"


def test_the_committed_description_is_the_generated_one(tmp_path):
    call_command("spectacular", "--file", str(tmp_path / "now.yaml"), "--validate", "--fail-on-warn")
    assert (tmp_path / "now.yaml").read_text() == SNAPSHOT.read_text(), "the API has changed: `make openapi` renews it"


@pytest.mark.django_db
def test_the_description_is_served_as_openapi_3_1(client):
    served = yaml.safe_load(client.get("/api/schema/").content)
    assert served["openapi"].startswith("3.1")
    assert served["paths"] == yaml.safe_load(SNAPSHOT.read_text())["paths"]
    assert client.get("/api/schema/?format=json").json()["openapi"] == served["openapi"]


@pytest.mark.django_db
def test_all_that_a_refusal_tells_is_described(client, no_xray):
    body = client.post("/predict", {"file": SimpleUploadedFile("x.jpg", no_xray)}).json()
    assert body["code"] == "not_a_chest_xray"
    described = yaml.safe_load(SNAPSHOT.read_text())["components"]["schemas"]["Problem"]["properties"]
    assert set(body) == set(described)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("caller", ["visitor", "token"])
def test_schemathesis_finds_nothing(live_server, client, settings, bob, xray, monkeypatch, tmp_path, caller):
    """Some hundred requests, right and wrong, and chains of them, against the running server; every check is on."""
    for throttle in ("CallerThrottle", "PredictThrottle"):
        monkeypatch.setattr(f"diagnosis.api.throttles.{throttle}.get_rate", lambda self: None)
    if caller == "token":
        token, secret = ApiToken.objects.create(bob, expiry=timedelta(days=1), name="schemathesis")
        header, own = f"Authorization: Bearer {secret}", token.token_key
    else:
        # Without its cookie a visitor would not find again what it made.
        client.post("/predict", {"file": SimpleUploadedFile("x.jpg", xray(size=(64, 64)))})
        header, own = f"Cookie: sessionid={client.cookies['sessionid'].value}", ""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        *("run", f"{live_server.url}/api/schema/", "--checks", "all", "--header", header),
        *("--seed", "1", "--max-examples", "4", "--generation-database", "none", "--no-color"),
    ]
    environment = {"SCHEMATHESIS_HOOKS": "diagnosis.tests.schemathesis_hooks", "OWN_TOKEN_ID": own}
    result = subprocess.run(
        command,
        cwd=tmp_path,  # where it keeps its notes
        env={**os.environ, "PYTHONPATH": str(django_settings.BASE_DIR), **environment},
        capture_output=True,
        text=True,
        timeout=300,  # half a minute on a quiet machine
    )
    assert result.returncode == 0, result.stdout + result.stderr
