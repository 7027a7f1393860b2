"""An operator says whose a scan is that came without patient or study: then it is encoded and delivered.

Streams and files in watched folders have only their ISMRMRD header. Where that names no patient, or no study,
the scan is reconstructed and held. What the operator says is kept beside the raw data, not in them and not in
the job table, and stands in every object as if a gateway had sent it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from lfmri_node.dicom_io.raw_data.received import recall_measurement
from lfmri_node.dicom_io.raw_data.unassigned import missing_identity
from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.dicom_io.values import require_fitting
from lfmri_node.node import logs
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.files import write_text
from lfmri_node.node.jobs.assignments import Assignments
from lfmri_node.node.jobs.engine import ask_for_retry
from lfmri_node.node.jobs.job import Identity, Job
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.retry import is_served
from lfmri_node.node.jobs.tables import databases_of, no_table
from lfmri_node.node.jobs.writer import now
from lfmri_node.node.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """What goes on now: the measurement, and its scans where they are known."""

    name: str
    scans: tuple[str, ...]


def held(config: Config) -> list[Job]:
    """Jobs that wait for an assignment, the oldest first.

    Raises
    ------
    JobError
        LF-JOB-003 no job table.
    """
    with closing(Ledger(databases_of(config).table)) as ledger:
        return ledger.held()


def assign(config: Config, name: str, given: Mapping[str, str]) -> Assigned:
    """Assign an identity to the whole measurement of a job; cut off and done again, it ends what it began.

    A study without a UID gets one that follows from patient and scan. A running service goes on with the
    job within seconds, a stopped one at its next start. As long as nothing of it was delivered, another
    identity takes the place of the first, and what was encoded is encoded again.

    Parameters
    ----------
    given
        DICOM attributes, keyword -> value (`gateway.identity`).

    Raises
    ------
    JobError
        LF-JOB-003 no job table, LF-JOB-005 no such job, LF-JOB-048 nothing is missing, LF-JOB-049 the
        patient is missing and not given; LF-JOB-007, -044, -050 as `Assignments.take_back`.
    ObjectError
        LF-OBJ-002 a value does not fit its value representation.
    """
    layout = Layout(root=config.node.data_dir)
    databases = databases_of(config)
    if not databases.present:
        raise no_table()
    with closing(Assignments(databases.table)) as table:
        serving = is_served(config, table)
        job = table.job(name)
        measurement = table.job(job.parent or job.key)
        text = _identity(table, measurement, given)
        path = layout.assigned(measurement.key)
        if measurement.identity is Identity.ASSIGNED and path.read_text(encoding="utf-8") != text:
            if not serving:
                table.forget_running()
            table.take_back(measurement)

        def keep(scans: Sequence[Job]) -> None:
            for scan in scans:  # encoded as somebody else's, and taken back
                shutil.rmtree(layout.objects(scan.key), ignore_errors=True)
            write_text(path, text)

        found = table.assign(measurement, keep)
        if path.read_text(encoding="utf-8") != text:
            raise JobError(
                "LF-JOB-050", "somebody assigns something else to this job just now", "look at it again"
            )
    logs.event("job.assigned", job=measurement.name)
    if serving:
        for item in found:
            ask_for_retry(databases.engine_url, item.key, now().isoformat())
    return Assigned(name=measurement.name, scans=tuple(item.name for item in found[1:]))


def _identity(table: Assignments, measurement: Job, given: Mapping[str, str]) -> str:
    """What is kept: JSON, the same for the same words."""
    require_fitting(given, given)
    context = recall_measurement(table.sources(measurement.key)).context
    missing = missing_identity(context, measurement.source_sha256)
    said = {keyword: value for keyword, value in given.items() if value}
    if "PatientID" in missing and "PatientID" not in said:
        raise JobError(
            "LF-JOB-049",
            "the scan names no patient, and no PatientID was given",
            'write PatientID = "..." into the file of --identity',
        )
    if "StudyInstanceUID" in missing and "StudyInstanceUID" not in said:
        patient = said.get("PatientID", str(context.attributes.get("PatientID")))
        said["StudyInstanceUID"] = name_uid("study", patient, measurement.source_sha256)
    return json.dumps(said, sort_keys=True)
