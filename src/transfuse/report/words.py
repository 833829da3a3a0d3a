"""Every word of the report, in English and Chinese: page, terminal and model card speak from here alone.

A key with a dot belongs to a family that is looked up by a value of the report, such as ``"verdict." + verdict``.
"""

from __future__ import annotations

from transfuse.errors import UsageError, nearest
from transfuse.report.chinese import CHINESE
from transfuse.report.chinese_pages import CHINESE_PAGES
from transfuse.report.english import ENGLISH
from transfuse.report.english_pages import ENGLISH_PAGES

WORDS: dict[str, dict[str, str]] = {"en": ENGLISH | ENGLISH_PAGES, "zh": CHINESE | CHINESE_PAGES}


class Speaker:
    """Words of one language: ``speak("say.next", id=..., figure=...)``.

    Args:
        lang: "en" or "zh".

    Raises:
        UsageError: another language; the message lists those that exist.
    """

    def __init__(self, lang: str) -> None:
        if lang not in WORDS:
            raise UsageError(f"Language '{lang}'.{nearest(lang, list(WORDS))}", expected="one of " + ", ".join(WORDS))
        self.lang = lang

    def __call__(self, key: str, **values: object) -> str:
        """The words of ``key`` with the values filled in; values are not read as formats."""
        return WORDS[self.lang][key].format(**values)

    def name(self, family: str, value: object) -> str:
        """The word of ``family.value``, or the value itself where there is no word for it."""
        return WORDS[self.lang].get(f"{family}.{value}", "" if value is None else str(value))

    def listed(self, items: list[str]) -> str:
        """``a, b and c``."""
        if len(items) < 2:
            return "".join(items)
        return self("comma").join(items[:-1]) + self("and") + items[-1]
