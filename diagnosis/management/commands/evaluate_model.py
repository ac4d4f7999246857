"""`manage.py evaluate_model DATA_DIR/test`"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis.inference import workshop
from diagnosis.management import base


class Command(base.Command):
    help = (
        "Measure the served model, or another, on FOLDER/{NORMAL,PNEUMONIA}, and store the figures in its model card "
        "and each picture's score in its report."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, metavar="FOLDER", help="for instance DATA_DIR/test")
        parser.add_argument("--model", metavar="VERSION", help="a version that list_models shows, or a folder")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            evaluation = workshop.evaluate(options["folder"], model=options["model"])
        except (workshop.DataError, workshop.Unavailable) as error:
            raise CommandError(str(error)) from error
        figures = evaluation.figures
        say = self.stdout.write
        passed = "{accepted} pass the gate" if evaluation.gated else "the model has no gate"
        say(
            (
                "model {}: {pictures} pictures of {patients} patients, {normal} normal and {pneumonia} pneumonia; "
                + passed
            ).format(evaluation.version, **figures)
        )
        say(f"{'AUROC':<20} {_interval(figures['auroc'])}")
        ill = f"{100 * figures['pneumonia'] / figures['pictures']:.1f} % ill, as here"
        say(f"{'calibration error':<20} {_interval(figures['calibration_error'])}   with {ill}")
        for point, at in figures["operating_points"].items():
            say(f"\n{point}, threshold {at['threshold']:.4f}")
            for name in ("accuracy", "sensitivity", "specificity"):
                say(f"  {name:<18} {_interval(at[name])}")
            say(f"  {'':<18} answered Normal   answered Pneumonia")
            say(f"  {'is normal':<18} {at['true_negative']:>15}   {at['false_positive']:>18}")
            say(f"  {'is pneumonia':<18} {at['false_negative']:>15}   {at['true_positive']:>18}")
        clean = figures["operating_points"][evaluation.operating_point]["accuracy"]["value"]
        say(f"\n{'under shifts':<20} accuracy  change   AUROC{'  pass the gate' if evaluation.gated else ''}")
        for name, at in figures["shifts"].items():
            change = at["accuracy"] - clean
            accepted = f"  {at['accepted']:>13}" if evaluation.gated else ""
            say(f"  {name:<18} {at['accuracy']:8.3f}  {change:+.3f}   {at['auroc']:.3f}{accepted}")
        say(f"\nThe probability of each picture, and the worst errors: {evaluation.output}")


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.4f}   95 % {figure['low']:.4f} to {figure['high']:.4f}"
