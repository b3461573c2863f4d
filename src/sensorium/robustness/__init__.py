"""The senses suite: the returns of any policy under treatments of its observations, each paired with the untreated episode of the same seed."""

from sensorium.robustness.comparison import compare
from sensorium.robustness.suite import FORMAT, examine

__all__ = ["FORMAT", "compare", "examine"]
