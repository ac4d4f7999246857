"""What commands share: an error that the person at the terminal can fix is a sentence, not a traceback."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError


class Command(BaseCommand):
    """A command that reports failing files, a failing database or Ctrl-C in a sentence."""

    stopped = "Stopped."
    """What Ctrl-C is answered with."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            said = super().execute(*args, **options)
            self.stdout.flush()
        except BrokenPipeError:  # the reader has gone, as with `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it ends
            return None
        except OSError as error:
            raise CommandError(_sentence(error)) from error
        except DatabaseError as error:
            raise CommandError(
                f"The database fails: {error}. `python manage.py migrate` creates missing tables."
            ) from error
        except KeyboardInterrupt:
            raise CommandError(self.stopped, returncode=130) from None
        return said


def _sentence(error: OSError) -> str:
    told = f"{error.filename}: {error.strerror}." if error.filename else f"{error}."
    may_not_write = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    if may_not_write and Path(settings.MODELS_DIR) in [Path(str(error.filename)), *Path(str(error.filename)).parents]:
        told += " If the folder of models is read-only, copy it and name the copy in the setting MODELS_DIR."
    return told
