"""Errors of the numerics: each carries a stable code, what was wrong, and what to do about it."""

from __future__ import annotations


class ReconError(Exception):
    """Base of every error that `recon` raises on purpose.

    Parameters
    ----------
    code
        Stable identifier ``LF-<STAGE>-<NNN>``; documented in ``deploy/docs/errors.md``.
    message
        What was wrong. Holds counts, sizes and header field names, never patient data.
    hint
        What the reader can do about it.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{code}: {message} ({hint})")
        self.code = code
        self.message = message
        self.hint = hint


class InvalidRawData(ReconError):
    """The ISMRMRD data is damaged, incomplete or contradicts its own header."""


class UnsupportedAcquisition(ReconError):
    """The measurement is well formed and of a kind that this node refuses (verdict REFUSED)."""


class InvalidModel(ReconError):
    """Weights or their model card are missing, altered or do not fit the network."""


class DeviceMissing(ReconError):
    """The accelerator that the configuration insists on is not there."""


class LabError(ReconError):
    """A training, an evaluation or a data set of the laboratory cannot be used as asked."""


class InvalidDataset(LabError):
    """A folder, file or table of a published data set is not what its format says."""
