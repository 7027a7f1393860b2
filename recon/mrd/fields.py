"""What becomes of every field of the ISMRMRD header, of the acquisition heads, and of every flag.

One table for `deploy/docs/ismrmrd.md`, which a test compares with it, and against the schema of the public
``ismrmrd`` package, which a test walks: a field that the schema adds fails that test until it stands here.
``a/{b,c}`` stands for ``a/b`` and ``a/c``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Use(StrEnum):
    """What the node does with a field."""

    USED = "used"
    COPIED = "copied into DICOM"
    REFUSED = "refused"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field, or several that share their fate.

    Parameters
    ----------
    code
        Of the refusal, where the field can say something that changes what the samples mean.
    note
        How it is used, where it is copied to, what is refused, or why it is ignored.
    """

    use: Use
    note: str
    code: str = ""


def _used(note: str) -> Field:
    return Field(use=Use.USED, note=note)


def _copied(note: str) -> Field:
    return Field(use=Use.COPIED, note=note)


def _refused(code: str, note: str) -> Field:
    return Field(use=Use.REFUSED, code=code, note=note)


def _ignored(note: str) -> Field:
    return Field(use=Use.IGNORED, note=note)


_LEFT_OUT = _used("the line is left out: it is no image")
_ORDER = _ignored("the counters say where a line belongs")
_OWN_WORDS = _ignored("words of the sequence's own, which nothing defines")
_NEEDS_A_B_VALUE = _ignored("has a meaning only with a b-value, which is refused")
_SPACE = "{matrixSize,fieldOfView_mm}/{x,y,z}"
_LIMITS = "{minimum,maximum,center}"
_USER = "{userParameterLong,userParameterDouble,userParameterString}/{name,value}"
_BASE64 = "userParameterBase64/{name,value}"

