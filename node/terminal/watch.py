"""``lfmri-node status --watch``: the same tables again and again, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from lfmri_node.node.terminal.tables import console, show

_ENDING = frozenset({signal.SIGINT, signal.SIGTERM})
_FEWEST = 5

Look = Callable[[int], Sequence[RenderableType]]
"""What is to be shown, with so many rows of the longest table; 0: all."""


def repeat(look: Look, every_s: float) -> None:
    """Show what ``look`` returns every ``every_s`` seconds, until Ctrl-C or SIGTERM.

    On a terminal in place, and the last of it stays; on one that cannot, and elsewhere, one below the other.
    """
    in_place = sys.stdout.isatty() and not console().is_dumb_terminal
    heard = _ENDING | {signal.SIGWINCH} if in_place else _ENDING
    before = signal.pthread_sigmask(signal.SIG_BLOCK, heard)
    try:
        (_in_place if in_place else _below)(look, lambda: _told_to_end(heard, every_s))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_place(look: Look, ended: Callable[[], bool]) -> None:
    out = console()
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            shown = _dated(look(max(out.height // 2, _FEWEST)))
            live.update(shown, refresh=True)
            if ended():
                break
    out.print(shown)


def _below(look: Look, ended: Callable[[], bool]) -> None:
    while True:
        show(_dated(look(0)))
        if ended():
            return


def _dated(blocks: Sequence[RenderableType]) -> RenderableType:
    return Group(Text(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}"), *blocks)


def _told_to_end(heard: frozenset[signal.Signals], every_s: float) -> bool:
    """Wait for the next look, which a terminal of another size calls for at once."""
    told = signal.sigtimedwait(heard, every_s)
    return told is not None and told.si_signo in _ENDING
