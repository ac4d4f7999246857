"""How schemathesis, run by test_schema.py, makes requests."""

import io
import os
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st

from ml_model import phantom

OWN_TOKEN = os.environ.get("OWN_TOKEN_ID")


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave one request out: to revoke the token that the run itself logs in with, which would end it."""
    revokes = case.operation.label == "DELETE /api/tokens/{id}/"
    return not (revokes and OWN_TOKEN and (case.path_parameters or {}).get("id") == OWN_TOKEN)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give each request a key of its own: no schema can say that one must not come with two different requests."""
    key = (case.headers or {}).get("Idempotency-Key", "")
    if 0 < len(key) <= 200 and key.isascii() and key.isprintable():
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


def _xray(seed: int) -> bytes:
    file = io.BytesIO()
    phantom.draw(64, 64, seed=seed).save(file, "PNG")
    return file.getvalue()


# No schema can say "bytes that are an X-ray": where a file is asked for and is to be right, these are sent.
schemathesis.openapi.format("binary", st.sampled_from([_xray(1), _xray(2)]))
