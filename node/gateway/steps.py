"""The two programs that a watching gateway runs for a file: a site's converter, and ``lfmri-node send``.

Both are children with a time limit, and may crash or hang without the watcher. No shell sees a file's name.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lfmri_node.node.errors import NodeError

_POLL_S = 0.2
_SEND_LIMIT_S = 3600.0
PASSING = ("LF-CFG-010", "LF-CFG-014", "LF-DEL-022")
"""What `send` says where the same file may be sent at another time: no room, no name service, no node."""


class Stopped(Exception):
    """The watcher is to end; the program was ended with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """A site's converter: words of a command line, in which ``{in}`` and ``{out}`` stand for paths.

    Parameters
    ----------
    limit_s
        Longest time for one file.
    """

    words: tuple[str, ...]
    limit_s: float

    @classmethod
    def of(cls, text: str, limit_s: float) -> Converter:
        """From a command as one would type it; quotes are understood, a shell is not.

        Raises
        ------
        NodeError
            LF-GWY-002 where it lacks ``{in}`` or ``{out}``, or its quotes do not match.
        """
        try:
            words = tuple(shlex.split(text))
        except ValueError:
            words = ()
        if not all(any(place in word for word in words) for place in ("{in}", "{out}")):
            raise NodeError(
                "LF-GWY-002",
                "the converter's command lacks {in} or {out}, or its quotes do not match",
                'write it as in --convert "siemens_to_ismrmrd -f {in} -o {out}"',
            )
        return cls(words=words, limit_s=limit_s)

    def run(self, source: Path, out: Path, log: Path, stop: threading.Event) -> None:
        """Convert one file; what the program prints goes to ``log``.

        Raises
        ------
        NodeError
            LF-GWY-003 it cannot be started, ended with another status than 0, or wrote nothing; LF-GWY-004
            it took longer than it may.
        Stopped
            The watcher is to end.
        """
        out.unlink(missing_ok=True)  # some converters add to a file that is there
        named = {"{in}": str(source), "{out}": str(out)}
        words = [_filled(word, named) for word in self.words]
        try:
            with log.open("wb") as printed:
                status = _run(words, stop, self.limit_s, stdout=printed.fileno())
        except OSError as error:
            raise _not_converted(f"it cannot be started ({error.strerror})") from error
        if status is None:
            raise NodeError(
                "LF-GWY-004",
                f"the converter took longer than {self.limit_s:g} s and was stopped",
                "see the .log beside the file; raise --convert-limit if this size of file is expected",
            )
        if status != 0:
            ending = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise _not_converted(f"it ended with {ending}")
        if not out.is_file() or out.stat().st_size == 0:
            raise _not_converted("it wrote nothing to {out}")


def _filled(word: str, named: Mapping[str, str]) -> str:
    for place, path in named.items():
        word = word.replace(place, path) if place in word else word
    return word


def _not_converted(why: str) -> NodeError:
    return NodeError(
        "LF-GWY-003", f"the converter failed: {why}", "see the .log beside the file; mend it and put it back"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """``lfmri-node send`` as a child; ``options``: address, titles, certificates, never a patient."""

    options: tuple[str, ...]

    def run(self, h5: Path, given: Mapping[str, str], stop: threading.Event) -> NodeError | None:
        """Send one file; None where the node has promised it.

        Raises
        ------
        Stopped
            The watcher is to end.
        """
        words = [sys.executable, "-m", "lfmri_node.node.cli", "send", str(h5), *self.options]
        text = "".join(f"{keyword} = {json.dumps(value)}\n" for keyword, value in given.items())
        said = bytearray()
        status = _run([*words, "--identity", "-", "--json"], stop, _SEND_LIMIT_S, said=said, heard=text)
        if status == 0:
            return None
        try:
            error = json.loads(said)["error"]
            return NodeError(error["code"], error["message"], error["hint"])
        except (ValueError, KeyError, TypeError):
            return NodeError(
                "LF-GWY-005",
                "the process that sends ended without an answer",
                "the file may be damaged; `lfmri-node send` alone says more",
            )


def _run(
    words: Sequence[str],
    stop: threading.Event,
    limit_s: float,
    *,
    stdout: int = subprocess.PIPE,
    said: bytearray | None = None,
    heard: str = "",
) -> int | None:
    """Exit status of a program; None where its time was over. It and what it started end with the watcher."""
    child = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.DEVNULL if said is not None else subprocess.STDOUT,
        start_new_session=True,
    )
    done = threading.Event()

    def talk() -> None:
        out, _ = child.communicate(heard.encode("utf-8"))
        if said is not None:
            said.extend(out)
        done.set()

    threading.Thread(target=talk, daemon=True).start()
    waited = 0.0
    while not done.wait(_POLL_S):
        waited += _POLL_S
        if waited >= limit_s or stop.is_set():
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            done.wait()
            if stop.is_set():
                raise Stopped
            return None
    return child.returncode
