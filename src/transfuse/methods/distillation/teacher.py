"""A teacher as it is: what its students are measured against."""

from __future__ import annotations

from typing import Any

from transfuse.backbones.huggingface import Backbone
from transfuse.engine.jobs import Given, Job, TransferData
from transfuse.errors import RecipeError


class Teacher:
    """Answers with the teacher itself; nothing is fitted.

    A study adds it for each of a recipe's teachers. Costs what the teacher costs, for every answer.
    """

    family, reads, uses_sources, counterpart = "distillation", "nothing", False, None
    uses_related, weighs, alone = False, False, None

    def plan(self, task: Any, backbone: Backbone | None, data: TransferData, seed: int) -> Job:
        """The teacher's own path."""
        paths = [taught.path for taught in data.teachers.values() if taught.path is not None]
        if len(paths) != 1:
            raise RecipeError(
                f"teacher: {len(paths)} teachers",
                expected="one",
                remedy="Leave `teacher` out of the methods: a study adds one for each source that teaches.",
            )
        return Job((Given(paths[0]),), 0, seed)
