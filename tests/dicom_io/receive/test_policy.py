"""The allow-list: AE title and address together, nobody by default."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfmri_node.dicom_io.ae_title import require_ae_title
from lfmri_node.dicom_io.receive.policy import AccessPolicy, AllowedCaller, Rejection

POLICY = AccessPolicy(
    callers=(
        AllowedCaller.of("GATEWAY", ["192.0.2.7", "10.1.0.0/16"]),
        AllowedCaller.of("OTHER", ["2001:db8::/32"]),
    )
)


@pytest.mark.parametrize(
    ("calling", "called", "address", "expected"),
    [
        ("GATEWAY", "LFNODE", "192.0.2.7", None),
        ("GATEWAY ", " LFNODE ", "10.1.255.1", None),
        ("GATEWAY", "LFNODE", "::ffff:192.0.2.7", None),
        ("OTHER", "LFNODE", "2001:db8::5", None),
        ("GATEWAY", "LFNODE", "192.0.2.8", Rejection.UNKNOWN_ADDRESS),
        ("GATEWAY", "LFNODE", "2001:db8::5", Rejection.UNKNOWN_ADDRESS),
        ("OTHER", "LFNODE", "192.0.2.7", Rejection.UNKNOWN_ADDRESS),
        ("gateway", "LFNODE", "192.0.2.7", Rejection.UNKNOWN_CALLER),
        ("", "LFNODE", "192.0.2.7", Rejection.UNKNOWN_CALLER),
        ("GATEWAY", "OTHERNODE", "192.0.2.7", Rejection.WRONG_CALLED),
        ("STRANGER", "OTHERNODE", "192.0.2.9", Rejection.WRONG_CALLED),
    ],
)
def test_who_is_let_in(calling: str, called: str, address: str, expected: Rejection | None) -> None:
    assert POLICY.check(calling=calling, called=called, ours="LFNODE", address=address) is expected


@given(calling=st.text(max_size=16), address=st.ip_addresses().map(str))
def test_nobody_is_let_in_by_default(calling: str, address: str) -> None:
    found = AccessPolicy().check(calling=calling, called="LFNODE", ours="LFNODE", address=address)
    assert found is Rejection.UNKNOWN_CALLER


def test_the_list_can_be_switched_off_but_not_the_called_title() -> None:
    policy = AccessPolicy(any_caller=True)
    assert policy.check(calling="X", called="LFNODE", ours="LFNODE", address="203.0.113.1") is None
    found = policy.check(calling="X", called="Y", ours="LFNODE", address="203.0.113.1")
    assert found is Rejection.WRONG_CALLED


def test_rejections_are_those_of_the_standard() -> None:
    """PS3.8 table 9-21: permanent, by the service-user, 3 calling and 7 called AE title not recognized."""
    for rejection, reason in (
        (Rejection.UNKNOWN_CALLER, 3),
        (Rejection.UNKNOWN_ADDRESS, 3),
        (Rejection.WRONG_CALLED, 7),
    ):
        assert (rejection.result, rejection.source, rejection.reason) == (1, 1, reason)
    assert len({rejection.code for rejection in Rejection}) == len(Rejection)


@pytest.mark.parametrize("title", ["", "A" * 17, "A\\B", " A", "A ", "Ä", "A\nB", "A\x00"])
def test_ae_titles_outside_ps3_5(title: str) -> None:
    with pytest.raises(ValueError, match="AE title"):
        require_ae_title(title)
    with pytest.raises(ValueError, match="AE title"):
        AllowedCaller(ae_title=title, networks=(ip_network("127.0.0.1"),))


def test_a_caller_without_address_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="network"):
        AllowedCaller.of("GATEWAY", [])


@pytest.mark.parametrize("network", ["gateway.example", "10.0.0.1/8", "300.1.1.1"])
def test_networks_are_numbers(network: str) -> None:
    with pytest.raises(ValueError, match=r"network|address|host bits"):
        AllowedCaller.of("GATEWAY", [network])