HEADER: Mapping[str, Field] = {
    "version": _ignored("the fields that are there are read, whatever the version"),
    "subjectInformation/patientName": _copied("PatientName; compared with the Raw Data object's"),
    "subjectInformation/patientID": _copied("PatientID; compared with the Raw Data object's"),
    "subjectInformation/patientWeight_kg": _copied("PatientWeight"),
    "subjectInformation/patientHeight_m": _copied("PatientSize"),
    "subjectInformation/patientBirthdate": _copied("PatientBirthDate"),
    "subjectInformation/patientGender": _copied("PatientSex"),
    "studyInformation/studyDate": _copied("StudyDate"),
    "studyInformation/studyTime": _copied("StudyTime"),
    "studyInformation/studyID": _copied("StudyID"),
    "studyInformation/accessionNumber": _copied("AccessionNumber; compared with the Raw Data object's"),
    "studyInformation/referringPhysicianName": _copied("ReferringPhysicianName"),
    "studyInformation/studyDescription": _copied("StudyDescription"),
    "studyInformation/studyInstanceUID": _copied("StudyInstanceUID; compared with the Raw Data object's"),
    "studyInformation/bodyPartExamined": _copied("BodyPartExamined"),
    "measurementInformation/measurementID": _ignored("the SHA-256 of the file names the measurement"),
    "measurementInformation/seriesDate": _copied("SeriesDate of the Raw Data object; StudyDate if none is"),
    "measurementInformation/seriesTime": _copied("SeriesTime of the Raw Data object; StudyTime if none is"),
    "measurementInformation/patientPosition": _copied("PatientPosition"),
    "measurementInformation/relativeTablePosition/{x,y,z}": _ignored(
        "positions are those of the heads; DICOM's frame of reference asks for no table"
    ),
    "measurementInformation/initialSeriesNumber": _copied("SeriesNumber, from which derived series count"),
    "measurementInformation/protocolName": _copied("ProtocolName"),
    "measurementInformation/sequenceName": _copied("SequenceName"),
    "measurementInformation/seriesDescription": _copied("SeriesDescription of the Raw Data object"),
    "measurementInformation/measurementDependency/{dependencyType,measurementID}": _ignored(
        "a noise or calibration measurement in another file is not looked for"
    ),
    "measurementInformation/seriesInstanceUIDRoot": _ignored("derived series get UIDs of their own"),
    "measurementInformation/frameOfReferenceUID": _copied(
        "FrameOfReferenceUID; one of the node's own where it is no legal UID"
    ),
    "measurementInformation/referencedImageSequence/referencedSOPInstanceUID": _ignored(
        "planning images are not needed for the reconstruction"
    ),
    "acquisitionSystemInformation/systemVendor": _copied(
        "Manufacturer of the contributing equipment; never changes how k-space is read, but what is known"
        " against that is told ([vendors.md](vendors.md))"
    ),
    "acquisitionSystemInformation/systemModel": _copied("its ManufacturerModelName"),
    "acquisitionSystemInformation/systemFieldStrength_T": _copied("MagneticFieldStrength"),
    "acquisitionSystemInformation/relativeReceiverNoiseBandwidth": _used("scales the noise covariance"),
    "acquisitionSystemInformation/receiverChannels": _ignored("the heads count the active channels"),
    "acquisitionSystemInformation/coilLabel/{coilNumber,coilName}": _ignored("coil maps are measured"),
    "acquisitionSystemInformation/institutionName": _copied("InstitutionName"),
    "acquisitionSystemInformation/stationName": _copied("StationName of the Raw Data object"),
    "acquisitionSystemInformation/deviceID": _ignored("deviceSerialNumber names the device"),
    "acquisitionSystemInformation/deviceSerialNumber": _copied(
        "DeviceSerialNumber of the contributing equipment"
    ),
    "experimentalConditions/H1resonanceFrequency_Hz": _copied("ImagingFrequency"),
    f"encoding/encodedSpace/{_SPACE}": _used("grid of k-space; lengths must be plausible (LF-RAW-036)"),
    f"encoding/reconSpace/{_SPACE}": _used(
        "matrix and field of view of the images; encodedSpace where it is absent (LF-RAW-036)"
    ),
    f"encoding/encodingLimits/kspace_encoding_step_0/{_LIMITS}": _ignored(
        "center_sample of each head says where the echo lies"
    ),
    f"encoding/encodingLimits/kspace_encoding_step_1/{_LIMITS}": _used(
        "places the lines; counters outside are refused (LF-RAW-012, LF-RAW-013)"
    ),
    f"encoding/encodingLimits/kspace_encoding_step_2/{_LIMITS}": _used(
        "places the partitions; a maximum above 0 makes the scan 3-D"
    ),
    f"encoding/encodingLimits/slice/{_LIMITS}": _used("fewer slices than promised are refused (LF-RAW-011)"),
    f"encoding/encodingLimits/{{average,contrast,phase,repetition,set,segment}}/{_LIMITS}": _ignored(
        "the counters of the heads say what was acquired"
    ),
    f"encoding/encodingLimits/user_{{0,1,2,3,4,5,6,7}}/{_LIMITS}": _OWN_WORDS,
    "encoding/trajectory": _refused("LF-RAW-021", "anything but cartesian"),
    f"encoding/trajectoryDescription/{{identifier,comment,{_USER}}}": _refused(
        "LF-RAW-028", "any description: the samples do not lie on the grid as they are"
    ),
    "encoding/parallelImaging/accelerationFactor/{kspace_encoding_step_1,kspace_encoding_step_2}": _ignored(
        "the acceleration is counted from the lines that are there, slice by slice"
    ),
    "encoding/parallelImaging/calibrationMode": _used(
        "embedded: calibration lines belong to the image too; with any other mode the lines of the file serve"
    ),
    "encoding/parallelImaging/interleavingDimension": _ignored(
        "every repetition is calibrated and reconstructed from its own lines"
    ),
    "encoding/parallelImaging/multiband/multiband_factor": _refused(
        "LF-RAW-027", "more than 1: every sample is the sum of several slices"
    ),
    "encoding/parallelImaging/multiband/{spacing/dZ,deltaKz,calibration,calibration_encoding}": _ignored(
        "has a meaning only with a multiband factor, which is refused"
    ),
    "encoding/echoTrainLength": _copied("EchoTrainLength"),
    "sequenceParameters/TR": _copied("RepetitionTime, by contrast"),
    "sequenceParameters/TE": _copied("EchoTime, by contrast"),
    "sequenceParameters/TI": _copied("InversionTime, by contrast"),
    "sequenceParameters/flipAngle_deg": _copied("FlipAngle, by contrast"),
    "sequenceParameters/{sequence_type,echo_spacing}": _ignored(
        "ScanningSequence is RM (research mode): the words are the vendor's"
    ),
    "sequenceParameters/diffusion/bvalue": _refused(
        "LF-RAW-029", "above 0: shots differ in phase, and the objects could not name b-values and directions"
    ),
    "sequenceParameters/diffusion/gradientDirection/{rl,ap,fh}": _NEEDS_A_B_VALUE,
    "sequenceParameters/{diffusionDimension,diffusionScheme}": _NEEDS_A_B_VALUE,
    f"userParameters/{{{_USER},{_BASE64}}}": _OWN_WORDS,
    f"waveformInformation/{{waveformName,waveformType,userParameters/{{{_USER},{_BASE64}}}}}": _ignored(
        "waveforms are not read"
    ),
}
"""Path in the XML header -> what becomes of it."""

