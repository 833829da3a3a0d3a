"""Programs that a model wrote are run here, and only here: no network, no files of the user's, little of anything.

Linux alone: bubblewrap where it is installed, else namespaces by util-linux; without either nothing runs.
What a program sees is the system's libraries and this Python, read-only, and a temporary folder of its own in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from transfuse.errors import TransfuseError

HOME, PYTHON = "/work", "/python"
"""The program's own folder, and Python where it is none of the system's, as they stand inside."""
NOBODY = 65534


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one program may use.

    Args:
        seconds: of wall-clock time; of processor time as many.
        memory: mebibytes of address space of each process, so that all together may use `processes` times as many.
        processes: at once.
        file: mebibytes of each file.
        folder: mebibytes of all files together; they lie in memory.
        output: bytes that it may print.
    """

    seconds: float = 10.0
    memory: int = 1024
    processes: int = 16
    file: int = 16
    folder: int = 64
    output: int = 1 << 16


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Args:
        passed: whether it came to its end without an error.
        reason: ``passed``, ``failed``, ``timeout``, or ``gone`` where it did not come to its end but left early.
        output: the end of what it printed.
    """

    passed: bool
    reason: str
    output: str


@functools.cache
def kind() -> str:
    """``bwrap`` or ``unshare``, whichever works here; empty where neither does."""
    return next((name for name in ("bwrap", "unshare") if works(name)), "")


@functools.cache
def works(name: str) -> bool:
    """Whether a way to contain programs works on this machine."""
    there = sys.platform.startswith("linux") and shutil.which(name) is not None
    return there and _run(name, "pass", Limits(seconds=20)).passed


def run(program: str, limits: Limits | None = None, *, way: str | None = None) -> Outcome:
    """Run a Python program in a process of its own that can harm nothing.

    Args:
        program: its whole text; it passes when it comes to its end.
        limits: what it may use.
        way: ``bwrap`` or ``unshare``; by default the first that works.

    Raises:
        TransfuseError: nothing here can contain a program.

    Cost: about 0.1 s beside the program's own time.
    """
    return _run(way or required(), program, limits or Limits())


def required() -> str:
    """The way that works here.

    Raises:
        TransfuseError: none does.
    """
    if not kind():
        raise TransfuseError(
            "nothing here can contain a program that a model wrote",
            expected="Linux with bubblewrap 0.7 or newer, or with user namespaces and util-linux's unshare and setpriv",
            remedy="Install bubblewrap (Debian: apt install bubblewrap), or leave `run_code` out of the recipe.",
        )
    return kind()


def _run(name: str, program: str, limits: Limits) -> Outcome:
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="transfuse-sandbox-") as folder:
        place = Path(folder)
        (place / "program.py").write_text(program, encoding="utf-8", errors="replace")
        (place / "launch.py").write_text(LAUNCH.format(limits=limits, home=HOME, nobody=NOBODY), encoding="utf-8")
        place.chmod(0o755)
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        command = (_bwrap if name == "bwrap" else _unshare)(place, limits)
        with output:
            process = subprocess.Popen(
                [*command, secret],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "LD_LIBRARY_PATH": f"{PYTHON}/lib"},
                cwd="/",
                start_new_session=True,
            )
            late = False
            try:
                process.wait(limits.seconds)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                _end(process)
            output.seek(max(output.seek(0, os.SEEK_END) - limits.output, 0))
            told = output.read().decode("utf-8", "replace")
    if late:
        return Outcome(False, "timeout", told)
    if told.rstrip().endswith(secret) and process.returncode == 0:
        return Outcome(True, "passed", told.rstrip().removesuffix(secret))
    return Outcome(False, "gone" if process.returncode == 0 else "failed", told)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole session goes, and with its first process the namespace and all that is in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _seen() -> dict[str, str]:
    """Folders that a Python program needs, and where they stand inside; a home folder's path is not told."""
    system = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
    seen = {path: path for path in system if Path(path).exists()}
    own = str(Path(sys.base_prefix).resolve())
    return seen if own.startswith("/usr") else {**seen, own: PYTHON}


