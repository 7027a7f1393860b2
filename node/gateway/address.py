"""Where a gateway sends to, and whether it can: answered before the measurement is read."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from lfmri_node.dicom_io.ae_title import require_ae_title
from lfmri_node.dicom_io.tls import ClientTls
from lfmri_node.node.errors import NodeError

_ADDRESS = re.compile(r"(?P<ae>[^@]+)@(?P<host>[^@:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A node to send to, and how the connection to it is secured; None for in the clear."""

    ae_title: str
    host: str
    port: int
    tls: ClientTls | None = None


def parse_address(text: str, tls: ClientTls | None = None) -> Address:
    """Read ``AET@host:port``.

    Raises
    ------
    NodeError
        LF-CFG-006 where it is not of that form.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise NodeError("LF-CFG-006", f"'{text}' is no address", "write it as AET@host:port")
    try:
        require_ae_title(match["ae"])
    except ValueError as error:
        raise NodeError("LF-CFG-006", str(error), "write the address as AET@host:port") from None
    return Address(ae_title=match["ae"], host=match["host"].strip("[]"), port=int(match["port"]), tls=tls)


def require_known_host(address: Address) -> None:
    """Ask the resolver for the host.

    Raises
    ------
    NodeError
        LF-CFG-014 where it knows no address of it.
    """
    try:
        socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NodeError(
            "LF-CFG-014",
            f"the host '{address.host}' has no address here",
            "correct its name, or give its IP address",
        ) from None
