"""All doors of a node beside its C-STORE listener, as one: opened after it, closed before it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from ipaddress import ip_network

from lfmri_node.dicom_io.receive.spool import Spool
from lfmri_node.node import logs
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
        self._intake = Intake(spool=spool, folder=layout.spool, received=received, cage=cage)
        self._streams = Streams(
            layout.spool,
            max_bytes=int(config.mrd.max_gb * 2**30),
            min_free_bytes=int(config.listener.free_space_floor_gb * 2**30),
        )
        stopped = threading.Event()
        images = ImagesBack(table, layout, cage, limit_s=config.mrd.images_limit_s, stopped=stopped)
        self._mrd = None
        if config.mrd.allow:
            self._mrd = MrdDoor(
                _settings(config.mrd),
                streams=self._streams,
                intake=self._intake,
                images=images,
                stopped=stopped,
            )
        patience_s = config.listener.incomplete_after_s
        self._folders = [
            FolderDoor(FolderSettings(patience_s=patience_s, **section.model_dump()), self._intake)
            for section in config.folders
        ]

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
        for folder in self._folders:
            folder.start()
        if self._mrd is None:
            return
        try:
            self._mrd.start()
        except OSError as error:
            raise JobError(
                "LF-JOB-008", f"the port of [mrd] cannot be used ({error.strerror})", "change mrd.port"
            ) from None
        logs.event("mrd.ready", port=self._mrd.port)

    def counts(self) -> Mapping[str, int]:
        """Each code of what was refused at the doors, since the start."""
        return self._mrd.counts() if self._mrd is not None else {}

    def close(self) -> None:
        """Begin nothing new, and wait for what is coming in and being converted."""
        for folder in self._folders:
            folder.stop()
        if self._mrd is not None:
            self._mrd.stop()
        for folder in self._folders:
            folder.join()

    def cut_off(self) -> None:
        """End what did not end in time: a stream is kept as incomplete, a file stays where it lies."""
        self._intake.stop()
        if self._mrd is not None:
            self._mrd.end()


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
