"""What is done with a run: classify pictures, take features, export."""

from .classifier import Classifier, Prediction

__all__ = ["Classifier", "Prediction"]
