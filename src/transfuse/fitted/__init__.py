"""A fitted model: what a method returns and a user ships. It predicts, saves, loads and makes its bundle."""

from transfuse.fitted.model import FittedModel, load

__all__ = ["FittedModel", "load"]
