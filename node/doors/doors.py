"""All doors of a node beside its C-STORE listener, as one: opened after it, closed before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from lfmri_node.dicom_io.receive.spool import Spool
from lfmri_node.node.config import Config, MrdSection
from lfmri_node.node.doors.back import ImagesBack
from lfmri_node.node.doors.folder import FolderDoor, FolderSettings
from lfmri_node.node.doors.intake import Intake, Received
from lfmri_node.node.doors.mrd import Caller, MrdDoor, MrdSettings
from lfmri_node.node.doors.streams import Streams
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker.sandbox import Sandbox


class Doors:
    """The doors that the configuration asks for.

    Parameters
    ----------
    spool
        Open.
    received
        Makes a job of a measurement that is safe in the spool.
    table
        Says how far jobs are.
    cage
        For the children that parse what came in.
    """

    def __init__(
        self,
        config: Config,
        layout: Layout,
        spool: Spool,
        received: Received,
        table: Ledger,
        cage: Sandbox,
    ) -> None:
        self._config = config
        self._intake = Intake(spool=spool, folder=layout.spool, received=received, cage=cage)
        self._streams = Streams(
            layout.spool,
            max_bytes=_max_bytes(config.mrd),
            min_free_bytes=int(config.listener.free_space_floor_gb * 2**30),
        )
        stopped = threading.Event()
        self._images = ImagesBack(table, layout, cage, limit_s=config.mrd.images_limit_s, stopped=stopped)
        self._mrd = MrdDoor(
            _settings(config.mrd),
            streams=self._streams,
            intake=self._intake,
            images=self._images,
            stopped=stopped,
        )
        self._folders: dict[FolderSettings, FolderDoor] = {}
        self._ended: dict[Path, FolderDoor] = {}

    def open(self) -> None:
        """Take up what was left over, then let callers in.

        Raises
        ------
        JobError
            LF-JOB-008 where the port of ``[mrd]`` cannot be used.
        TlsError
            LF-NET-043 where a certificate or key of ``[mrd.tls]`` cannot be used.
        """
        self._intake.open()
        self._streams.open()
        self._mrd.start()
        with self.ready_for(self._config) as take_effect:
            take_effect()

    @contextmanager
    def ready_for(self, config: Config) -> Iterator[Callable[[], None]]:
        """Prepare ``[mrd]`` and ``[[folders]]`` of another configuration; what is yielded has them in effect.

        Connections that are open and files that are being taken in go on. Where the block ends without that
        call, nothing has changed.

        Raises
        ------
        JobError, TlsError
            As `open`.
        """
        try:
            change = self._mrd.prepare(_settings(config.mrd))
        except OSError as error:
            raise JobError(
                "LF-JOB-008",
                f"the port of [mrd] cannot be used ({error.strerror})",
                "change mrd.port; another host with the port in use takes a restart",
            ) from None

        def take_effect() -> None:
            self._mrd.carry_out(change)
            self._streams.max_bytes = _max_bytes(config.mrd)
            self._images.limit_s = config.mrd.images_limit_s
            self._watch(config)

        try:
            yield take_effect
        finally:
            self._mrd.give_up(change)

    def _watch(self, config: Config) -> None:
        """Watch the folders of a configuration, and no others."""
        patience_s = config.listener.incomplete_after_s
        wanted = [FolderSettings(patience_s=patience_s, **each.model_dump()) for each in config.folders]
        for settings in [each for each in self._folders if each not in wanted]:
            door = self._folders.pop(settings)
            door.stop()
            self._ended[settings.path] = door
        for settings in wanted:
            if settings not in self._folders:
                door = FolderDoor(settings, self._intake, after=self._ended.pop(settings.path, None))
                self._folders[settings] = door
                door.start()

    def counts(self) -> Mapping[str, int]:
        """Each code of what was refused at the doors, since the start."""
        return self._mrd.counts()

    def close(self) -> None:
        """Begin nothing new, and wait for what is coming in and being converted."""
        for folder in self._folders.values():
            folder.stop()
        self._mrd.stop()
        for folder in (*self._folders.values(), *self._ended.values()):
            folder.join()

    def cut_off(self) -> None:
        """End what did not end in time: a stream is kept as incomplete, a file stays where it lies."""
        self._intake.stop()
        self._mrd.end()


def _max_bytes(section: MrdSection) -> int:
    return int(section.max_gb * 2**30)


def _settings(section: MrdSection) -> MrdSettings:
    return MrdSettings(
        host=section.host,
        port=section.port,
        callers=tuple(
            Caller(ae_title=caller.ae_title, network=ip_network(caller.address)) for caller in section.allow
        ),
        max_connections=section.max_connections,
        max_per_address=section.max_per_address,
        header_s=section.request_timeout_s,
        silence_s=section.network_timeout_s,
        stream_s=section.stream_limit_s,
        tls=section.tls.settings() if section.tls is not None else None,
    )
