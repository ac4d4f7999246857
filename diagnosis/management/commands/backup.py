"""Write all that the site keeps into one file, while it runs."""

import sqlite3
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from diagnosis import backup
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Write rows, X-rays and heatmaps into one ZIP file while the site runs. It holds people's pictures: keep "
        "it as safe as the site. Models, settings and the secret key are not included."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")

    def handle(self, *, file: Path, **options: Any) -> None:
        try:
            made = backup.write(file)
        except backup.Refused as error:
            raise CommandError(str(error)) from error
        except sqlite3.Error as error:
            raise CommandError(f"The database could not be copied: {error}. Has `migrate` been run?") from error
        except OSError as error:
            raise CommandError(f"{file} could not be written: {error}.") from error
        self.stdout.write(
            f"{file} holds {made.uploads} uploads and {made.predictions} predictions with {made.files} files."
        )
