"""Looks again and again, and tells what is new; a thread for each way, which keeps nobody waiting."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.config import Config
from lfmri_node.node.config.watching import NotifySection
from lfmri_node.node.errors import NodeError
from lfmri_node.node.files import write_text
from lfmri_node.node.layout import Layout
from lfmri_node.node.monitor.vitals import Vitals
from lfmri_node.node.notify.news import News, Trouble, troubles
from lfmri_node.node.notify.ways import FAILURES, tell

_AGAIN = Backoff(base_s=10.0, cap_s=900.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one way has been told, in a file: a restart tells nothing twice and forgets nothing."""

    path: Path

    def read(self) -> frozenset[Trouble]:
        """Nothing where there is no such file, or it is damaged: rather twice than never."""
        try:
            return frozenset(Trouble(**item) for item in json.loads(self.path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return frozenset()

    def write(self, present: frozenset[Trouble]) -> None:
        """Replace it, durably."""
        write_text(self.path, json.dumps([item.to_json() for item in sorted(present)]))


class Watcher:
    """Tells by every configured way until ``stop``.

    Attributes
    ----------
    config
        May be replaced at any time; `start` then begins to tell by ways that were added.
    """

    def __init__(self, config: Config, vitals: Vitals, stop: threading.Event) -> None:
        self.config = config
        self._vitals = vitals
        self._stop = stop
        self._names: set[str] = set()

    def start(self) -> None:
        """Begin to tell by ways that have no thread yet."""
        for section in self.config.notify:
            if section.name not in self._names:
                self._names.add(section.name)
                name = f"notify {section.name}"
                threading.Thread(target=self._tell, args=(section.name,), name=name, daemon=True).start()

    def _section(self, name: str) -> NotifySection | None:
        return next((item for item in self.config.notify if item.name == name), None)

    def _tell(self, name: str) -> None:
        in_vain = 0
        while True:
            wait_s, section = self.config.node.housekeeping_s, self._section(name)
            if section is not None:
                try:
                    if self.look(section):
                        in_vain, wait_s = 0, section.at_most_every_s
                except (*FAILURES, NodeError, sqlite3.Error) as error:
                    in_vain += 1
                    wait_s = _AGAIN.delay_s(in_vain)
                    if in_vain == 1:  # told once, however long it lasts
                        cause = error.code if isinstance(error, NodeError) else type(error).__name__
                        logs.event(
                            "notify.failed",
                            level=logging.WARNING,
                            code="LF-OPS-004",
                            destination=name,
                            message=cause,
                            next_try_s=wait_s,
                        )
            if self._stop.wait(wait_s):
                return

    def look(self, section: NotifySection) -> bool:
        """Tell what is new by one way, once; whether there was anything.

        Raises
        ------
        NodeError, sqlite3.Error, OSError, HTTPException, SMTPException
            Nothing was told, as far as is known.
        """
        config = self.config
        told = Told(path=Layout(root=config.node.data_dir).state / f"told-{section.name}.json")
        before = told.read()
        wrong = troubles(config, self._vitals, destination_down_s=section.destination_down_s)
        present = frozenset(item for item in wrong if item.subject in section.subjects)
        news = News.between(before, present)
        if news:
            tell(section, news.document(config.node.ae_title, datetime.now(UTC)))
        if present != before:
            told.write(present)
        return bool(news)
