"""Identity of a job: what changes the pixels changes it, and nothing else does."""

from dataclasses import replace
from pathlib import Path

import pytest

from lfmri_node.dicom_io.types import Equipment, StudyContext
from lfmri_node.node.config import from_document
from lfmri_node.node.jobs.recipe import Recipe, job_key, measurement_key

CONTEXT = StudyContext(
    study_instance_uid="1.2.3",
    frame_of_reference_uid=None,
    attributes={"PatientID": "P"},
    source_sop_class_uid="1.2.840.10008.5.1.4.1.1.66",
    source_instances=("1.2.3.4",),
    equipment=Equipment(),
)


def recipe_of(**sections: dict[str, object]) -> Recipe:
    sections = {"recon": {"method": "wavelet"}} | sections
    return Recipe.of(from_document(dict(sections), base=Path.cwd(), name="test"), "GATEWAY")


def keys(recipe: Recipe) -> tuple[str, str]:
    return measurement_key(CONTEXT, "a" * 64, recipe), job_key(CONTEXT, "a" * 64, recipe, 0, 0).hex


@pytest.mark.parametrize(
    "sections",
    [
        {"objects": {"first_series_number": 4001}},
        {"objects": {"device_serial_number": "42"}},
        {"objects": {"fused": False}},
        {"recon": {"method": "wavelet", "always_fallback": True}},
        {"recon": {"method": "wavelet", "threads": 2, "stage_limit_s": 60.0}},
        {"gateways": {"GATEWAY": {"fft_sign": -1, "flip_phase": False}}},
        {"gateways": {"OTHER": {"fft_sign": 1}}},
    ],
)
def test_what_touches_no_pixel_makes_no_other_job(sections: dict[str, dict[str, object]]) -> None:
    assert keys(recipe_of(**sections)) == keys(recipe_of())


def test_another_version_of_the_software_makes_no_other_job() -> None:
    assert keys(replace(recipe_of(), software_version="9.9.9")) == keys(recipe_of())


@pytest.mark.parametrize(
    "sections",
    [
        {"recon": {"method": "cg-sense"}},
        {"recon": {"method": "wavelet", "lesion": "off"}},
        {"recon": {"method": "wavelet", "fallback": "zero-filled"}},
        {"recon": {"method": "wavelet", "n_virtual_coils": 4}},
        {"gateways": {"GATEWAY": {"fft_sign": 1}}},
        {"gateways": {"GATEWAY": {"flip_readout": True}}},
        {"gateways": {"GATEWAY": {"flip_phase": True}}},
        {"gateways": {"GATEWAY": {"prewhiten": False}}},
    ],
)
def test_what_changes_the_pixels_makes_another_job(sections: dict[str, dict[str, object]]) -> None:
    ours, theirs = keys(recipe_of(**sections)), keys(recipe_of())
    assert ours[0] != theirs[0]
    assert ours[1] != theirs[1]


def test_other_weights_make_another_job() -> None:
    assert keys(replace(recipe_of(), weights_sha256="b" * 64)) != keys(recipe_of())


def test_a_recipe_survives_its_row() -> None:
    assert Recipe.from_json(recipe_of().to_json()) == recipe_of()
