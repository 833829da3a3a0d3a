"""The placebo of the chosen candidate: its sources with their labels shuffled; a gain that this has, too, is none."""

from __future__ import annotations

from collections.abc import Sequence

from transfuse.advice.planner import Planned
from transfuse.engine.ledger import Ledger
from transfuse.study.assess import Assessed, Judge
from transfuse.study.fits import Fits, ending

KEY = "placebo"
"""In plan.json: the id of the placebo, or empty where there was no time for one."""


def try_placebo(
    chosen: Assessed, judge: Judge, fits: Fits, planned: Sequence[Planned], ledger: Ledger, room: float
) -> None:
    """Fit the chosen candidate once more with its sources' labels shuffled, and add the comparison to its record.

    Whether there is time for it is decided once, and obeyed by every resume. Where there is none, or where it cannot be
    fitted, ``no_placebo`` in the record says which: ``time`` or ``failed``.

    Args:
        chosen: with the probabilities of its validation rows.
        judge: compares.
        fits: fits what the ledger does not know.
        planned: all candidates.
        ledger: keeps the decision.
        room: seconds that are left, also for the chosen candidate's last fit and for the test.
    """
    candidate = chosen.candidate
    decided = ledger.plan
    if not candidate.sources or decided is None or chosen.probabilities is None:
        return
    if candidate.method == "teacher":  # it learns nothing of its sources: there is nothing to shuffle
        return
    placebo = candidate.placebo()
    if KEY not in decided:
        needs = chosen.record["seconds"]["fit"] + ending(chosen.record, fits.data)
        decided = {**decided, KEY: placebo.id if needs < room else ""}
        ledger.keep_plan(decided)
    if decided[KEY] != placebo.id:
        chosen.record["no_placebo"] = "time"
        return
    one = Planned(placebo, chosen.record["estimate"])
    ((_, _, found),) = fits.run([one], [*planned, one])
    if found is None:
        chosen.record["no_placebo"] = "failed"
    else:
        result = judge.compare(chosen.probabilities, fits.data.task.judged(found)).to_dict()
        chosen.record["transfer"].append({"kind": KEY, "against": placebo.id, "split": "validation", **result})
