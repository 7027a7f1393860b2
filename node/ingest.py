"""From a received measurement to a durable job; runs in the listener's threads before success is answered."""

from __future__ import annotations

import logging
import socket
import sqlite3
from collections.abc import Iterator

from lfmri_node.dicom_io.commitment import NoReport
from lfmri_node.dicom_io.errors import ListenerRefusal
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.raw_data.unassigned import missing_identity
from lfmri_node.dicom_io.receive.listener import ListenerSettings
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller
from lfmri_node.dicom_io.status import Status
from lfmri_node.dicom_io.types import CommitmentReport
from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config, DicomDestinationSection
from lfmri_node.node.errors import Fenced
from lfmri_node.node.jobs.engine import Engine
from lfmri_node.node.jobs.job import Identity, Job
from lfmri_node.node.jobs.recipe import Recipe, measurement_key
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.recon.errors import InvalidModel


def access_policy(config: Config) -> AccessPolicy:
    """Who may send, and which destinations may report on storage commitment."""
    allow = config.listener.allow
    callers = [AllowedCaller.of(item.ae_title, [item.address], item.certificate) for item in allow]
    return AccessPolicy(callers=(*callers, *_reporters(config)))


def _reporters(config: Config) -> Iterator[AllowedCaller]:
    for section in config.destinations:
        if isinstance(section, DicomDestinationSection) and section.commitment:
            networks = section.report_from or _addresses(section)
            if networks:
                yield AllowedCaller.of(section.ae_title, networks, section.report_certificate, reports=True)


def _addresses(section: DicomDestinationSection) -> list[str]:
    """Where a destination's host lies now; nowhere, and told, where its name leads to no address."""
    try:
        found = socket.getaddrinfo(section.host, section.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        logs.event("destination.no_address", level=logging.WARNING, destination=section.name)
        return []
    return sorted({str(address[0]).partition("%")[0] for *_, address in found})


def listener_settings(config: Config, layout: Layout) -> ListenerSettings:
    """The listener's view of the configuration."""
    section = config.listener
    return ListenerSettings(
        ae_title=config.node.ae_title,
        host=section.host,
        port=section.port,
        spool=layout.spool,
        policy=access_policy(config),
        max_associations=section.max_associations,
        max_per_address=section.max_per_address,
        request_timeout_s=section.request_timeout_s,
        min_free_bytes=int(section.free_space_floor_gb * 2**30),
        network_timeout_s=section.network_timeout_s,
        incomplete_after_s=section.incomplete_after_s,
        drain_s=config.node.drain_s,
        tls=section.tls.settings() if section.tls is not None else None,
    )


class Ingest:
    """Makes a job of every measurement: a row, which is the promise; its workflow follows by itself.

    Attributes
    ----------
    config
        May be replaced at any time, for what comes from then on.
    """

    def __init__(self, *, config: Config, store: Store, engine: Engine, auditor: Auditor) -> None:
        self.config = config
        self._store = store
        self._engine = engine
        self._auditor = auditor

    def received(self, measurement: ReceivedMeasurement) -> Job:
        """Record and enqueue a measurement whose files are safe in the spool; the job that it is now.

        Raises
        ------
        ListenerRefusal
            LF-JOB-016, answered 0xA700, where the job cannot be made durable: the sender keeps the
            measurement and sends it again.
        """
        try:
            job, before = self._record(measurement)
            self._engine.take_up(job)
        except (OSError, sqlite3.Error, InvalidModel, Fenced) as error:
            what = error.code if isinstance(error, InvalidModel) else type(error).__name__
            raise ListenerRefusal(
                "LF-JOB-016",
                f"the job cannot be recorded ({what})",
                "check the disk of node.data_dir and `lfmri-node doctor`; the sender tries again",
                status=Status.OUT_OF_RESOURCES,
            ) from error
        self._auditor.received(measurement)
        logs.event(
            "measurement.received",
            job=job.name,
            calling_ae=measurement.calling_ae,
            bytes=measurement.size_bytes,
            n_parts=len(measurement.parts),
        )
        if before:
            logs.event("measurement.resent", job=job.name, what=before)
        return job

    def reported(self, calling_ae: str, report: CommitmentReport) -> None:
        """Record what an archive reports on storage commitment.

        Raises
        ------
        NoReport
            0x0115 where this caller was not asked in that transaction.
        """
        names = {
            section.name
            for section in self.config.destinations
            if isinstance(section, DicomDestinationSection) and section.ae_title == calling_ae
        }
        key = self._store.note_report(names, report)
        if key is None:
            raise NoReport(0x0115, "no such transaction")
        logs.event(
            "commitment.reported",
            job=key[:12],
            delivered=len(report.committed),
            missing=len(report.failed),
        )

    def _record(self, measurement: ReceivedMeasurement) -> tuple[Job, str]:
        """The job, and what had become of it where it came before; "" where it is new."""
        recipe = Recipe.of(self.config, measurement.calling_ae)
        key = measurement_key(measurement.context, measurement.sha256, recipe)
        before = self._store.note_resent(key)
        job = self._store.add_measurement(
            key=key,
            identity=self._identity(measurement, key),
            source_sha256=measurement.sha256,
            calling_ae=measurement.calling_ae,
            received_at=measurement.received_at,
            recipe=recipe.to_json(),
            parts=measurement.paths,
            priority=self.config.gateway(measurement.calling_ae).priority,
        )
        return job, before

    def _identity(self, measurement: ReceivedMeasurement, key: str) -> Identity:
        """Whether somebody has to say whose it is, or has: an assignment outlives the job table."""
        if not missing_identity(measurement.context, measurement.sha256):
            return Identity.STATED
        assigned = Layout(root=self.config.node.data_dir).assigned(key).exists()
        return Identity.ASSIGNED if assigned else Identity.MISSING

    def adopt(self, pending: tuple[ReceivedMeasurement, ...]) -> int:
        """Enqueue measurements in the spool that no job knows: the process died before it made one.

        One that has a job, of whatever settings, is left alone: a changed configuration must not
        reconstruct the whole spool again.
        """
        orphans = [measurement for measurement in pending if not self._store.knows(measurement.paths)]
        for measurement in orphans:
            self.received(measurement)
        return len(orphans)