def _python() -> str:
    """The interpreter, as it is found inside, without the virtual environment, whose packages are not seen."""
    found = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    own = str(Path(sys.base_prefix).resolve())
    return found if own.startswith("/usr") else found.replace(own, PYTHON, 1)


def _bwrap(place: Path, limits: Limits) -> list[str]:
    """Nothing can be written but in a folder of a bounded size, which is also its folder for temporary files."""
    bound = [part for path, inside in _seen().items() for part in ("--ro-bind", path, inside)]
    root = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if os.geteuid() == 0 else ["--unshare-user"]
    names = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    own = ["--size", str(limits.folder << 20), "--tmpfs", HOME, "--chmod", "0777", HOME, "--symlink", HOME, "/tmp"]
    inside = ["--ro-bind", str(place), "/sandbox", *own, "--remount-ro", "/dev", "--remount-ro", "/"]
    python = [_python(), "-I", "-S", "/sandbox/launch.py"]
    return ["bwrap", *root, *names, "--die-with-parent", "--proc", "/proc", "--dev", "/dev", *bound, *inside, *python]


def _unshare(place: Path, limits: Limits) -> list[str]:
    """The same by hand: a new root in memory, into which the system's folders are bound, read-only.

    An ordinary user's namespace has no user but its root, who could bind them anew: so every capability is dropped.
    """
    root = os.geteuid() == 0
    user = [] if root else ["--user", "--map-root-user"]
    drop = f"--reuid={NOBODY} --regid={NOBODY} --clear-groups " if root else ""
    names = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL", "--propagation", "private"]
    seen = "\n".join(f"bound '{path}' '{inside}'" for path, inside in _seen().items())
    script = MOUNTS.format(seen=seen, place=place, home=HOME, python=_python(), drop=drop, size=limits.folder)
    return ["unshare", *user, *names, "/bin/sh", "-c", script, "sandbox"]


MOUNTS = """set -e
root='{place}/root'
mkdir "$root"
mount -t tmpfs -o size={size}m,mode=0755 sandbox "$root"
bound() {{
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root$(dirname "$2")"; : > "$root$2"; fi
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
}}
{seen}
mkdir -p "$root/sandbox" "$root{home}" "$root/proc" "$root/dev" "$root/tmp" "$root/.old"
mount --bind '{place}' "$root/sandbox"
mount -o remount,bind,ro "$root/sandbox"
chmod 0777 "$root{home}" "$root/tmp"
mount -t proc proc "$root/proc"
for device in null zero random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
cd "$root"
pivot_root . .old
umount -l /.old
unset PWD OLDPWD
exec setpriv {drop}--bounding-set=-all --inh-caps=-all --no-new-privs {python} -I -S /sandbox/launch.py "$1"
"""
"""Makes a new root in memory, into which the system's folders are bound, and leaves the old one for good."""

LAUNCH = '''"""Gives up what it may, then runs the program; its last word says that it came to the end."""
import os, resource, runpy, sys

secret = sys.argv.pop()
mebi = 1 << 20
for what, most in (
    (resource.RLIMIT_CPU, int({limits.seconds}) + 1),
    (resource.RLIMIT_AS, {limits.memory} * mebi),
    (resource.RLIMIT_FSIZE, {limits.file} * mebi),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CORE, 0),
):
    resource.setrlimit(what, (most, most))
os.chdir("{home}")
os.environ.clear()
os.environ["HOME"] = "{home}"
try:
    os.setgroups([])
    os.setgid({nobody})
    os.setuid({nobody})
except OSError:
    pass  # it is nobody already, or of an ordinary user, in whose namespace there is no other
with open("/proc/self/status") as file:
    if any(line.startswith(("CapPrm", "CapEff")) and int(line.split()[1], 16) for line in file):
        sys.exit("a capability is left")
resource.setrlimit(resource.RLIMIT_NPROC, ({limits.processes}, {limits.processes}))
sys.argv[:] = ["/sandbox/program.py"]
runpy.run_path("/sandbox/program.py", run_name="__main__")
sys.stdout.flush()
os.getcwd()  # fails where the program deleted its folder
print("\\n" + secret, flush=True)
'''
