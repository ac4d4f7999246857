"""How settings.py and gunicorn.py read the environment and the file .env: typed; invalid values are refused by name.

NAME_FILE may name a file that holds the setting NAME. An empty setting counts as unset. Refusals are
ImproperlyConfigured with one sentence, which is all that a start shows.
"""

import contextlib
import difflib
import errno
import io
import os
import re
import warnings
import zoneinfo
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

BASE_DIR = Path(__file__).resolve().parent.parent
_YES, _NO = ("true", "on", "yes", "y", "1"), ("false", "off", "no", "n", "0")
_HOST = re.compile(r"\*|\.?[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\]")
_ORIGIN = re.compile(r"https?://((\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(:\d+)?")
_LINE = re.compile(r"(export )?[A-Za-z_0-9]+=")
_ADDRESS = re.compile(r"unix:.+|fd://\d+|(?:tcp://)?(?:\[[0-9a-f:.%]+\]|(?!\d*$)[a-z0-9.-]*)(?::(\d+))?", re.IGNORECASE)
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

    def text(self, name: str, *, default: str = "") -> str:
        """As it is. django-environ would take `$abc`, as a key or password may begin, for another variable's name."""
        return str(self.ENVIRON.get(name, default))

    def connection(self, name: str, read: Callable[[str], dict], *, default: dict, example: str) -> dict:
        """What a URL tells, read as django-environ does. The refusal leaves out the URL, which may hold a password."""
        if not (url := self.text(name).strip()):
            return default
        with contextlib.suppress(Exception):  # each kind of URL has errors of its own
            with warnings.catch_warnings(action="ignore"):  # they would print the whole of it
                told = read(url)
            if any(told.get(key) for key in ("ENGINE", "BACKEND", "EMAIL_BACKEND")):
                return told
        raise ImproperlyConfigured(
            f"The setting {name} cannot be read; it must be a URL such as {example}. In a user's name or password "
            "write %2F for /, %23 for #, %3A for :, %40 for @ and %25 for %."
        )

    def flag(self, name: str, *, default: bool) -> bool:
        return self.one_of(name, (*_YES, *_NO), default=str(default).lower()) in _YES

    def words(self, name: str, *, default: Sequence[str]) -> list[str]:
        """A list, comma-separated."""
        words = [word.strip() for word in self.text(name, default="").split(",")]
        return [word for word in words if word] or list(default)

    def hosts(self, name: str, *, default: Sequence[str]) -> list[str]:
        """Names of hosts as Django compares them: what else stands beside one would keep everybody out."""
        hosts = self.words(name, default=default)
        for host in hosts:
            if not _HOST.fullmatch(host.lower()):
                meant = re.sub(r"^\w+:/*|^\*(?=\.)|[/:?#].*$|[.]$", "", host)
                write = f"write {meant}" if _HOST.fullmatch(meant.lower()) else "write xray.example.org, or [::1]"
                raise ImproperlyConfigured(
                    f"The setting {name} is {host!r}; it must be hosts alone, without scheme, port and path: {write}."
                )
        return hosts

    def origins(self, name: str, *, default: Sequence[str]) -> list[str]:
        """Origins as browsers tell them, which Django compares with these letter by letter."""
        origins = self.words(name, default=default)
        for origin in origins:
            if not _ORIGIN.fullmatch(origin.lower()):
                meant = re.sub(r"^(?!\w+://)", "https://", re.sub(r"(?<![:/])[/?#].*$", "", origin.lower()))
                write = meant if _ORIGIN.fullmatch(meant) else "https://xray.example.org"
                raise ImproperlyConfigured(
                    f"The setting {name} is {origin!r}; it must be origins, with a scheme and no path: write {write}."
                )
        return [
            origin.removesuffix(":443" if origin.startswith("https:") else ":80") for origin in map(str.lower, origins)
        ]

    def time_zone(self, name: str, *, default: str) -> str:
        text = self.text(name, default="").strip() or default
        try:
            zoneinfo.ZoneInfo(text)
            system = Path("/usr/share/zoneinfo")  # where it is there, Django asks it, and not the package tzdata
            known = not system.exists() or Path(system, text).exists()
        except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
            known = False
        if not known:
            raise ImproperlyConfigured(
                f"The setting {name} is {text!r}; it must be a time zone as IANA names it, such as Europe/Paris."
            )
        return text

    def folder(self, name: str, *, default: Path) -> Path:
        """A folder to write into, made where it is missing; in the checkout where it is not told from the root on."""
        path = BASE_DIR / self.text(name, default=str(default))
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ImproperlyConfigured(
                f"The setting {name} is {str(path)!r}; it must be a folder that can be made and written to, "
                f"and is not: {error.strerror}."
            ) from error
        return path

    def number(self, name: str, *, default: Number, least: float, most: float) -> Number:
        """A number as `default` is one: whole, or not."""
        text = self.text(name, default="").strip()
        try:
            number = type(default)(text) if text else default
        except ValueError:
            number = type(default)(least - 1)
        if not least <= number <= most:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise ImproperlyConfigured(f"The setting {name} is {text!r}; it must be {kind} from {least} to {most}.")
        return number

    def addresses(self, name: str, *, default: str) -> list[str]:
        """Where gunicorn is to listen, comma-separated; what it cannot read would end it in a traceback."""
        words = self.words(name, default=[default])
        for word in words:
            if not (parts := _ADDRESS.fullmatch(word)) or int(parts[1] or 1) not in range(1, 65_536):
                raise ImproperlyConfigured(
                    f"The setting {name} is {word!r}; it must be an address and a port up to 65535, such as {default}, "
                    "or a socket, such as unix:/run/pneumonia-site/web.sock."
                )
        return words

    def rate(self, name: str, *, default: str) -> str:
        """How often something may be done, as throttles understand it."""
        text = self.text(name, default="").strip() or default
        if not (parts := _RATE.fullmatch(text.lower())):
            raise ImproperlyConfigured(
                f"The setting {name} is {text!r}; it must be a number a second, min, hour or day, such as {default}."
            )
        return "/".join(parts.groups())

    def one_of(self, name: str, choices: Collection[str], *, default: str) -> str:
        """One of `choices`, in capitals or not as they are."""
        text = self.text(name, default="").strip() or default
        for choice in choices:
            if choice.lower() == text.lower():
                return choice
        raise ImproperlyConfigured(f"The setting {name} is {text!r}; it must be one of {', '.join(choices)}.")


def read_file(path: Path) -> None:
    """Take settings from a file such as .env. Refuses, by its number, a line that django-environ would pass over, and
    print with whatever secret is in it."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#") and not _LINE.match(line):
            raise ImproperlyConfigured(
                f"Line {number} of {path} is no setting; write NAME=value, without spaces before NAME and around =."
            )
    env.read_env(io.StringIO("\n".join(lines)))


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """Those of `names` that are nearly a setting's, with that one."""
    known = set(re.findall(r"^#?([A-Z_]+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE))
    others = {name for name in names if name not in known and name.removesuffix("_FILE") not in known}
    near = {name: difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8) for name in others}
    return {name: meant[0] for name, meant in near.items() if meant}


env = Environment()
read_file(BASE_DIR / ".env")


def processes() -> int:
    """How many processes serve in production."""
    # Which cores a process may use is told by Linux alone.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return env.number("WEB_CONCURRENCY", default=max(2, cores), least=1, most=1_000)
