"""What fitted models of all kinds share: the task, the path, the manifest, the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

from transfuse.fitted import artifact
from transfuse.fitted.paths import AnyPath
from transfuse.tasks import Task

OfTask = TypeVar("OfTask", bound=Task)
OfPath = TypeVar("OfPath", bound=AnyPath)


class Fitted(Generic[OfTask, OfPath]):
    """A fitted model as a folder knows it.

    Args:
        task: what is asked.
        path: how a prediction is made.
        method: the method's name.
        backbone: ``reference``, ``revision``, ``licence`` and ``family`` of the backbone; empty without one.
        made: what it was made from and its figures, for the manifest and the model card.
        card: the model card in Markdown; empty for none.

    Attributes:
        manifest: all of it as JSON.
    """

    def __init__(
        self,
        task: OfTask,
        path: OfPath,
        *,
        method: str,
        backbone: dict[str, Any] | None = None,
        made: dict[str, Any] | None = None,
        card: str = "",
    ) -> None:
        self.task, self.path, self.method = task, path, method
        self.backbone, self.made, self.card = backbone or {}, made or {}, card

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of manifest.json, its file hashes aside."""
        return {
            "format": artifact.FORMAT,
            "task": {**self.task.to_dict(), **self.made.get("columns", {})},
            "method": self.method,
            "backbone": self.backbone,
            "path": self.path.describe(),
            "made": self.made,
        }

    def save(self, folder: str | Path) -> Path:
        """Write manifest.json, the difference in safetensors and the card; the folder appears whole or not at all.

        Raises:
            OutputError: the place cannot be written, or holds something that is no fitted model.
        """
        return artifact.save(Path(folder), self.manifest, self.path.tensors(), self.card)
