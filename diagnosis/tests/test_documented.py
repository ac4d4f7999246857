"""What docs/api.md tells people to type works as it stands."""

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from diagnosis import faults
from diagnosis.api import problems
from diagnosis.models import ApiToken, AuditEvent, Prediction, Upload

TEXT = (Path(django_settings.BASE_DIR) / "docs" / "api.md").read_text()


def examples(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE))


@pytest.fixture
def typed(live_server, bob, tmp_path, xray):
    """Runs examples in a folder with the two pictures that they name; gives what they print."""
    (tmp_path / "xray.jpg").write_bytes(xray())
    (tmp_path / "second.png").write_bytes(xray("PNG", seed=1))
    _token, secret = ApiToken.objects.create(bob, expiry=timedelta(days=1), name="examples")

    def run(interpreter: list[str], language: str) -> str:
        script = examples(language)
        for told, here in {"http://localhost:8000": live_server.url, "paste-your-token-here": secret}.items():
            assert told in script
            script = script.replace(told, here)
        result = subprocess.run(
            [*interpreter, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_examples_with_curl(typed, tmp_path):
    said = typed(["bash", "-eu"], "sh")
    assert '"operating_point":"screening"' in said
    assert '"results":[{"file_name":"xray.jpg"' in said
    assert "304\n" in said
    assert '"reading":"Normal"' in said
    assert AuditEvent.objects.filter(action="reviewed").exists(), "the reading itself went with the picture"
    assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert Upload.objects.count() == 3, "one alone, two together; the one sent twice under one key was deleted"


@pytest.mark.django_db(transaction=True)
def test_the_examples_with_python(typed):
    lines = typed([sys.executable], "python").splitlines()
    prediction = Prediction.objects.get()
    assert lines[0] == f"{prediction.label} {prediction.probability}"
    assert len(lines) == (2 if prediction.label == "Normal" else 1)


def test_every_code_of_an_error_is_explained():
    source = Path(problems.__file__).read_text()
    known = set(re.findall(r'(?:problem|_body|or_page)\(\s*\d+,\s*"(\w+)"', source))
    known |= set(re.findall(r'default_code = "(\w+)"', source))
    known |= {fault.code for fault in vars(faults).values() if isinstance(fault, faults.Fault)}
    assert len(known) > 8
    for code in known:
        assert f"`{code}`" in TEXT, code
