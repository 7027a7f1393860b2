"""Errors of the DICOM layer: a stable code, what was wrong, what to do; the status a sender is answered."""

from __future__ import annotations


class DicomIoError(Exception):
    """Base of every error that `dicom_io` raises on purpose.

    Parameters
    ----------
    code
        Stable identifier ``LF-<STAGE>-<NNN>``; one code has one cause.
    message
        What was wrong. Never patient data: no names, identifiers or UIDs of a patient or study.
    hint
        What the reader can do about it.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{code}: {message} ({hint})")
        self.code = code
        self.message = message
        self.hint = hint


class PayloadError(DicomIoError):
    """A file is not a Raw Data object that carries an ISMRMRD file of ours, or it is damaged.

    Parameters
    ----------
    status
        The C-STORE status with which a listener refuses such an object (`dicom_io.status`).
    """

    def __init__(self, code: str, message: str, hint: str, *, status: int) -> None:
        super().__init__(code, message, hint)
        self.status = status


class ListenerRefusal(DicomIoError):
    """An object that was received whole is not accepted; raised by whoever decides so.

    Parameters
    ----------
    status
        The C-STORE status that the sender is answered; never 0x0000.
    """

    def __init__(self, code: str, message: str, hint: str, *, status: int) -> None:
        super().__init__(code, message, hint)
        self.status = status


class DeliveryError(DicomIoError):
    """A delivery cannot be attempted at all: the objects or the destination are described wrongly."""


class TlsError(DicomIoError):
    """A certificate, key or revocation list cannot be used."""


class ObjectError(DicomIoError):
    """An object cannot be made, or what was made is not legal DICOM; nothing of the job leaves."""


class ScannerImagesError(DicomIoError):
    """The scanner's images that ours were to be compared with cannot be used."""
