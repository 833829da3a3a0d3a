"""A fitted model: what a method returns and a user ships. It predicts, saves, loads and makes its bundle."""

from transfuse.fitted.embedder import Embedder
from transfuse.fitted.model import FittedModel, load
from transfuse.fitted.written import FittedWriter

__all__ = ["Embedder", "FittedModel", "FittedWriter", "load"]
