"""Who may open an association: AE title and network address together; nobody unless listed.

An AE title is a name, not a proof. It is therefore bound to the networks that it may come from, and
under TLS (PS3.15 B.12) to the certificate that a site names for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lfmri_node.dicom_io.ae_title import require_ae_title


class Rejection(Enum):
    """Why an association is rejected: (result, source, reason) of PS3.8 table 9-21, code, words.

    All are "rejected-permanent" by the UL service-user. An address or a certificate that does not belong to
    the AE title is answered like an unknown title: the caller does not learn which titles are listed.
    """

    UNKNOWN_CALLER = (1, 1, 3, "LF-NET-001", "calling AE title is not on the allow-list")
    UNKNOWN_ADDRESS = (1, 1, 3, "LF-NET-002", "calling AE title is not allowed from this address")
    WRONG_CERTIFICATE = (1, 1, 3, "LF-NET-042", "the caller's certificate is not that of its AE title")
    WRONG_CALLED = (1, 1, 7, "LF-NET-003", "called AE title is not ours")

    def __init__(self, result: int, source: int, reason: int, code: str, message: str) -> None:
        self.result = result
        self.source = source
        self.reason = reason
        self.code = code
        self.message = message


NODE_NOT_AUTHENTIC = frozenset({*(rejection.code for rejection in Rejection), "LF-NET-006", "LF-NET-041"})
"""Codes of callers who are not who they have to be: rejections, and what the door ends for that reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedCaller:
    """A gateway or an archive: its AE title, where it may come from, and what it has to prove.

    Parameters
    ----------
    reports
        It may report what became of storage that was asked of it (PS3.4 Annex J), and not send Raw Data.
    certificate
        A name in the subject or among the alternative names of its certificate; None asks for none.

    Raises
    ------
    ValueError
        The title is empty, too long or holds characters that PS3.5 6.2 forbids, or no network is given.
    """

    ae_title: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    certificate: str | None = None
    reports: bool = False

    def __post_init__(self) -> None:
        require_ae_title(self.ae_title)
        if not self.networks:
            raise ValueError("an allowed caller needs at least one address or network")

    @classmethod
    def of(
        cls,
        ae_title: str,
        networks: Iterable[str],
        certificate: str | None = None,
        *,
        reports: bool = False,
    ) -> AllowedCaller:
        """From text: ``192.0.2.7``, ``10.1.0.0/16``, ``2001:db8::/32``."""
        found = tuple(ip_network(network) for network in networks)
        return cls(ae_title=ae_title, networks=found, certificate=certificate, reports=reports)

    def proves(self, names: Collection[str]) -> bool:
        """Whether the names of a checked certificate (`tls.names_in`) are enough."""
        return self.certificate is None or self.certificate.casefold() in names


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """The allow-list. Without callers nobody is let in.

    Parameters
    ----------
    any_caller
        Switches the list off; for a closed test network. Called AE titles are checked all the same.
    """

    callers: tuple[AllowedCaller, ...] = ()
    any_caller: bool = False

    def check(
        self, *, calling: str, called: str, ours: str, address: str, names: Collection[str] = ()
    ) -> Rejection | None:
        """Whether to reject; None lets the caller in. Spaces around AE titles do not count (PS3.5 6.2).

        Parameters
        ----------
        names
            What the caller's certificate proves, in lower case; nothing without one.
        """
        if called.strip() != ours:
            return Rejection.WRONG_CALLED
        if self.any_caller:
            return None
        named = [caller for caller in self.callers if caller.ae_title == calling.strip()]
        if not named:
            return Rejection.UNKNOWN_CALLER
        near = [caller for caller in named if lies_in(address, caller.networks)]
        if not near:
            return Rejection.UNKNOWN_ADDRESS
        return None if any(caller.proves(names) for caller in near) else Rejection.WRONG_CERTIFICATE

    def may(self, *, calling: str, address: str, names: Collection[str] = ()) -> tuple[bool, bool]:
        """Whether a caller that was let in may send Raw Data, and whether it may report (`AllowedCaller`)."""
        known = [
            caller
            for caller in self.callers
            if caller.ae_title == calling.strip()
            and lies_in(address, caller.networks)
            and caller.proves(names)
        ]
        sends = self.any_caller or any(not caller.reports for caller in known)
        return sends, any(caller.reports for caller in known)

    def lets_in(self, address: str) -> bool:
        """Whether any caller may come from an address, whatever its AE title."""
        return self.any_caller or lies_in(address, [net for c in self.callers for net in c.networks])


def lies_in(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an address is in one of the networks; an IPv4 address may be written as IPv6."""
    peer = ip_address(address)
    if isinstance(peer, IPv6Address) and peer.ipv4_mapped:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks)
