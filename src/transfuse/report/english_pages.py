"""Every word of the other pages, of rank, of a cascade and of a team, in English; `words` says what the keys mean."""

from __future__ import annotations

ENGLISH_PAGES: dict[str, str] = {
    # the page of rank
    "rank.title": "What promises most: {name}",
    "rank.note": "Nothing was trained, no test read. Of {rows} labelled target rows; with so many {score} decides.",
    "rank.readouts": "Backbones and their best readouts",
    "rank.readouts_note": "The best first, by the decisive score; layer of all layers. All scores are higher where "
    "they promise more. How far each can be trusted stands in docs/benchmarks.md.",
    "rank.backbone": "Backbone",
    "rank.parameters": "Parameters",
    "rank.memory": "Memory",
    "rank.speed": "Texts/s",
    "rank.licence": "Licence",
    "rank.layer": "Layer",
    "rank.pooling": "Pooling",
    "rank.z": "the same in standard deviations above the best readout by shuffled labels",
    "rank.z_source": "the same in standard deviations above shuffled labels",
    "rank.chart": "Promise against time",
    "rank.chart_note": "Up promises more, left is cheaper. Numbers are layers; a lower layer is read sooner. The line "
    "joins what no other beats in both.",
    "rank.cost": "time to read 1,000 texts",
    "rank.sources": "Sources",
    "rank.sources_note": "A head of the source alone on the target's rows: its accuracy and LEEP, the higher the "
    "better. The two distances only warn: near is not the same as useful.",
    "rank.transfer": "Source's head on target",
    # the page of cascade
    "cascade.title": "A cascade: the student where it is confident, else {teacher}",
    "cascade.note": "Both have answered {rows} labelled rows of {data}; by these the threshold was chosen.",
    "cascade.who": "Answered by",
    "cascade.asked": "Asked",
    "cascade.student": "the student alone",
    "cascade.teacher": "the teacher alone",
    "cascade.both": "the cascade",
    "cascade.cost_seconds": "10,000 answers",
    "cascade.cost_price": "10,000 answers cost",
    "cascade.figures": "What it gives",
    "cascade.figures_note": "With 95 % intervals. Those of the cascade are honest: of rows that did not choose its "
    "threshold, fold by fold, so they may lie below the curve's chosen point. “Asked”: what the teacher answers.",
    "cascade.curve": "Quality against cost",
    "cascade.curve_note": "Each point is a threshold, from the student alone on the left to the teacher alone; the "
    "band is the 95 % interval, the ring the chosen threshold. The dashed line is what a confidence would give that "
    "tells nothing; the further the curve stands above it, the better the student knows what it does not know.",
    "cascade.axis_seconds": "seconds of one answer, in the mean",
    "cascade.axis_price": "cost of one answer, in the mean",
    "cascade.goal.teacher": "Goal: as cheap as can be without being shown to be worse than the teacher.",
    "cascade.goal.quality": "Goal: {metric} shown to be at least {value}, as cheap as can be.",
    "cascade.goal.quality_less": "Goal: {metric} shown to be at most {value}, as cheap as can be.",
    "cascade.goal.cost": "Goal: the best for at most {value} an answer.",
    "cascade.goal.share": "Goal: the best while the teacher is asked of at most {value}.",
    "cascade.chosen": "Chosen: the teacher is asked where the student's confidence is below {threshold}.",
    "cascade.chosen_none": "Chosen: the student answers alone.",
    "cascade.chosen_all": "Chosen: the teacher answers alone.",
    "cascade.difference": "Against the teacher alone: {figure}; against the student alone: {other}.",
    "cascade.missed": "In {n} of {folds} folds the goal was not reached; what came nearest stands for it.",
    "cascade.kept": "What the teacher answers is kept in kept.jsonl; `transfuse distill` makes another student of it.",
    "cascade.agreement": "{metric} of student and teacher on {n} texts that were held out: {figure}",
    "cascade.learnt": "Learnt from {teacher}: {texts} texts, and {labelled} labelled rows.",
    "cascade.reading": "How right the teacher is decides how right the cascade can be. A threshold holds for texts "
    "like those that chose it; when texts change, make the cascade again with new labelled rows.",
    # the page of a team
    "outcome.answered": "answered",
    "outcome.stood_in": "something else stood in",
    "outcome.refused": "refused",
    "outcome.open": "not ended",
    "team.title": "A team: {name}",
    "team.note": "{rows} rows of {data}; {judged} of them say what “{field}” should be, by which the team is "
    "judged: {metric}.",
    "team.team": "the team",
    "team.untrained": "the same team, untrained",
    "team.lookup": "the nearest known answer",
    "team.better": "The team is better than {name}: {figure}.",
    "team.unclear": "No evidence that the team is better or worse than {name}: {figure}.",
    "team.worse": "The team is worse than {name}: {figure}.",
    "team.few": "Only {n} rows were judged: the intervals of so few are too narrow, so read the verdicts as hints.",
    "team.failed": "Of {rows} requests {refused} were refused, and for {stood_in} something else stood in; all of "
    "these count as failures.",
    "team.role_worth": "Training “{role}” is worth {figure}: {verdict}.",
    "team.field_worth": "That “{role}” is shown “{field}” is worth {figure}: {verdict}.",
    "team.adds_up": "The credits of the roles sum to {credits}; training all of them is worth {whole}. Within "
    "noise they add up: {gap}.",
    "team.adds_not": "The credits of the roles sum to {credits}; training all of them is worth {whole}. They do "
    "not add up: {gap}. Above zero, roles need each other; below it, one does what another did.",
    "team.figures": "The team beside its baselines",
    "team.figures_note": "Means of a request with 95 % intervals; all answered the same rows. The last column is "
    "the team's figure less the baseline's.",
    "team.who": "Who",
    "team.answered": "Answered",
    "team.tokens": "Tokens",
    "team.seconds": "Time",
    "team.cost": "Cost",
    "team.difference": "Team less baseline",
    "team.against": "Team",
    "team.exchange": "One exchange",
    "team.exchange_note": "Who said what to whom, from top to bottom; of those that were answered the one in "
    "which most roles spoke.",
    "team.request": "the user's request",
    "team.given": "was given {fields}",
    "team.tokens_of": "{n} tokens",
    "team.roles": "The roles",
    "team.roles_note": "Quality is each role's own, on the requests for which it was asked. Credit is what the "
    "team loses when this role alone is untrained; alone is what it gains when this role alone is trained.",
    "team.role": "Role",
    "team.quality": "Its own quality",
    "team.calls": "Calls",
    "team.calls_failed": "{n} failed",
    "team.credit": "Credit",
    "team.alone": "Alone",
    "team.trained": "trained",
    "team.no_self": "not known: its backbone cannot be prompted",
    "team.worth": "What roles and fields are worth",
    "team.worth_note": "Each is another run of the team over the same rows with one thing changed. A role that is "
    "not shown a field meets an input that it never saw in training, which may cost more than the field is worth.",
    "team.worst": "The worst answers",
    "team.worst_note": "Of those that were answered, by the {metric} of each by itself.",
    "team.expected": "expected",
    "team.said": "said",
    "team.row": "row {n}",
    "team.failures": "Not answered: {n}",
    "team.reading": "How to read this page",
    "team.reading_verdict": "“Helps” means that the whole interval of the paired difference lies above zero and "
    "that a test by exchanging answers agrees, with its p value adjusted for those beside it (Holm 1979); "
    "“hurts” that the interval lies below zero. “No evidence” is neither good nor bad: the rows are too few to "
    "tell.",
    "team.reading_failure": "Who refuses, or lets something else stand in, has given an empty answer.",
    "team.reading_seconds": "Of a pass that answers several requests at once each has its share of the time.",
}
