"""`manage.py export_reviewed DIR`"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis import learning
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Write every picture that somebody has read as Normal or Pneumonia to DIR/{NORMAL,PNEUMONIA}, with a manifest, "
        "for train_model --extra DIR."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR", help="a new or an empty folder")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            exported = learning.export_reviewed(options["folder"])
        except learning.ExportRefused as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{exported.normal} normal and {exported.pneumonia} pneumonia in {options['folder']}; left out: "
            f"{exported.unreadable} unreadable, {exported.negatives} negatives."
        )
        self.stdout.write("They are X-rays of people: delete the folder when it has served, purge does not know of it.")
