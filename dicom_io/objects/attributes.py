"""What all objects of one job share: whose they are, what made them, when, from what."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import highdicom as hd
from highdicom.sr import CodedConcept
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import MRImageStorage
from pydicom.valuerep import DA, DT, TM

from lfmri_node.dicom_io.objects import codes, texts
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.dicom_io.uids import JobKey, name_uid
from lfmri_node.dicom_io.values import (
    IDENTITY,
    body_part_of,
    does_not_fit,
    fits,
    laterality_of,
    plain_value,
)
from lfmri_node.recon.types import Reconstruction

NODE_MANUFACTURER = "lfmri-node project"
NODE_MODEL = "lfmri-node"

_OWN_ANATOMY = (Role.DIFFERENCE, Role.MAP, Role.SEGMENTATION)
_LARGEST_SOURCE_NUMBER = 2_000_000  # a thousand times more is still an IS
_OFFSET = re.compile(r"([+-])(0\d|1[0-4])([0-5]\d)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOptions:
    """What a site can choose about the objects.

    Parameters
    ----------
    device_serial_number
        Of this node, (0018,1000); 1 to 64 characters.
    first_series_number
        Series Number of the LF-MRI series where the source has none; see `ObjectJob.series_number`.
    fused
        Whether the colour series for viewers without overlays is made.
    receive_field_correction
        Whether images of evened intensity are made too, from `Reconstruction.receive_field`.
    summary
        Whether a page of PDF that sums the job up is made.
    outputs
        Values of `Role` that are made, in place of the three switches; None: by the switches.
    rule
        Name of the site's rule by which the scan was reconstructed as it was; "" where none was asked.
    """

    device_serial_number: str = "1"
    first_series_number: int = 9001
    fused: bool = True
    receive_field_correction: bool = False
    summary: bool = False
    outputs: Sequence[str] | None = None
    rule: str = ""

    def makes(self, role: Role) -> bool:
        """Whether objects of a role are made, where a job can have them; the image itself always is."""
        if role in (Role.LF_MRI, Role.FALLBACK):
            return True
        if self.outputs is not None:
            return role in self.outputs
        switches = {
            Role.FUSED: self.fused,
            Role.CORRECTED: self.receive_field_correction,
            Role.SUMMARY: self.summary,
        }
        return switches.get(role, True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectJob:
    """One reconstruction on its way to DICOM.

    Parameters
    ----------
    reference_differs
        Whether the lesion term changed the delivered image anywhere.
    created_at
        Aware. Every date and time that the node itself states is this one, in the source's
        TimezoneOffsetFromUTC where it names one, else in the zone of ``created_at``.

    Raises
    ------
    ValueError
        ``created_at`` has no time zone.
    """

    reconstruction: Reconstruction
    reference_differs: bool
    context: StudyContext = field(repr=False)
    key: JobKey = field(repr=False)
    created_at: datetime
    software_version: str
    site: SiteOptions

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None:
            raise ValueError("created_at must have a time zone")

    @property
    def source_zone(self) -> timezone | None:
        """TimezoneOffsetFromUTC (0008,0201) of the source; None where it is absent or illegal."""
        match = _OFFSET.match(str(self.context.attributes.get("TimezoneOffsetFromUTC", "")))
        if match is None:
            return None
        offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(-offset if match[1] == "-" else offset)

    @property
    def moment(self) -> datetime:
        """``created_at`` in the time zone of the source object."""
        return self.created_at if self.source_zone is None else self.created_at.astimezone(self.source_zone)

    @property
    def frame_of_reference_uid(self) -> str:
        """The source's; the measurement's own where the geometry is unknown or the source names none."""
        source = self.context.frame_of_reference_uid
        if source and self.reconstruction.geometry.known:
            return source
        return self.key.frame_of_reference_uid

    @property
    def device_uid(self) -> str:
        """The node as an observer: the same for all that one node of this serial number writes."""
        return name_uid("device", self.site.device_serial_number)

    @property
    def protocol(self) -> str:
        """Name of the protocol: the ISMRMRD header's, else the source object's."""
        named = (self.context.attributes.get(k) for k in ("ProtocolName", "SeriesDescription"))
        return self.reconstruction.sequence.protocol or next((str(v) for v in named if v), "")

    def series_number(self, role: Role) -> int:
        """Derived from the source's Series Number n, so that results sort beside what they come from.

        ``1000 n``, plus ten for each contrast and repetition, plus the place of the role in `codes.Role`;
        from ``first_series_number`` on where the source has none or one that is no small positive number.
        """
        try:
            source = int(str(self.context.attributes.get("SeriesNumber")))
        except ValueError:
            source = 0
        first = 1000 * source if 0 < source <= _LARGEST_SOURCE_NUMBER else self.site.first_series_number
        scan = 10 * min(10 * self.key.contrast + self.key.repetition, 99)
        return first + scan + list(Role).index(role)


def sop_arguments(job: ObjectJob, role: Role, index: int) -> dict[str, Any]:
    """Arguments that every highdicom constructor takes and passes on to `highdicom.SOPClass`.

    Parameters
    ----------
    index
        Instance Number within the series, from 1.
    """
    day, clock = DA(job.moment.date()), TM(job.moment.time())
    return {
        "series_instance_uid": job.key.series_uid(role),
        "series_number": job.series_number(role),
        "sop_instance_uid": job.key.uid(role, index),
        "instance_number": index,
        "manufacturer": NODE_MANUFACTURER,
        "manufacturer_model_name": NODE_MODEL,
        "software_versions": texts.long_string(job.software_version),
        "device_serial_number": texts.long_string(job.site.device_serial_number),
        "institution_name": texts.long_string(job.context.equipment.institution_name) or None,
        "series_description": texts.series_description(job.reconstruction, job.key, role, job.protocol),
        "content_qualification": hd.ContentQualificationValues.RESEARCH,
        "specific_character_set": hd.SpecificCharacterSetValues.UNICODE_IN_UTF8,
        "content_date": day,
        "content_time": clock,
        "series_date": day,
        "series_time": clock,
    }


def complete(dataset: hd.SOPClass, job: ObjectJob, role: Role, source: Dataset) -> None:
    """Add whose it is, provenance and remarks; replace what highdicom takes from the clock or at random.

    Patient and study come in here, after the constructors, which would quote a name in a warning.

    Parameters
    ----------
    source
        Of `patient_and_study`.
    """
    dataset.copy_patient_and_study_information(source)
    day, clock = DA(job.moment.date()), TM(job.moment.time())
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = day, clock
    dataset.ContributingEquipmentSequence = _contributing_equipment(job)
    if role is Role.REPORT:
        dataset.ContentDate, dataset.ContentTime = day, clock
        dataset.SeriesDate, dataset.SeriesTime = day, clock
    elif role is not Role.SUMMARY:
        _complete_image(dataset, job, role)
    if job.source_zone is not None:
        dataset.TimezoneOffsetFromUTC = job.moment.strftime("%z")
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(name, ()):
            item.DimensionOrganizationUID = job.key.uid(f"{role}-dimensions")


def _complete_image(dataset: hd.SOPClass, job: ObjectJob, role: Role) -> None:
    """What images say of their making; report and summary say it in their content."""
    if job.context.source_instances:
        dataset.SourceInstanceSequence = _raw_data(job.context, codes.SOURCE_RAW_DATA)
        if "ReferencedSeriesSequence" in dataset and job.context.source_series_uid:
            dataset.ReferencedSeriesSequence.append(_raw_data_series(job.context))
    dataset.DerivationDescription = texts.derivation_description(job.reconstruction, role, job.site.rule)
    dataset.ImageComments = texts.image_comments(
        job.reconstruction, role, job.software_version, reference_differs=job.reference_differs
    )
    _add_body(dataset, role, job.context.attributes)


def patient_and_study(job: ObjectJob) -> Dataset:
    """The source's attributes as a data set from which highdicom copies the Patient and Study modules.

    Raises
    ------
    ObjectError
        LF-OBJ-002: an attribute that identifies the patient or study does not fit its VR. Other
        attributes that do not fit are left out.
    """
    source = Dataset()
    for keyword, value in job.context.attributes.items():
        if tag_for_keyword(keyword) is not None:
            copy_attribute(source, keyword, value)
    copy_attribute(source, "StudyInstanceUID", job.context.study_instance_uid)
    source.SOPClassUID = MRImageStorage  # selects the table of modules, no more
    source.SOPInstanceUID = ""
    return source


def copy_attribute(target: Dataset, keyword: str, value: object) -> None:
    """Set an attribute of the source where its value fits its VR and enumeration; see `patient_and_study`."""
    plain = plain_value(value)
    if fits(keyword, plain):
        setattr(target, keyword, plain)
    elif keyword in IDENTITY:
        raise does_not_fit(keyword)


def _add_body(dataset: Dataset, role: Role, attributes: Mapping[str, object]) -> None:
    """The body as the source says: part, position, and the side but where frames or segments name it."""
    body_part, laterality = body_part_of(attributes), laterality_of(attributes)
    if body_part and fits("BodyPartExamined", body_part):
        dataset.BodyPartExamined = body_part
    if attributes.get("PatientPosition"):
        copy_attribute(dataset, "PatientPosition", attributes["PatientPosition"])
    if laterality is not None and role not in _OWN_ANATOMY:
        dataset.Laterality = laterality


def _contributing_equipment(job: ObjectJob) -> list[hd.ContributingEquipment]:
    """Scanner, node and highdicom, in the order of the work."""
    scanner, sequence = job.context.equipment, job.reconstruction.sequence
    acquisition = hd.ContributingEquipment(
        manufacturer=texts.long_string(scanner.manufacturer or sequence.system_vendor or "UNKNOWN"),
        purpose_of_reference=codes.ACQUISITION_EQUIPMENT,
        manufacturer_model_name=texts.long_string(scanner.model_name or sequence.system_model or "") or None,
        software_versions=texts.long_string(scanner.software_versions) or None,
        device_serial_number=texts.long_string(scanner.serial_number) or None,
        institution_name=texts.long_string(scanner.institution_name) or None,
        contribution_description="Acquisition of the k-space data",
    )
    processing = hd.ContributingEquipment(
        manufacturer=NODE_MANUFACTURER,
        purpose_of_reference=codes.PROCESSING_EQUIPMENT,
        manufacturer_model_name=NODE_MODEL,
        software_versions=texts.long_string(job.software_version),
        device_serial_number=texts.long_string(job.site.device_serial_number),
        contribution_datetime=DT(job.moment),
        contribution_description=texts.contribution_description(job.reconstruction),
    )
    library = hd.ContributingEquipment.for_highdicom()
    library.ContributionDateTime = DT(job.moment)
    return [acquisition, processing, library]


def _raw_data(context: StudyContext, purpose: Code | None = None) -> list[Dataset]:
    """A reference to each Raw Data object of the measurement."""
    items = []
    for sop_instance_uid in context.source_instances:
        item = Dataset()
        item.ReferencedSOPClassUID = context.source_sop_class_uid
        item.ReferencedSOPInstanceUID = sop_instance_uid
        if purpose is not None:
            item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(purpose)]
        items.append(item)
    return items


def _raw_data_series(context: StudyContext) -> Dataset:
    """Of the Common Instance Reference module (PS3.3 C.12.2), which names whatever is referred to."""
    item = Dataset()
    item.SeriesInstanceUID = context.source_series_uid
    item.ReferencedInstanceSequence = _raw_data(context)
    return item
