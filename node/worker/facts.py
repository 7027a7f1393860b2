"""What the rules of the configuration ask about, of one scan: from its header and its Raw Data object."""

from __future__ import annotations

from collections.abc import Mapping

from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.node.rules import Facts
from lfmri_node.recon.types import SequenceInfo

_STATION = "acquisitionSystemInformation/stationName"


def facts_of(received: ReceivedMeasurement, sequence: SequenceInfo, stated: Mapping[str, str]) -> Facts:
    """The facts of a scan that a gateway sent; see `header_facts`."""
    return header_facts(received.context, sequence, stated, calling_ae=received.calling_ae)


def header_facts(
    context: StudyContext, sequence: SequenceInfo, stated: Mapping[str, str], *, calling_ae: str
) -> Facts:
    """The facts of a scan.

    Parameters
    ----------
    sequence
        Of its contrast.
    stated
        `Measurement.stated`.
    """

    def attribute(keyword: str) -> str:
        return str(context.attributes.get(keyword) or "")

    equipment = context.equipment
    return Facts(
        calling_ae=calling_ae,
        protocol=sequence.protocol or attribute("ProtocolName"),
        series_description=attribute("SeriesDescription"),
        sequence=sequence.sequence_name or "",
        body_part=attribute("BodyPartExamined"),
        manufacturer=equipment.manufacturer or sequence.system_vendor or "",
        model=equipment.model_name or sequence.system_model or "",
        serial_number=equipment.serial_number,
        station=stated.get(_STATION, ""),
        institution=equipment.institution_name,
        field_strength_t=sequence.field_strength_t,
        repetition_time_ms=sequence.repetition_time_ms,
        echo_time_ms=sequence.echo_time_ms,
        inversion_time_ms=sequence.inversion_time_ms,
        flip_angle_deg=sequence.flip_angle_deg,
        three_dimensional=sequence.three_dimensional,
    )
