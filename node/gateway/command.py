"""``lfmri-node gateway watch`` from its options to its answer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from lfmri_node.node import logs
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.gateway.steps import Converter, Sending
from lfmri_node.node.gateway.watch import Report, Watch, WatchSettings

_BACKOFF = Backoff(base_s=5.0, cap_s=300.0)


def watch_folder(
    folder: Path,
    options: tuple[str, ...],
    *,
    given: Mapping[str, str],
    convert: str | None,
    convert_limit_s: float,
    settle_s: float,
    once: bool,
    backoff: Backoff = _BACKOFF,
) -> Report:
    """Watch until SIGTERM or Ctrl-C, or once; what became of the files.

    Parameters
    ----------
    options
        Of ``lfmri-node send``, but for patient and study.

    Raises
    ------
    NodeError
        LF-GWY-001 another process watches the folder, LF-GWY-002 the converter's command is incomplete.
    OSError
        The folder cannot be used.
    """
    converter = None if convert is None else Converter.of(convert, convert_limit_s)
    settings = WatchSettings(
        folder=folder,
        sending=Sending(options=options),
        converter=converter,
        given=given,
        settle_s=settle_s,
        backoff=backoff,
        once=once,
    )
    stop = threading.Event()

    def signalled(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)
    logs.configure("info", None)
    return Watch(settings).run(stop)
