"""The life of a process between its start and a signal."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType
from typing import Protocol

from lfmri_node.node import logs
from lfmri_node.node.errors import JobError
from lfmri_node.node.terminal.tables import print_error


class Running(Protocol):
    """What lives until a signal."""

    def run(self, stop: threading.Event, hurry: threading.Event) -> None:
        """Until ``stop``; ``hurry`` cuts the grace time short."""
        ...

    def reload(self) -> None:
        """Read the configuration again soon, as far as it can be."""
        ...


def run_until_signalled(service: Running) -> None:
    """Run ``service`` with the two signals as its stop; then leave at once.

    Threads that still wait for a silent peer or a locked file would keep the interpreter: Python joins
    them. Nothing is lost with them, as nothing is lost with a kill.
    """
    stop, hurry = threading.Event(), threading.Event()

    def signalled(number: int, _frame: FrameType | None) -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signalled)
    signal.signal(signal.SIGHUP, lambda _number, _frame: service.reload())
    status = 0
    try:
        service.run(stop, hurry)
    except JobError as error:
        logs.event("service.failed", level=logging.ERROR, code=error.code)
        print_error(error.code, error.message, error.hint)
        status = 1
    logging.shutdown()
    os._exit(status)
