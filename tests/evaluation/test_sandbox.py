"""What a program that a model wrote may not do: each attempt is contained, and is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import transfuse
from transfuse.errors import TransfuseError
from transfuse.evaluation import sandbox
from transfuse.evaluation.sandbox import Limits, Outcome

WAYS = [name for name in ("bwrap", "unshare") if sandbox.works(name)]
pytestmark = pytest.mark.skipif(not WAYS, reason="neither bubblewrap nor namespaces work here")
every_way = pytest.mark.parametrize("way", WAYS)
SHORT = Limits(seconds=5, memory=512, processes=8)


def run(way: str, program: str, limits: Limits = SHORT) -> Outcome:
    return sandbox.run(program, limits, way=way)


@every_way
def test_a_program_that_ends_well_passes(way):
    found = run(way, "print('hello')\nassert sum(range(10)) == 45\nimport json, math, re, collections, itertools")
    assert (found.passed, found.reason) == (True, "passed"), found.output
    assert found.output.strip() == "hello"


@every_way
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("assert 1 == 2", "failed"),
        ("def f(:", "failed"),
        ("raise SystemExit(0)", "gone"),
        ("import os; os._exit(0)", "gone"),
        ("while True: pass", "timeout"),
        ("x = bytearray(20 << 30)", "failed"),
        ("x = []\nwhile True: x.append('y' * (1 << 20))", "failed"),
        ("import socket; socket.create_connection(('127.0.0.1', 9), 2)", "failed"),
        ("import socket; socket.create_connection(('1.1.1.1', 53), 2)", "failed"),
        ("import shutil; shutil.rmtree('.')\nimport os; os.rmdir(os.getcwd())", "failed"),
        ("open('/sandbox/program.py', 'w')", "failed"),
        ("open('/usr/left_behind', 'w')", "failed"),
        ("f = open('big', 'wb')\nfor _ in range(1000): f.write(b'x' * (1 << 20))\nf.flush()", "failed"),
    ],
)
def test_what_goes_wrong_is_a_failure(way, program, reason):
    began = time.monotonic()
    found = run(way, program)
    assert (found.passed, found.reason) == (False, reason), found.output
    assert time.monotonic() - began < 15


@every_way
@pytest.mark.parametrize("folder", [".", "/tmp", "/", "/dev", "/dev/shm"])
def test_many_files_do_not_fill_the_memory(way, folder):
    many = f"import os\nfor i in range(40):\n    with open(os.path.join({folder!r}, str(i)), 'wb') as file:\n"
    found = run(way, many + "        file.write(b'x' * (4 << 20))\n    print(i)")
    assert (found.passed, found.reason) == (False, "failed"), found.output
    assert "No space left" in found.output or folder.startswith("/"), found.output


ORDINARY = """
import importlib.util, sys
where = importlib.util.spec_from_file_location("sandbox", sys.argv[1])
sandbox = importlib.util.module_from_spec(where)
sys.modules["sandbox"] = sandbox
where.loader.exec_module(sandbox)
print(sandbox.run(sys.argv[3], sandbox.Limits(seconds=20), way=sys.argv[2]))
"""
ENVIRONMENT = "print(open('/proc/1/environ').read())"
REMOUNT = """
import subprocess
done = subprocess.run(["mount", "-o", "remount,bind,rw", "/usr"], capture_output=True, text=True)
assert done.returncode, "remounted"
print(done.stderr)
"""


def by_an_ordinary_user(way: str, program: str) -> str:
    """What the sandbox says of a program where an ordinary user runs it, with the system's Python."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None or shutil.which("setpriv") is None:
        pytest.skip("no Python of the system, or no setpriv")
    user = [] if os.geteuid() else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    source = Path(transfuse.__file__).parent
    given = {"PYTHONPATH": str(source.parent), "PATH": os.environ["PATH"], "API_KEY": "secret"}
    command = [*user, python, "-c", ORDINARY, str(source / "evaluation" / "sandbox.py"), way, program]
    done = subprocess.run(command, env=given, cwd="/", capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@every_way
def test_an_ordinary_users_program_cannot_make_the_bound_folders_writable(way):
    if "passed=True" not in (told := by_an_ordinary_user(way, "pass")):
        pytest.skip(f"an ordinary user cannot contain programs here: {told[-200:]}")
    found = by_an_ordinary_user(way, REMOUNT)
    assert "passed=True" in found
    assert "permission denied" in found or "must be superuser" in found


@every_way
def test_no_capability_is_left(way):
    program = "for line in open('/proc/self/status'):\n    if line[:6] in ('CapPrm', 'CapEff', 'NoNewP'): print(line)"
    told = run(way, program).output.split()
    assert [int(x, 16) for x in told[1::2]] == [0, 0, 1]


@every_way
def test_a_fork_bomb_is_over_with_its_time(way):
    bomb = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
    before = count("launch.py")
    found = run(way, bomb, Limits(seconds=3, processes=8))
    assert not found.passed
    time.sleep(0.5)
    assert count("launch.py") == before


@every_way
def test_processes_are_few(way):
    program = "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        time.sleep(9)\n        os._exit(0)"
    found = run(way, program, Limits(seconds=4, processes=8))
    assert (found.passed, found.reason) == (False, "failed"), found.output
    assert "Resource temporarily unavailable" in found.output


def count(name: str) -> int:
    """Processes whose command names a file."""
    found = 0
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += name.encode() in place.read_bytes()
        except OSError:
            continue
    return found


@every_way
def test_the_home_folder_and_the_users_files_are_not_there(way, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    home = str(Path.home())
    for place in (str(secret), "/etc/passwd", f"{home}/.bashrc"):
        found = run(way, f"print(open({place!r}).read())")
        assert not found.passed, place
    found = run(way, f"import os; assert not os.path.exists({home!r}) or not os.listdir({home!r})")
    own = run(way, f"import os\nfor entry in os.scandir({home!r}): print(entry.name)")
    assert found.passed or set(own.output.split()) <= {".pyenv", "work", ".local"} or not own.passed


@every_way
def test_printing_for_ever_is_cut(way):
    found = run(way, "while True: print('x' * 1000)")
    assert not found.passed
    assert len(found.output) <= SHORT.output


@every_way
def test_nothing_of_the_environment_is_seen(way, monkeypatch):
    monkeypatch.setenv("API_KEY", "secret")
    assert run(way, "import os; assert 'API_KEY' not in os.environ and len(os.environ) < 4").passed
    for told in (run(way, ENVIRONMENT).output, by_an_ordinary_user(way, ENVIRONMENT)):
        assert "API_KEY" not in told
        assert "transfuse-sandbox" not in told


def test_without_a_sandbox_nothing_runs(monkeypatch):
    monkeypatch.setattr(sandbox, "kind", lambda: "")
    with pytest.raises(TransfuseError, match="nothing here can contain a program"):
        sandbox.run("pass")
