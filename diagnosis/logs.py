"""What the log says, and what it never says: names of files and people, URLs with search words, tokens.

Our own messages are written to be safe. Those of libraries carry what people sent (addresses, names,
host headers), so of these only the fixed part is kept, and of exceptions the kind and the place,
never the message. A line of the log and an answer belong together by the request's id.
"""

import json
import logging
import os
import re
import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_OURS = ("diagnosis", "ml_model", "pneumonia_site")
_REFUSALS = "django.security."
_REASONS = {"DisallowedHost": " The host named is not in ALLOWED_HOSTS."}
_SERVER = "gunicorn.error"
"""Says at INFO how processes come and go, and above it what is wrong with requests."""
_FIELDS = ("method", "view", "status", "milliseconds")
"""What a line about a request tells apart; see middleware.py."""
# Hexadecimal digits, as proxies make them: a name of a person or a file cannot pass for an id.
_WELL_FORMED = re.compile(r"[0-9a-fA-F-]{16,64}")
_MOST_CAUSES = 10

_current: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """The id of the request that is being answered; empty outside of one."""
    return _current.get()


@contextmanager
def answering(given: str) -> Iterator[str]:
    """Answer a request under the id `given`, if it is well-formed, or a new one."""
    token = _current.set(given if _WELL_FORMED.fullmatch(given) else uuid.uuid4().hex)
    try:
        yield _current.get()
    finally:
        _current.reset(token)


class Line(logging.Formatter):
    """A line to read: time, level, logger, id of the request, message."""

    def format(self, record: logging.LogRecord) -> str:
        moment = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(record.created))},{record.msecs:03.0f}"
        id_ = _id_of(record)
        line = f"{moment} {record.levelname} {record.name}{f' [{id_}]' if id_ else ''}: {_message(record)}"
        return f"{line}\n{error}" if (error := _error(record)) else line


class Json(logging.Formatter):
    """A JSON object a line: time, level, logger, message, and where there are such, request_id, error and _FIELDS."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
            "request_id": _id_of(record),
            **{name: getattr(record, name, None) for name in _FIELDS},
            "error": _error(record),
        }
        return json.dumps({name: value for name, value in told.items() if value not in (None, "")})


def _id_of(record: logging.LogRecord) -> str:
    # Django logs some answers after the middleware has returned, and hands the request along.
    return request_id() or getattr(getattr(record, "request", None), "request_id", "")


def _message(record: logging.LogRecord) -> str:
    """The message, if it is ours; otherwise only its fixed part, without the texts put into it."""
    if _is_ours(record.name) or (record.name == _SERVER and record.levelno <= logging.INFO):
        return _message_of_ours(record)
    if record.name.startswith(_REFUSALS):  # its message is whole, and may quote a header or a path
        kind = record.name.removeprefix(_REFUSALS)
        return f"Refused: {kind}.{_REASONS[kind]}" if kind in _REASONS else f"Refused: {kind}"
    if record.name == "django.request":  # its message is reason and path
        return f"Answered {getattr(record, 'status_code', '')}"
    if not isinstance(record.msg, str):
        return type(record.msg).__name__
    if not record.args or not isinstance(record.args, tuple):
        return record.msg.partition(": ")[0]  # what follows may be quoted: gunicorn does so with a bad first line
    try:
        return record.msg % tuple(map(_shown, record.args))
    except (TypeError, ValueError):
        return record.msg


def _message_of_ours(record: logging.LogRecord) -> str:
    """Whole, but for exceptions of others: the system and the database quote names."""
    if not isinstance(record.args, tuple):
        return record.getMessage()
    foreign = [isinstance(arg, BaseException) and not _is_ours(type(arg).__module__) for arg in record.args]
    shown = (_shown(arg) if told else arg for arg, told in zip(record.args, foreign, strict=True))
    return str(record.msg) % tuple(shown) if record.args else str(record.msg)


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in _OURS


def _shown(arg: object) -> object:
    if isinstance(arg, int | float):
        return arg
    return _kind(arg) if isinstance(arg, BaseException) else "…"


def _error(record: logging.LogRecord) -> str:
    """Where and of which kind the exception was, and its causes: a traceback without messages."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if record.name.startswith(_REFUSALS):  # a stranger's doing, and not a fault
        return ""
    lines: list[str] = []
    for _ in range(_MOST_CAUSES):
        if error is None:
            break
        lines += ["Caused by:\n"] if lines else []
        lines += [*traceback.format_tb(error.__traceback__), f"{_kind(error)}\n"]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(lines).rstrip()


def _kind(error: BaseException) -> str:
    """The class of `error`, and what the system or the database call it."""
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
    if isinstance(error, OSError) and error.errno:
        code = os.strerror(error.errno)
    return f"{name}: {code}" if code else name
