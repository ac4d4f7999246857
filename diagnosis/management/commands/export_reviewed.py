"""`manage.py export_reviewed DIR`"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis import learning
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Write every picture that was read as Normal or Pneumonia without knowledge of the model's answer to "
        "DIR/{NORMAL,PNEUMONIA}, with a manifest, for train_model --extra DIR."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder")
        parser.add_argument(
            "--all", action="store_true", help="include pictures whose readers had all seen the model's answer"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            exported = learning.export_reviewed(options["folder"], blind=not options["all"])
        except learning.ExportRefused as error:
            raise CommandError(str(error)) from error
        written = f"{exported.normal} normal and {exported.pneumonia} pneumonia in {options['folder']}"
        left_out = f"{exported.unreadable} unreadable, {exported.negatives} negatives"
        if options["all"]:
            written += f", {exported.not_blind} of them without a blind reading"
        else:
            left_out += f", {exported.not_blind} without a blind reading (--all writes these too)"
        self.stdout.write(f"{written}; left out: {left_out}.")
        self.stdout.write(
            "These are X-rays of people. Delete the folder when you are done; purge does not know about it."
        )
