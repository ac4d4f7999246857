"""`manage.py drift_report`"""

import json
from argparse import ArgumentTypeError
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from diagnosis import drift
from diagnosis.management import base


def _number(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise ArgumentTypeError("give a whole number from 1 to 1000000")
    return int(text)


class Command(base.Command):
    help = (
        "Compare the latest scores of the served model with those of its validation pictures: population "
        "stability index and Kolmogorov-Smirnov, and what they mean."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--last", type=_number, default=drift.LATEST, metavar="N", help="how many scores (default: %(default)s)"
        )
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        found = drift.drift(options["last"])
        if found.missing:
            raise CommandError(found.missing)
        if options["format"] == "json":
            self.stdout.write(json.dumps(asdict(found), indent=2, ensure_ascii=False))
            return
        say = self.stdout.write
        say(f"model {found.model_version}, its latest {found.latest} scores against validation")
        for measure in found.measures:
            at = measure.comparison
            say(f"\n{measure.title}: {at.rows} scores, {at.reference_rows} of validation")
            say(f"  {measure.verdict}")
            if at.psi is not None:
                say(f"  population stability index  {at.psi:.3f}   (chance alone: up to {at.psi_by_chance:.3f})")
                say(f"  Kolmogorov-Smirnov          {at.ks:.3f}   (p = {at.p_value:.2g})")
        if found.share_ill is not None:
            say(
                f"\nOf the validation pictures {100 * found.share_ill:.0f} % show pneumonia. Where another share of "
                "those who come is ill, the probability drifts though the model is as good as before; the chest X-ray "
                "score tells more of machines and pictures."
            )
