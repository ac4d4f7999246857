"""`manage.py list_models`"""

from typing import Any

from django.core.management.base import BaseCommand

from diagnosis import inference


class Command(BaseCommand):
    help = "List the models at hand, the served one with a star, and what was measured of each."

    def handle(self, *args: Any, **options: Any) -> None:
        say = self.stdout.write
        say(f"  {'version':<28} {'made':<11} {'input':>5} {'gate':>5} {'threshold':>9} {'accuracy':>9} {'AUROC':>6}")
        for model in inference.models():
            star = "*" if model.served else " "
            if model.card is None:
                say(f"{star} {model.name:<28} {model.error}")
                continue
            card = model.card
            point = card.default_operating_point
            test = card.metrics.get("test")
            accuracy = f"{test['operating_points'][point]['accuracy']['value']:.4f}" if test else "-"
            auroc = f"{test['auroc']['value']:.4f}" if test else "-"
            threshold = card.operating_points[point].threshold
            gate = "yes" if card.gate else "no"
            say(
                f"{star} {model.name:<28} {card.created[:10]:<11} {card.input_size:>5} {gate:>5} {threshold:>9.4f} "
                f"{accuracy:>9} {auroc:>6}"
            )
        say("Accuracy and AUROC: evaluate_model on the folder `test`. promote_model <version> serves another.")
