"""What the report says of written answers beside their figures."""

from __future__ import annotations

from transfuse.data import Examples
from transfuse.data.turns import conversation
from transfuse.evaluation import as_answers, as_expected
from transfuse.study.wrote import details


def test_figures_by_language_are_those_of_references_where_requests_do_not_differ():
    """A translation from English into several languages: its references alone tell them apart."""
    references = ["открыть файл", "打开文件"] * 12
    answers = as_answers(["открыть файл", "保存"] * 12)
    own = Examples(("Open the file",) * 24, tuple(references))
    expected = as_expected(own.texts, references)
    parts = details(expected, answers, answers, own, ("chrf",), 0)["by_script"]
    assert [(part["script"], part["n"]) for part in parts] == [("Cyrillic", 12), ("Han", 12)]
    assert parts[0]["figure"]["value"] == 100 > parts[1]["figure"]["value"]
    back = as_expected(references, own.texts)
    assert [part["n"] for part in details(back, answers, answers, own, ("chrf",), 0)["by_script"]] == [12, 12]
    alike = as_expected(own.texts, own.texts)
    assert details(alike, answers, answers, own, ("chrf",), 0)["by_script"] == []


def test_conversations_are_shown_as_people_read_them():
    talk = conversation([("user", "a"), ("assistant", "b"), ("user", "c")])
    answers = as_answers(["d"])
    own = Examples((talk,), ("d",))
    (shown,) = details(as_expected(own.texts, ("d",)), answers, answers, own, ("chrf",), 0)["examples"]
    assert shown["input"] == "User: a\nAssistant: b\nUser: c"
