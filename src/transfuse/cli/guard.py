"""What surrounds every command: an error becomes a message and an exit code, never a traceback unless asked for."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from transfuse.errors import OutputError, TransfuseError

CLOSED_PIPE = 1
INTERRUPTED = 130
UNEXPECTED = 70

_WRITING = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the disk can only be read",
}


def guarded(arguments: Sequence[str]) -> int:
    """Run the command line; return its exit code."""
    words, debug = take_debug(arguments)
    from transfuse.cli.app import app

    try:
        app(args=words, prog_name="transfuse")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return _interrupted() if code == INTERRUPTED else code
    except KeyboardInterrupt:
        return _interrupted()
    except TransfuseError as error:
        return _report(error, debug)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - or the interpreter would complain when it flushes at the end
        return CLOSED_PIPE
    except OSError as error:
        if error.errno not in _WRITING:
            return _unexpected(error, debug)
        return _report(as_output_error(error), debug)
    except Exception as error:  # noqa: BLE001 - the last door before the user
        return _unexpected(error, debug)
    return 0


def take_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without ``--debug``, which may stand anywhere before ``--``, and whether it was asked for."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word != "--debug"]
    asked = len(words) < end or os.environ.get("TRANSFUSE_DEBUG", "") not in ("", "0")
    return [*words, *arguments[end:]], asked


def as_output_error(error: OSError) -> OutputError:
    """The system's refusal to write, in the words of our own."""
    what = _WRITING.get(error.errno or 0, error.strerror or str(error))
    return OutputError(
        f"{error.filename}: {what}" if error.filename else f"Cannot write: {what}",
        expected="a place that can be written and has space left",
        remedy="Free the disk or choose another folder; the same command goes on where it stopped.",
    )


def _report(error: TransfuseError, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    else:
        _say(str(error))
    return error.exit_code


def _unexpected(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    said = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {said[0]:.200}" if said else type(error).__name__
    _say(f"Unexpected: {what}\nRemedy: " + ("Report it with the lines above." if debug else "Run again with --debug."))
    return UNEXPECTED


def _interrupted() -> int:
    _say("Stopped. The same command goes on where it stopped.")
    return INTERRUPTED


def _say(message: str) -> None:
    """A message in red on the standard error, exactly as written."""
    first, _, rest = message.partition("\n")
    text = Text(first, style="bold red")
    if rest:
        text.append("\n" + rest, style="not bold")
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    Console(stderr=True, highlight=False).print(text, soft_wrap=True)
