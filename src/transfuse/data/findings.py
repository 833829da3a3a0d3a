"""What the checks found, said in English and in Chinese."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

from transfuse.data.labels import name_rows

Level = Literal["error", "warning", "info"]

SENTENCES: Mapping[str, Mapping[str, str]] = {
    "copies": {
        "en": "{texts} of {origin} also [stands|stand] in the {sealed} data",
        "zh": "{origin} 中有 {count} 条文本也出现在 {sealed} 数据中",
    },
    "dropped-copies": {
        "en": "{texts} of {origin} also [stands|stand] in the test data; left out",
        "zh": "{origin} 中有 {count} 条文本也出现在测试数据中，已剔除",
    },
    "dropped-validation-copies": {
        "en": "{texts} of {origin} also [stands|stand] in the validation data; left out",
        "zh": "{origin} 中有 {count} 条文本也出现在验证数据中，已剔除",
    },
    "dropped-labelled-copies": {
        "en": "{texts} of {origin} also [stands|stand] in the target's labelled data; left out",
        "zh": "{origin} 中有 {count} 条文本也出现在目标的有标签数据中，已剔除",
    },
    "near-copies": {
        "en": "{texts} of {origin} nearly [equals|equal] test texts",
        "zh": "{origin} 中有 {count} 条文本与测试文本几乎相同",
    },
    "near-duplicates": {
        "en": "{texts} of {origin} nearly [equals|equal] another text there",
        "zh": "{origin} 中有 {count} 条文本与其中另一条几乎相同",
    },
    "duplicates": {
        "en": "{texts} of {origin} stood there before",
        "zh": "{origin} 中有 {count} 条文本在前面已经出现过",
    },
    "empty": {"en": "{texts} of {origin} [is|are] empty", "zh": "{origin} 中有 {count} 条文本为空"},
    "contradictions": {
        "en": "{texts} of {origin} [has|have] a twin with another label",
        "zh": "{origin} 中有 {count} 条文本与另一条相同，标签却不同",
    },
    "unknown-labels": {
        "en": "{texts} of {origin} [has|have] the label '{label}', which no training row has",
        "zh": "{origin} 中有 {count} 条文本的标签 '{label}' 在训练数据中没有",
    },
    "foreign-labels": {
        "en": "{texts} of {origin} [has|have] labels that the target does not have ({labels}); left out",
        "zh": "{origin} 中有 {count} 条文本的标签是目标没有的（{labels}），已剔除",
    },
    "small-classes": {
        "en": "only {texts} of {origin} [has|have] the label '{label}', fewer than the {folds} folds",
        "zh": "{origin} 中标签 '{label}' 只有 {count} 条文本，少于 {folds} 折",
    },
    "truncated": {
        "en": "{texts} of {origin} ({share}) [is|are] longer than {limit} tokens and will be cut",
        "zh": "{origin} 中有 {count} 条文本（{share}）超过 {limit} 个词元，将被截断",
    },
    "not-compared": {
        "en": "near-duplicates were looked for in the first {compared} of {total} texts",
        "zh": "近似重复只在全部 {total} 条文本的前 {compared} 条中查找",
    },
}
"""By kind and language, with gaps for facts and, in English, verbs as [singular|plural]."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about the data that the user should know.

    Args:
        kind: a key of `SENTENCES`.
        level: how bad it is.
        part: "train", "validation", "test", or the name of a source.
        facts: what fills the sentence: ``origin``, ``count``, and what the kind adds.
        rows: all rows concerned, counted from 1 in the file of that part.
    """

    kind: str
    level: Level
    part: str
    facts: Mapping[str, Any]
    rows: tuple[int, ...] = ()

    @property
    def message(self) -> str:
        """One English sentence with the file and up to five rows."""
        return self.said("en")

    def said(self, lang: str) -> str:
        """The sentence in a language, with up to five rows."""
        told = sentence(self.kind, self.facts, lang)
        if not self.rows:
            return told
        named = name_rows(self.rows) if lang == "en" else f"第 {'、'.join(str(row) for row in self.rows[:5])} 行"
        return f"{told}: {named}" if lang == "en" else f"{told}：{named}{'等' if len(self.rows) > 5 else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for report.json; of many rows the first 100, and their number as ``count``."""
        plain = {"kind": self.kind, "level": self.level, "message": self.message, "part": self.part}
        return {**plain, "facts": dict(self.facts), "rows": list(self.rows[:100]), "count": len(self.rows)}


def sentence(kind: str, facts: Mapping[str, Any], lang: str) -> str:
    """What a finding of a kind says, without its rows."""
    count = int(facts.get("count", 0))
    one = re.sub(r"\[(\w+)\|(\w+)\]", r"\1" if count == 1 else r"\2", SENTENCES[kind][lang])
    return one.format(texts=f"{count} text{'s' * (count != 1)}", **{"count": count, **facts})
