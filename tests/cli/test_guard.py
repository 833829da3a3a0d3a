"""Errors at the door: messages, exit codes, --debug, Ctrl-C, a full disk."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import transfuse
from transfuse import errors
from transfuse.cli import guard
from transfuse.errors import TransfuseError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def failing(monkeypatch):
    """``failing(error)`` makes every command raise it."""

    def install(error: BaseException) -> None:
        def app(**_):
            raise error

        monkeypatch.setattr("transfuse.cli.app.app", app)

    return install


def test_version(command):
    assert command("--version").out == f"transfuse {transfuse.__version__}\n"


def test_no_arguments_show_the_help(command):
    assert "Usage: transfuse" in command().out


@pytest.mark.parametrize("name", ["run", "predict", "evaluate", "check", "assets"])
def test_every_command_has_a_help_with_an_example_that_fits_the_terminal(command, name):
    outcome = command(name, "--help")
    assert outcome.code == 0
    assert f"Example: transfuse {name}" in outcome.out
    assert max(len(line) for line in outcome.out.splitlines()) <= 80


def test_commands_of_later_versions_are_not_there(command):
    for name in ("export", "serve", "studio"):
        assert command(name).code == 2
        assert name not in command("--help").out


def test_an_unknown_command_and_an_unknown_option_are_usage_errors(command):
    assert command("rum").code == 2
    assert command("run", "--oud", "x").code == 2


def test_an_error_is_a_message_and_its_exit_code(command):
    outcome = command("run", "none.yaml")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err.splitlines()[0] == "none.yaml: no such file"
    assert "Traceback" not in outcome.err


def test_a_message_is_not_read_as_markup_and_not_broken(command, failing):
    failing(TransfuseError("[bold]x[/bold] key 'sources[0].data' " + "long " * 40 + "end"))
    assert command("run").err == "[bold]x[/bold] key 'sources[0].data' " + "long " * 40 + "end\n"


@pytest.mark.parametrize("arguments", [("--debug", "run", "none.yaml"), ("run", "none.yaml", "--debug")])
def test_debug_shows_the_traceback(command, arguments):
    outcome = command(*arguments)
    assert outcome.code == 3
    assert "Traceback" in outcome.err
    assert "RecipeError: none.yaml: no such file" in outcome.err


def test_debug_by_the_environment(command, monkeypatch):
    monkeypatch.setenv("TRANSFUSE_DEBUG", "1")
    assert "Traceback" in command("run", "none.yaml").err


def test_debug_after_two_dashes_is_a_text():
    assert guard.take_debug(["predict", "m", "--", "--debug"]) == (["predict", "m", "--", "--debug"], False)
    assert guard.take_debug(["predict", "--debug", "m", "--", "x"]) == (["predict", "m", "--", "x"], True)


def test_control_c(command, failing):
    failing(KeyboardInterrupt())
    outcome = command("run")
    assert (outcome.code, outcome.err) == (130, "Stopped. The same command goes on where it stopped.\n")


def test_control_c_inside_a_command(command, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("transfuse.study.recipe.Recipe.from_file", interrupt)
    outcome = command("run", "x.yaml")
    assert outcome.code == 130
    assert "The same command goes on" in outcome.err


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the disk can only be read"),
    ],
)
def test_a_disk_that_cannot_be_written(command, failing, number, words):
    failing(OSError(number, os.strerror(number), "runs/x/plan.json"))
    outcome = command("run")
    assert outcome.code == 8
    assert outcome.err.startswith(f"runs/x/plan.json: {words}\nExpected: a place that can be written")


@pytest.mark.parametrize("error", [ValueError("a\nb"), OSError(errno.EIO, "broken"), RuntimeError()])
def test_the_unexpected_asks_for_debug(command, failing, error):
    failing(error)
    outcome = command("run")
    assert outcome.code == 70
    assert outcome.err.startswith(f"Unexpected: {type(error).__name__}")
    assert outcome.err.endswith("\nRemedy: Run again with --debug.\n")
    assert "Traceback" not in outcome.err
    assert "Traceback" in command("run", "--debug").err


def test_a_closed_pipe_is_quiet():
    code = (
        "import sys\nfrom transfuse.cli import app, main\n"
        "app.app = lambda **_: [print('x' * 100) for _ in range(100000)]\nsys.exit(main([]))"
    )
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader.stdout.readline()
    reader.stdout.close()
    error = reader.stderr.read()
    reader.stderr.close()
    reader.wait()
    assert (reader.returncode, error) == (guard.CLOSED_PIPE, b"")


def test_the_exit_codes_are_documented():
    known = {
        cls.exit_code: name
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, TransfuseError)
    }
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    listed = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `?(\w+)`? \|", page, flags=re.MULTILINE)}
    assert known.items() <= listed.items()
    assert {0, guard.UNEXPECTED, guard.INTERRUPTED} <= set(listed)


def test_the_environment_is_set_before_torch_loads():
    code = (
        "import os, sys\nfrom transfuse.cli import main\nmain(['--version'])\n"
        "print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'),"
        " os.environ['LRU_CACHE_CAPACITY'], os.environ['TOKENIZERS_PARALLELISM'], 'torch' in sys.modules)"
    )
    ours = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "LRU_CACHE_CAPACITY", "TOKENIZERS_PARALLELISM")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    for given, expected in (
        ({}, "PASSIVE 1000 128 false False"),
        ({"GOMP_SPINCOUNT": "7", "LRU_CACHE_CAPACITY": "9"}, "PASSIVE 7 9 false False"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None 128 false False"),
    ):
        env = {**clean, **given}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
        assert done.stdout.splitlines()[-1] == expected
