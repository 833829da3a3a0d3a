"""A fitted model: what a method returns and a user ships. It predicts, saves, loads and makes its bundle."""

from transfuse.fitted.cascade import Cascade, load
from transfuse.fitted.embedder import Embedder
from transfuse.fitted.model import FittedModel
from transfuse.fitted.written import FittedWriter

__all__ = ["Cascade", "Embedder", "FittedModel", "FittedWriter", "load"]
