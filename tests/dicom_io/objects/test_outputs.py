"""A site names the series that it wants: no other is made, and what is made does not change by it."""

from itertools import combinations
from typing import get_args

import pytest

from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.node.config.rules import Output

ALL = ("lf-mri", "reference", "difference", "map", "segmentation", "fused", "report")
_OF_THE_MAP = [("segmentation",), ("segmentation", "report"), ("difference",), ("map", "fused"), ("summary",)]


def test_what_can_be_configured_are_the_roles() -> None:
    assert get_args(Output) == tuple(role.value for role in Role)


@pytest.mark.parametrize("named", _OF_THE_MAP)
def test_a_trusted_job_has_what_is_named_and_it_is_as_it_would_be(make, delivered, named) -> None:
    few = make.deliver(make.trusted(), folder="few", options=SiteOptions(outputs=("lf-mri", *named)))
    assert set(few.roles) == {"lf-mri", *named}
    whole = {entry.path.name: entry.sha256 for entry in delivered.objects}
    same = {entry.path.name: entry.sha256 for entry in few.objects if entry.role in whole_roles(named)}
    assert same.items() <= whole.items()


def whole_roles(named: tuple[str, ...]) -> set[str]:
    """Those that hold nothing of the others: a page tells which series there are."""
    return {"lf-mri", *named} - {"summary"}


def test_an_untrusted_job_is_a_fallback_whatever_is_named(make) -> None:
    for named in [("lf-mri",), ("lf-mri", "segmentation", "report")]:
        options = SiteOptions(outputs=named)
        delivery = make.deliver(make.untrusted(), folder="-".join(named), options=options)
        assert delivery.roles == ["fallback"]


def test_without_names_the_switches_say_it() -> None:
    for n in range(4):
        for on in combinations(("fused", "receive_field_correction", "summary"), n):
            options = SiteOptions(**{"fused": False, **dict.fromkeys(on, True)})
            made = {role.value for role in Role if options.makes(role)}
            extra = {"receive_field_correction": "corrected"}
            assert made == {*ALL, "fallback"} - {"fused"} | {extra.get(name, name) for name in on}
