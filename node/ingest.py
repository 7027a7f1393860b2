"""From a received measurement to a durable job; runs in the listener's threads before success is answered."""

from __future__ import annotations

import sqlite3
from typing import BinaryIO

from lfmri_node.dicom_io.errors import ListenerRefusal
from lfmri_node.dicom_io.raw_data.context import read_context
from lfmri_node.dicom_io.receive.listener import ListenerSettings
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
from lfmri_node.dicom_io.status import Status
from lfmri_node.dicom_io.types import ReceivedPayload
from lfmri_node.node import logs
from lfmri_node.node.config import Config
from lfmri_node.node.jobs.engine import Workflows
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.recipe import Recipe, measurement_key
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.recon.errors import InvalidModel
from lfmri_node.recon.mrd.file import open_mrd
from lfmri_node.recon.mrd.header import parse_header
from lfmri_node.recon.types import ScanIdentity


def listener_settings(config: Config, layout: Layout) -> ListenerSettings:
    """The listener's view of the configuration."""
    section = config.listener
    callers = tuple(AllowedCaller.of(caller.ae_title, [caller.address]) for caller in section.allow)
    return ListenerSettings(
        ae_title=config.node.ae_title,
        host=section.host,
        port=section.port,
        spool=layout.spool,
        policy=AccessPolicy(callers=callers),
        max_associations=section.max_associations,
        max_per_address=section.max_per_address,
        request_timeout_s=section.request_timeout_s,
        min_free_bytes=int(section.free_space_floor_gb * 2**30),
        network_timeout_s=section.network_timeout_s,
        drain_s=config.node.drain_s,
    )


def read_identity(file: BinaryIO, group: str) -> ScanIdentity:
    """Who the header of an ISMRMRD file says was measured; see `dicom_io.spool.Inspect`."""
    with open_mrd(file, group) as measurement:
        return parse_header(measurement.xml).identity


class Ingest:
    """Makes a job of every measurement: a row first, then its workflow. Both are idempotent."""

    def __init__(self, *, config: Config, store: Store, workflows: Workflows) -> None:
        self._config = config
        self._store = store
        self._workflows = workflows

    def received(self, payload: ReceivedPayload) -> None:
        """Record and enqueue a measurement whose files are safe in the spool.

        Raises
        ------
        ListenerRefusal
            LF-JOB-016, answered 0xA700, where the job cannot be made durable: the sender keeps the
            measurement and sends it again.
        """
        try:
            job = self._record(payload)
            self._workflows.enqueue(job)
        except (OSError, sqlite3.Error, InvalidModel) as error:
            what = error.code if isinstance(error, InvalidModel) else type(error).__name__
            raise ListenerRefusal(
                "LF-JOB-016",
                f"the job cannot be recorded ({what})",
                "check the disk of node.data_dir and `lfmri-node doctor`; the sender tries again",
                status=Status.OUT_OF_RESOURCES,
            ) from error
        logs.event(
            "measurement.received",
            job=job.name,
            calling_ae=payload.calling_ae,
            bytes=payload.size_bytes,
            n_parts=payload.n_parts,
        )

    def _record(self, payload: ReceivedPayload) -> Job:
        recipe = Recipe.of(self._config, payload.calling_ae)
        context = read_context(*payload.paths)
        return self._store.add_measurement(
            key=measurement_key(context, payload.sha256, recipe),
            source_sha256=payload.sha256,
            calling_ae=payload.calling_ae,
            received_at=payload.received_at,
            recipe=recipe.to_json(),
            parts=payload.paths,
        )

    def adopt(self, pending: tuple[ReceivedPayload, ...]) -> int:
        """Enqueue measurements in the spool that no job knows: the process died before it made one.

        One that has a job, of whatever settings, is left alone: a changed configuration must not
        reconstruct the whole spool again.
        """
        orphans = [payload for payload in pending if not self._store.knows(payload.paths)]
        for payload in orphans:
            self.received(payload)
        return len(orphans)