HEAD: Mapping[str, Field] = {
    "version": _ignored("the layout of the table says what is there"),
    "flags": _used("see the flags"),
    "measurement_uid": _ignored("the SHA-256 of the file names the measurement"),
    "{scan_counter,acquisition_time_stamp,physiology_time_stamp}": _ignored("when a line was acquired"),
    "number_of_samples": _used("length of the readout; must agree with encodedSpace (LF-RAW-010)"),
    "available_channels": _ignored("active_channels counts what was recorded"),
    "active_channels": _refused("LF-RAW-007", "another number midway"),
    "channel_mask": _refused("LF-RAW-007", "other channels midway: the maps would be those of other coils"),
    "{discard_pre,discard_post}": _used("samples at the ends that are left out"),
    "center_sample": _used("places the readout; 0 counts as the middle (LF-RAW-014)"),
    "encoding_space_ref": _refused("LF-RAW-020", "images in several encodings"),
    "trajectory_dimensions": _refused(
        "LF-RAW-021", "coordinates where the header does not say that the trajectory is Cartesian"
    ),
    "sample_time_us": _used("scales the noise covariance to the bandwidth of the image"),
    "position": _used("centre of the slice or slab (LF-RAW-018, LF-RAW-031 to LF-RAW-034)"),
    "{read_dir,phase_dir,slice_dir}": _used("orientation; GEOMETRY UNKNOWN where they are no unit vectors"),
    "patient_table_position": _refused("LF-RAW-035", "a table that moves: positions would not be comparable"),
    "idx/{kspace_encode_step_1,kspace_encode_step_2}": _used("places the line"),
    "idx/average": _used("averages of a line are combined as their mean"),
    "idx/slice": _used("makes the slices of a volume"),
    "idx/contrast": _used("makes a scan of its own"),
    "idx/phase": _refused("LF-RAW-024", "more than one value"),
    "idx/repetition": _used("makes a scan of its own"),
    "idx/set": _refused("LF-RAW-023", "more than one value"),
    "idx/segment": _ignored("orders the lines in time; lines recorded twice are refused (LF-RAW-026)"),
    "idx/user": _OWN_WORDS,
    "{user_int,user_float}": _OWN_WORDS,
}
"""Field of an acquisition's head -> what becomes of it."""

FLAGS: Mapping[str, Field] = {
    "ACQ_{FIRST,LAST}_IN_{ENCODE_STEP1,ENCODE_STEP2,AVERAGE,SLICE,CONTRAST}": _ORDER,
    "ACQ_{FIRST,LAST}_IN_{PHASE,REPETITION,SET,SEGMENT}": _ORDER,
    "ACQ_LAST_IN_MEASUREMENT": _ORDER,
    "ACQ_IS_NOISE_MEASUREMENT": _used("measures the noise covariance, whatever other flags the line has"),
    "ACQ_IS_PARALLEL_CALIBRATION": _used("the line calibrates and is no part of the image, unless embedded"),
    "ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING": _used("the line calibrates and belongs to the image"),
    "ACQ_IS_REVERSE": _used("the readout is turned"),
    "ACQ_IS_NAVIGATION_DATA": _LEFT_OUT,
    "ACQ_IS_PHASECORR_DATA": _LEFT_OUT,
    "ACQ_IS_HPFEEDBACK_DATA": _LEFT_OUT,
    "ACQ_IS_DUMMYSCAN_DATA": _LEFT_OUT,
    "ACQ_IS_RTFEEDBACK_DATA": _LEFT_OUT,
    "ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA": _used(
        "the line is left out, unless it is a line of the image of its size that is nowhere else"
    ),
    "ACQ_IS_{PHASE_STABILIZATION,PHASE_STABILIZATION_REFERENCE}": _LEFT_OUT,
    "ACQ_COMPRESSION{1,2,3,4}": _refused("LF-RAW-022", "the samples are compressed"),
    "ACQ_USER{1,2,3,4,5,6,7,8}": _OWN_WORDS,
}
"""Flag of an acquisition -> what becomes of it."""


def expanded(pattern: str) -> Iterator[str]:
    """The names that ``a/{b,c}`` stands for; braces may be nested."""
    start, depth, choices = pattern.find("{"), 0, [""]
    if start < 0:
        yield pattern
        return
    for end in range(start, len(pattern)):
        letter = pattern[end]
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            break
        if letter == "," and depth == 1:
            choices.append("")
        elif end > start:
            choices[-1] += letter
    for choice in choices:
        yield from expanded(pattern[:start] + choice + pattern[end + 1 :])


COPIED = tuple(name for pattern, f in HEADER.items() if f.use is Use.COPIED for name in expanded(pattern))
"""Paths in the XML header whose text goes into DICOM."""
