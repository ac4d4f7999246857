"""`manage.py evaluate_model DATA_DIR/test`"""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from diagnosis import inference


class Command(BaseCommand):
    help = "Measure the served network on FOLDER/{NORMAL,PNEUMONIA} and store the figures in its model card."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, metavar="FOLDER", help="for instance DATA_DIR/test")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            figures, scores = inference.evaluate(options["folder"])
        except (inference.DataError, inference.Unavailable) as error:
            raise CommandError(str(error)) from error
        counts = figures["counts"]
        self.stdout.write(
            f"model {inference.model_version()}, threshold {figures['threshold']}, "
            f"{counts['pictures']} pictures of {counts['patients']} patients"
        )
        for name in ("accuracy", "sensitivity", "specificity", "auroc"):
            figure = figures[name]
            self.stdout.write(f"{name:<12} {figure['value']:.4f}   95 % {figure['low']:.4f} to {figure['high']:.4f}")
        self.stdout.write("               answered Normal   answered Pneumonia")
        self.stdout.write(f"is normal      {counts['true_negative']:>15}   {counts['false_positive']:>18}")
        self.stdout.write(f"is pneumonia   {counts['false_negative']:>15}   {counts['true_positive']:>18}")
        self.stdout.write(f"scores of each picture: {scores}")
