"""Names that follow from content: the job key, and every UID that a job or a wrapped object carries.

The same input gives the same UIDs in every process and on every machine, so that a re-run re-sends
the same objects, and any change of the input gives others. UIDs are ``2.25.`` and the decimal value
of a name-based UUID (PS3.5 B.2; ITU-T X.667 clause 14, version 5).
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import astuple, dataclass, field

# Drawn once at random; changing it changes every UID that this node has ever made.
_NAMESPACE = uuid.UUID("b9d37f76-c817-43d6-a956-c70a5c9c0769")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_KEY_FORMAT = "lfmri-node job key 2"


def name_uid(*parts: str | int) -> str:
    """The UID of a name: equal for equal parts, different for any difference in or between them.

    Parameters
    ----------
    parts
        Encoded as a JSON array, so that ("a", "bc") and ("ab", "c"), or 1 and "1", stay apart.

    Returns
    -------
    str
        ``2.25.<decimal>``, at most 44 characters.
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps(parts)).int}"


def fresh_uid() -> str:
    """A UID that nobody has had before, for what follows from nothing: a transaction."""
    return f"2.25.{uuid.uuid4().int}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKey:
    """What the pixels of a job are made from; two jobs are the same exactly when all of this is the same.

    Parameters
    ----------
    payload_sha256
        Of the whole ISMRMRD file, lower-case hex.
    patient_id, issuer_of_patient_id
        (0010,0020) and (0010,0021) as the Raw Data object gives them; "" when the issuer is absent.
    study_instance_uid
        (0020,000D).
    contrast, repetition
        Indices of the scan within the measurement, from 0.
    settings
        Method and every setting that changes the pixels, as one line (`ReconSettings.describe`).
    weights_sha256
        Of the weights in use, lower-case hex; "" when the method has none.

    Raises
    ------
    ValueError
        A hash is not 64 lower-case hex digits, or an index is negative.
    """

    payload_sha256: str
    patient_id: str = field(repr=False)
    issuer_of_patient_id: str = field(repr=False)
    study_instance_uid: str = field(repr=False)
    contrast: int
    repetition: int
    settings: str
    weights_sha256: str

    def __post_init__(self) -> None:
        if not _SHA256.match(self.payload_sha256):
            raise ValueError("payload_sha256 must be 64 lower-case hex digits")
        if self.weights_sha256 and not _SHA256.match(self.weights_sha256):
            raise ValueError("weights_sha256 must be 64 lower-case hex digits or empty")
        if self.contrast < 0 or self.repetition < 0:
            raise ValueError("contrast and repetition must not be negative")

    @property
    def hex(self) -> str:
        """The job's identifier: SHA-256 of the fields as a JSON array, 64 lower-case hex digits."""
        return hashlib.sha256(json.dumps([_KEY_FORMAT, *astuple(self)]).encode("ascii")).hexdigest()

    @property
    def frame_of_reference_uid(self) -> str:
        """Of a measurement that names none: the same for all runs of it, whatever their weights."""
        named = (self.payload_sha256, self.patient_id, self.issuer_of_patient_id, self.study_instance_uid)
        return name_uid(*named, "frame-of-reference")

    def uid(self, role: str, index: int = 0) -> str:
        """SOP Instance UID (or another UID of one object) of the ``index``-th object of a role."""
        return name_uid(self.hex, "instance", role, index)

    def series_uid(self, role: str) -> str:
        """Series Instance UID of all objects of a role."""
        return name_uid(self.hex, "series", role)
