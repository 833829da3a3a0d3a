"""Both languages say the same things, and every word is said somewhere."""

import re
import string
from pathlib import Path

import pytest

from transfuse import report
from transfuse.errors import UsageError
from transfuse.evaluation import METRICS, TEXT_METRICS
from transfuse.report.words import WORDS, Speaker

SOURCE = Path(report.__file__).parent


def test_both_languages_have_the_same_keys_in_the_same_order():
    assert list(WORDS["en"]) == list(WORDS["zh"])
    assert set(WORDS) == {"en", "zh"}


def test_both_languages_name_the_same_values():
    for key, english in WORDS["en"].items():
        fields = [
            {name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (english, WORDS["zh"][key])
        ]
        assert fields[0] == fields[1], key


def test_chinese_is_chinese():
    same = {key for key, words in WORDS["en"].items() if WORDS["zh"][key] == words}
    assert not same, "words left in English"


TABLES = ("words", "english", "chinese")


def test_every_key_is_used_and_every_used_key_exists():
    files = [path for path in SOURCE.rglob("*") if path.suffix in (".py", ".html") and path.stem not in TABLES]
    text = (
        "\n".join(path.read_text(encoding="utf-8") for path in files)
        + SOURCE.joinpath("words.py").read_text(encoding="utf-8").split("class Speaker")[1]
    )
    quoted = set(re.findall(r"""["']([\w. -]+)["']""", text))
    families = set(re.findall(r"""(?:speak|t)\.name\(\s*["'](\w+)["']""", text)) | {"say"}
    unused = {key for key in WORDS["en"] if key not in quoted and key.partition(".")[0] not in families}
    unused |= {k for k in WORDS["en"] if k.startswith("say.") and k not in quoted} - {
        "say.split",
        "say.cross-validation",
    }
    assert not unused
    spoken = set(re.findall(r"""\b(?:speak|t|self)\(\s*["']([\w. -]+)["']""", text))
    assert len(spoken) > 60
    assert not spoken - set(WORDS["en"])


def test_every_metric_has_a_name():
    assert not [name for name in METRICS | TEXT_METRICS if f"metric.{name}" not in WORDS["en"]]


def test_values_are_not_read_as_formats():
    assert Speaker("en")("say.next", id="{evil} {0}", figure="%s") == "Next best: {evil} {0} with %s."


def test_unknown_words_are_left_as_they_are():
    assert Speaker("zh").name("metric", "wer") == "wer"
    assert Speaker("zh").name("metric", None) == ""


def test_lists_of_names():
    speak = Speaker("en")
    assert [speak.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_another_language_is_refused_with_those_that_exist():
    with pytest.raises(UsageError, match=r"Language 'zhs'.* Did you mean 'zh'\?[\s\S]*en, zh"):
        Speaker("zhs")
