"""The network and everything around it, as a plain library without Django.

Serving needs the names below. `ml_model.training` and `ml_model.evaluation` are asked
for by name when they are needed, since training brings TensorFlow with it.
"""

from ml_model.bundle import BundleError
from ml_model.classifier import Classifier, Finding
from ml_model.images import Limits, PictureError, TooLarge, Unreadable, UnsupportedFormat

__all__ = [
    "BundleError",
    "Classifier",
    "Finding",
    "Limits",
    "PictureError",
    "TooLarge",
    "Unreadable",
    "UnsupportedFormat",
]
