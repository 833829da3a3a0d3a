"""Pure figures: metrics, intervals, paired comparison and verdict, calibration, ranking, slices.

Everything here is NumPy on arrays: ``labels int[N]`` against ``probabilities float[N, C]`` or, for R repeats of
cross-validation that predict the same N examples, ``float[R, N, C]``; written answers, strings in arrays of objects
``[N]`` or ``[R, N]``, against what was expected (`texts`). Nothing reads a file, a model or a recipe.
"""

from transfuse.evaluation.bootstrap import metric_intervals, ratio_interval
from transfuse.evaluation.calibration import Bin, apply_temperature, reliability, temperature
from transfuse.evaluation.cascade import Evidence, Goal, Honest, Point, choose, crossfit, evidence
from transfuse.evaluation.cascade import curve as cascade_curve
from transfuse.evaluation.compare import Comparison, Verdict, compare, mcnemar
from transfuse.evaluation.corrected import corrected, holm
from transfuse.evaluation.interval import Interval
from transfuse.evaluation.metrics import (
    METRICS,
    Metric,
    accuracy,
    confusion,
    ece,
    log_loss,
    macro_f1,
    macro_precision,
    macro_recall,
    mcc,
    metric_of,
    micro_f1,
    micro_precision,
    micro_recall,
)
from transfuse.evaluation.ranking import auroc
from transfuse.evaluation.slices import (
    LabelAccuracy,
    LabelDifference,
    Mistake,
    accuracy_by_label,
    confident_mistakes,
    difference_by_label,
    most_confused,
)
from transfuse.evaluation.texts import TEXT_METRICS, Expected, as_answers, as_expected

__all__ = [
    "METRICS",
    "TEXT_METRICS",
    "Bin",
    "Comparison",
    "Evidence",
    "Expected",
    "Goal",
    "Honest",
    "Interval",
    "LabelAccuracy",
    "LabelDifference",
    "Metric",
    "Mistake",
    "Point",
    "Verdict",
    "accuracy",
    "accuracy_by_label",
    "apply_temperature",
    "as_answers",
    "as_expected",
    "auroc",
    "cascade_curve",
    "choose",
    "compare",
    "confident_mistakes",
    "confusion",
    "corrected",
    "crossfit",
    "difference_by_label",
    "ece",
    "evidence",
    "holm",
    "log_loss",
    "macro_f1",
    "macro_precision",
    "macro_recall",
    "mcc",
    "mcnemar",
    "metric_intervals",
    "metric_of",
    "micro_f1",
    "micro_precision",
    "micro_recall",
    "most_confused",
    "ratio_interval",
    "reliability",
    "temperature",
]
