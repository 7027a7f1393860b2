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
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.keeper import NOT_STARTED

_POLL_S = 0.2
_SEND_LIMIT_S = 3600.0
PASSING = ("LF-CFG-010", "LF-CFG-014", "LF-DEL-022")
"""What `send` says where the same file may be sent at another time: no room, no name service, no node."""


_KEEPER = (sys.executable, "-m", "lfmri_node.node.gateway.keeper")
_MOST_SAID = 1 << 20
_LAST_WORDS_S = 5.0


class Stopped(Exception):
    """The watcher is to end; the program was ended with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a program ended: its status, None where its time was over; and the last of what it printed."""

    status: int | None
    said: bytes


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
        """Convert one file; the last of what the program prints goes to ``log``.

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
        ended = _run([*_KEEPER, *words], stop, self.limit_s)
        log.write_bytes(ended.said)
        status = ended.status
        if status is None:
            raise NodeError(
                "LF-GWY-004",
                f"the converter took longer than {self.limit_s:g} s and was stopped",
                "see the .log beside the file; raise --convert-limit if this size of file is expected",
            )
        if status == NOT_STARTED:
            raise _not_converted("it cannot be started")
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

    def run(
        self, h5: Path, given: Mapping[str, str], scratch: Path, stop: threading.Event
    ) -> NodeError | None:
        """Send one file; None where the node has promised it.

        Parameters
        ----------
        scratch
            Folder for what is made of the file on the way.

        Raises
        ------
        Stopped
            The watcher is to end.
        """
        words = [sys.executable, "-m", "lfmri_node.node.cli", "send", str(h5), *self.options]
        text = "".join(f"{keyword} = {json.dumps(value)}\n" for keyword, value in given.items())
        words += ["--identity", "-", "--json"]
        ended = _run(words, stop, _SEND_LIMIT_S, heard=text, scratch=scratch, stderr=subprocess.DEVNULL)
        if ended.status == 0:
            return None
        try:
            error = json.loads(ended.said)["error"]
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
    heard: str | None = None,
    scratch: Path | None = None,
    stderr: int = subprocess.STDOUT,
) -> _Ended:
    """Run a program; it and what it started end with its time, and with the watcher.

    Parameters
    ----------
    heard
        What it reads; None: its input stays open until it ends.
    scratch
        Where it puts its temporary files; None: where the watcher does.

    Raises
    ------
    OSError
        It cannot be started.
    Stopped
        The watcher is to end.
    """
    child = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        env=None if scratch is None else {**os.environ, "TMPDIR": str(scratch)},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    said = bytearray()
    ended = threading.Event()
    talks = threading.Thread(target=_listen, args=(child.stdout, said), daemon=True)
    talks.start()
    threading.Thread(target=_wait_for, args=(child.pid, ended), daemon=True).start()
    if heard is not None:
        with suppress(BrokenPipeError):
            child.stdin.write(heard.encode("utf-8"))
            child.stdin.close()
    end = time.monotonic() + limit_s
    while not ended.wait(_POLL_S) and time.monotonic() < end and not stop.is_set():
        pass
    in_time = ended.is_set()
    with suppress(ProcessLookupError, PermissionError):  # what it left running, or all of it
        os.killpg(child.pid, signal.SIGKILL)
    status = child.wait()
    with suppress(BrokenPipeError):
        child.stdin.close()
    talks.join(_LAST_WORDS_S)  # of what has left the group nobody waits for the end
    if not in_time and stop.is_set():
        raise Stopped
    return _Ended(status=status if in_time else None, said=bytes(said))


def _wait_for(process: int, ended: threading.Event) -> None:
    """Wait for the end of a child that stays to be collected: until then nobody else has its number."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    ended.set()


def _listen(pipe: IO[bytes], said: bytearray) -> None:
    """Read what a program prints, and keep the last of it."""
    while piece := os.read(pipe.fileno(), 1 << 16):
        said.extend(piece)
        del said[:-_MOST_SAID]
