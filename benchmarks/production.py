"""The production server over a folder of its own, to torture, to measure, and for the tests that need one."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
DISK_MB = 1024
_ACCOUNT = """
from django.contrib.auth import get_user_model
from django.core.management import call_command
from diagnosis import roles
from diagnosis.models import ApiToken
call_command("migrate", verbosity=0)
user = get_user_model().objects.create_user("program")
roles.give(user, "uploader")
print("token", ApiToken.objects.create(user=user, name="program")[1])
"""


class Site:
    """The production server over a folder of its own."""

    def __init__(self, folder: Path, *, own_disk: bool = True, **environment: str):
        self.var, self.log = folder / "var", folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None
        self.var.mkdir()
        self.is_disk = own_disk and self._mount()
        (self.var / "tmp").mkdir()
        self.environment = {
            **os.environ,
            "VAR_DIR": str(self.var),
            "TMPDIR": str(self.var / "tmp"),
            "PORT": str(self.port),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "PREDICT_THROTTLE": "1000000/min",
            "API_THROTTLE": "1000000/min",
            "LOG_LEVEL": "INFO",
        }
        for name in (
            "DJANGO_ALLOW_ASYNC_UNSAFE",
            "BIND",
            "ALLOWED_HOSTS",
            "HTTPS",
            "NUM_PROXIES",
            "DATABASE_URL",
            "MEDIA_ROOT",
            "CACHE_URL",
        ):
            self.environment.pop(name, None)
        self.environment.update(environment)

    def _mount(self) -> bool:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "torture", str(self.var)]
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def manage(self, *arguments: str) -> str:
        """What a command of manage.py prints."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def account(self) -> str:
        """Make the database and one account that may upload; returns its token."""
        return self.manage("shell", "--command", _ACCOUNT).split("token ")[1].strip()

    def start(self, configuration: str = "pneumonia_site/gunicorn.py") -> None:
        """Start the server and return at once."""
        command = [sys.executable, "-m", "pneumonia_site", "--config", configuration]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self, how: int = signal.SIGTERM) -> None:
        """Stop the server: politely, or with SIGKILL all its processes at once."""
        if self.process and self.process.poll() is None:
            if how == signal.SIGKILL:
                os.killpg(self.process.pid, how)
            else:
                self.process.send_signal(how)
            self.process.wait(60)

    def wait(self, patience: float = 120) -> None:
        """Wait until the server answers."""
        end = time.monotonic() + patience
        while True:
            try:
                requests.get(f"{self.address}/model/", timeout=10)
                return
            except requests.RequestException:
                if time.monotonic() > end or (self.process and self.process.poll() is not None):
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.05)

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        if not self.process:
            return []
        found = []
        with contextlib.suppress(OSError):
            for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
                with contextlib.suppress(OSError):  # another child, such as `sweep`, that has just ended
                    if b"gunicorn" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(int(pid))
        return found

    def memory_mb(self) -> float:
        """Memory of all processes of the server, each shared page counted once (PSS)."""
        total = 0
        for pid in [self.process.pid if self.process else 0, *self.workers()]:
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        if self.is_disk:
            subprocess.run(["umount", "--lazy", str(self.var)], check=False)
