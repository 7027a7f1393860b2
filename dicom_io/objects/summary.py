"""Encapsulated PDF (PS3.3 A.45.1): one page that sums a job up. highdicom has no class for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import highdicom as hd
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from lfmri_node.dicom_io.objects import codes
from lfmri_node.dicom_io.objects.attributes import ObjectJob, sop_arguments
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.intensity import Scaling, Window
from lfmri_node.dicom_io.objects.marks import Mark
from lfmri_node.dicom_io.objects.summary_page import TITLE, slice_to_show, summary_pdf

_NOT_SHOWN = (Role.FUSED, Role.CORRECTED)
_ONE_A_SLICE = (Role.LF_MRI, Role.REFERENCE, Role.FALLBACK)


class Summary(hd.SOPClass):
    """The page of one job; patient, study and provenance are added by `attributes.complete`.

    Parameters
    ----------
    objects
        All others of the job.
    scaling, window
        Of the job's images.
    """

    def __init__(
        self,
        job: ObjectJob,
        objects: Sequence[tuple[Role, hd.SOPClass]],
        marks: Sequence[Mark],
        *,
        scaling: Scaling,
        window: Window,
    ) -> None:
        arguments = sop_arguments(job, Role.SUMMARY, 1)
        del arguments["content_qualification"]  # of images alone
        super().__init__(
            study_instance_uid=job.context.study_instance_uid,
            sop_class_uid=EncapsulatedPDFStorage,
            modality="DOC",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **arguments,
        )
        s = slice_to_show(job.reconstruction)
        series = Counter(role for role, _ in objects)
        series[Role.SUMMARY] = 1
        self.ConversionType = "WSD"
        self.AcquisitionDateTime = ""
        self.BurnedInAnnotation = "NO"  # nothing on the page tells whose it is
        self.SourceInstanceSequence = [
            _reference(image) for role, image in objects if _is_shown(role, image, s)
        ]
        self.DocumentTitle = TITLE
        self.ConceptNameCodeSequence = [CodedConcept.from_code(codes.REPORT_TITLE)]
        self.VerificationFlag = "UNVERIFIED"
        self.MIMETypeOfEncapsulatedDocument = "application/pdf"
        document = summary_pdf(job, series, marks, s, scaling=scaling, window=window)
        self.EncapsulatedDocumentLength = len(document)
        self.EncapsulatedDocument = document + b"\0" * (len(document) % 2)


def _is_shown(role: Role, image: Dataset, s: int) -> bool:
    """Whether the page draws from an object: of series of slices, the one that it shows."""
    return role not in _NOT_SHOWN and (role not in _ONE_A_SLICE or image.InstanceNumber == s + 1)


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item
