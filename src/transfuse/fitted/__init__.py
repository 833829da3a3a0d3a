"""A fitted model: what a method returns and a user ships. It predicts, saves, loads and makes its bundle."""

from transfuse.fitted.embedder import Embedder
from transfuse.fitted.model import FittedModel, load

__all__ = ["Embedder", "FittedModel", "load"]
