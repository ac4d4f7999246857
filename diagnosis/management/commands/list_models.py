"""`manage.py list_models`"""

from typing import Any

from django.conf import settings

from diagnosis.inference import bundles
from diagnosis.management import base


class Command(base.Command):
    help = "List the installed models with their measured figures; the served one has a star."

    def handle(self, *args: Any, **options: Any) -> None:
        say = self.stdout.write
        say(f"  {'version':<28} {'made':<11} {'input':>5} {'gate':>5} {'threshold':>9} {'accuracy':>9} {'AUROC':>6}")
        models = bundles.models()
        for model in models:
            star = "*" if model.served else " "
            if model.card is None:
                say(f"{star} {model.name:<28} {model.error}")
                continue
            card = model.card
            point = card.default_operating_point
            test = card.metrics.get("test", {})
            accuracy = _value(test.get("operating_points", {}).get(point, {}).get("accuracy"))
            auroc = _value(test.get("auroc"))
            threshold = card.operating_points[point].threshold
            gate = "yes" if card.gate else "no"
            say(
                f"{star} {model.name:<28} {card.created[:10]:<11} {card.input_size:>5} {gate:>5} {threshold:>9.4f} "
                f"{accuracy:>9} {auroc:>6}"
            )
        if settings.MODEL_BUNDLE and not any(model.served for model in models):
            say(f"The setting MODEL_BUNDLE={settings.MODEL_BUNDLE} names none of them, so none can be served.")
        say("Accuracy and AUROC: evaluate_model on the folder `test`. promote_model <version> serves another.")


def _value(figure: Any) -> str:
    """A figure of a card, which people may have edited."""
    value = figure.get("value") if isinstance(figure, dict) else None
    return f"{value:.4f}" if isinstance(value, int | float) else "-"
