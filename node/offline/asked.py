"""What the offline commands are asked for, checked before torch is loaded: wrong words cost no seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydicom.misc import is_dicom

from lfmri_node.dicom_io.raw_data.received import parse_measurement
from lfmri_node.node.config import Config
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.recon.mrd.file import open_mrd
from lfmri_node.recon.mrd.header import parse_header
from lfmri_node.recon.settings import Method


def recipe_for(config: Config, *, method: str | None, weights: Path | None, calling_ae: str) -> Recipe:
    """As the configuration says; options win over it. The fallback is always computed: the pictures show it.

    Raises
    ------
    lfmri_node.recon.errors.InvalidModel
        The weights are missing, altered or without model card.
    """
    changes: dict[str, object] = {"always_fallback": True}
    if method is not None:
        changes["method"] = Method(method)
    if weights is not None:
        changes |= {"weights": weights.absolute(), "weights_sha256": None}
    recon = config.recon.model_copy(update=changes)
    return Recipe.of(config.model_copy(update={"recon": recon}), calling_ae)


def is_raw_data(source: Path, given: Mapping[str, str], group: str | None) -> bool:
    """Whether ``source`` is a DICOM object, not an ISMRMRD file.

    Raises
    ------
    NodeError
        LF-CFG-008 where it is, and something is given that it says itself.
    """
    if not is_dicom(source):
        return False
    if given or group:
        raise NodeError(
            "LF-CFG-008", "a Raw Data object names its own patient, study and group", "leave the options out"
        )
    return True


def require_measurement(source: Path, given: Mapping[str, str], group: str | None) -> None:
    """Open a measurement and read its header, nothing more.

    Raises
    ------
    ReconError, DicomIoError
        It is none, or its header is damaged.
    NodeError
        LF-CFG-008 as `is_raw_data`.
    """
    if is_raw_data(source, given, group):
        parse_measurement([source])
    else:
        require_ismrmrd(source, group)


def require_ismrmrd(source: Path, group: str | None) -> None:
    """The same where only an ISMRMRD file will do."""
    with open_mrd(source, group) as measurement:
        parse_header(measurement.xml)
