"""What a study tells while it runs, and the words for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

NOTES = {
    "en": {
        "finished": "{folder}: finished before; --fresh starts again",
        "going on": "{folder}: going on after {seconds:.0f} s",
        "timing": "timing a few batches of each backbone",
        "remote": "{id}: {calls} calls ({cached} answers known), about {tokens:,} and at most {most:,} tokens, "
        "about {money:.4f} and at most {dear:.4f} USD ({price}); reading the test with it: at most {test:.4f} USD",
        "more": "time is left, so these run too: {ids}",
        "chosen": "chosen: {id}; reading the test once",
        "download": "download {name}",
        "teacher": "asking teacher {name}",
        "cross-validation": "cross-validation",
        "split": "validation split",
        "final fit": "final fit",
        "done": "done",
        "failed": "failed",
        "anew": "states of {tokens:,} tokens would need {gib:.1f} GiB, so they are computed anew in every pass",
        "unpacked": "pack: in {backbone} examples of one row would not be as each alone, so each has its own",
    },
    "zh": {
        "finished": "{folder}：此前已完成；--fresh 可重新开始",
        "going on": "{folder}：在 {seconds:.0f} 秒之后继续",
        "timing": "先对每个骨干模型试跑几批以估计时间",
        "remote": "{id}：调用远程模型 {calls} 次（已有答案 {cached} 个），约 {tokens:,}、至多 {most:,} 个词元，"
        "约 {money:.4f}、至多 {dear:.4f} 美元（{price}）；用它读测试集至多 {test:.4f} 美元",
        "more": "还有剩余时间，因此再运行：{ids}",
        "chosen": "选定：{id}；测试集只读这一次",
        "download": "下载 {name}",
        "teacher": "正在向教师 {name} 提问",
        "cross-validation": "交叉验证",
        "split": "验证集",
        "final fit": "最终训练",
        "done": "完成",
        "failed": "失败",
        "anew": "{tokens:,} 个词元的状态需要 {gib:.1f} GiB，因此每一遍都重新计算",
        "unpacked": "pack：在 {backbone} 里，同处一行的样例与各自单独计算的结果不同，因此每个样例各占一行",
    },
}
"""What a study says while it runs, by language."""


class Progress(Protocol):
    """What a study tells while it runs."""

    def start(self, total_seconds: float | None, names: Sequence[str]) -> None:
        """The study begins."""

    def candidate(self, id: str, index: int, count: int) -> None:
        """A candidate begins; ``index`` counts from 1."""

    def update(self, text: str, fraction: float | None = None, seconds_left: float | None = None) -> None:
        """What runs now, the share of it that is done, and what the whole study has left."""

    def done(self, id: str, line: str) -> None:
        """A candidate has ended."""

    def note(self, text: str) -> None:
        """Something to know."""


class Silent:
    """A `Progress` that says nothing."""

    def start(self, total_seconds: float | None, names: Sequence[str]) -> None:
        """Nothing."""

    def candidate(self, id: str, index: int, count: int) -> None:
        """Nothing."""

    def update(self, text: str, fraction: float | None = None, seconds_left: float | None = None) -> None:
        """Nothing."""

    def done(self, id: str, line: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
