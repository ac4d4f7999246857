"""How settings.py and gunicorn.py read the environment and the file .env: typed, and what cannot be is refused by name.

Any setting NAME may lie in a file, which NAME_FILE names. An empty one counts as not set. Refusals are
ImproperlyConfigured, one sentence each, which is all that a start shows of them.
"""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

BASE_DIR = Path(__file__).resolve().parent.parent
_YES, _NO = ("true", "on", "yes", "y", "1"), ("false", "off", "no", "n", "0")
_RATE = re.compile(r"(\d+)\s*/\s*(s|sec|second|m|min|minute|h|hour|d|day)")

Number = TypeVar("Number", int, float)


class _Variables(FileAwareMapping):
    def __getitem__(self, key: str) -> str:
        try:
            value = str(super().__getitem__(key)).rstrip("\r\n")  # a file's last line has an end
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(f"The file that {key}_FILE names cannot be read: {error}.") from error
        if not value:
            raise KeyError(key)
        return value

    def setdefault(self, key: str, default: str = "") -> str:
        """What .env says counts where there is no such variable; an empty one hides it."""
        return str(self.env.setdefault(key, default))


class Environment(environ.FileAwareEnv):
    """What django-environ reads, and kinds of settings that it would read as something else than was meant."""

    ENVIRON = _Variables()

    def flag(self, name: str, *, default: bool) -> bool:
        return self.one_of(name, (*_YES, *_NO), default=str(default).lower()) in _YES

    def words(self, name: str, *, default: Sequence[str]) -> list[str]:
        """A list, comma-separated."""
        words = [word.strip() for word in self.str(name, default="").split(",")]
        return [word for word in words if word] or list(default)

    def number(self, name: str, *, default: Number, least: float, most: float) -> Number:
        """A number as `default` is one: whole, or not."""
        text = self.str(name, default="").strip()
        try:
            number = type(default)(text) if text else default
        except ValueError:
            number = type(default)(least - 1)
        if not least <= number <= most:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise ImproperlyConfigured(f"The setting {name} is {text!r}; it must be {kind} from {least} to {most}.")
        return number

    def rate(self, name: str, *, default: str) -> str:
        """How often something may be done, as throttles understand it."""
        text = self.str(name, default="").strip() or default
        if not (parts := _RATE.fullmatch(text.lower())):
            raise ImproperlyConfigured(
                f"The setting {name} is {text!r}; it must be a number a second, min, hour or day, such as {default}."
            )
        return "/".join(parts.groups())

    def one_of(self, name: str, choices: Collection[str], *, default: str) -> str:
        """One of `choices`, in capitals or not as they are."""
        text = self.str(name, default="").strip() or default
        for choice in choices:
            if choice.lower() == text.lower():
                return choice
        raise ImproperlyConfigured(f"The setting {name} is {text!r}; it must be one of {', '.join(choices)}.")


env = Environment()
env.read_env(BASE_DIR / ".env")
