"""Whose a job is: by what an operator said, by its raw data, or by one of its objects."""

from __future__ import annotations

import json

from lfmri_node.dicom_io.deliver.identity import whose
from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.raw_data.received import recall_measurement
from lfmri_node.dicom_io.raw_data.unassigned import assigned, missing_identity
from lfmri_node.node.jobs.job import Identity, Job
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout


def whose_job(ledger: Ledger, layout: Layout, job: Job) -> tuple[str, str]:
    """PatientID and StudyInstanceUID; "" for what nobody has said, or what is not here any more."""
    measurement = job.parent or job.key
    try:
        context = recall_measurement(ledger.sources(measurement)).context
        if job.identity is Identity.ASSIGNED:
            said = json.loads(layout.assigned(measurement).read_text(encoding="utf-8"))
            context = assigned(context, said)
    except (OSError, DicomIoError):
        return _by_objects(ledger, job)
    missing = missing_identity(context, job.source_sha256)
    patient = "" if "PatientID" in missing else str(context.attributes.get("PatientID") or "")
    return patient, "" if "StudyInstanceUID" in missing else context.study_instance_uid


def _by_objects(ledger: Ledger, job: Job) -> tuple[str, str]:
    for key in (job.key, *(scan.key for scan in ledger.scans(job.key))):
        for item in ledger.objects(key):
            if (found := whose(item.path)) is not None:
                return found
    return "", ""
