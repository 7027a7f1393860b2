"""Whom the node talks to: callers, its own port, destinations."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

from lfmri_node.node.config import Config, DestinationSection
from lfmri_node.node.delivery.destinations import probe
from lfmri_node.node.doctor.findings import Finding, State, guarded, ok
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder


def callers(config: Config, _layout: Layout) -> Iterator[Finding]:
    if not config.listener.allow:
        yield Finding(
            check="callers",
            state=State.WARNING,
            message="listener.allow is empty: everybody is rejected",
            code="LF-DOC-004",
            hint="add the AE title and address of the gateway",
        )
    else:
        yield ok("callers", ", ".join(f"{c.ae_title} from {c.address}" for c in config.listener.allow))


def doors(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Ways in beside C-STORE: who may stream, and whether files can be moved in the watched folders."""
    if config.mrd.allow:
        callers = ", ".join(f"{caller.ae_title} from {caller.address}" for caller in config.mrd.allow)
        yield ok("streams from", f"{callers}, in the clear")
    for section in config.folders:
        name = f"folder of {section.ae_title}"
        if section.path.is_dir() and os.access(section.path, os.R_OK | os.W_OK | os.X_OK):
            yield ok(name, f"{section.path} can be read and written")
            continue
        yield Finding(
            check=name,
            state=State.FAILED,
            message=f"{section.path} is no folder in which files can be read and moved",
            code="LF-DOC-016",
            hint="make it, and give it to the user that the service runs as",
        )


def orientation(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Whether the sign and flips of each gateway were compared with its scanner's own images."""
    titles = {caller.ae_title for caller in config.listener.allow}
    titles |= {caller.ae_title for caller in config.mrd.allow} | {door.ae_title for door in config.folders}
    unverified = sorted(title for title in titles if config.gateway(title).orientation_verified is None)
    if unverified:
        yield Finding(
            check="orientation",
            state=State.WARNING,
            message=f"not verified for {', '.join(unverified)}: images may be mirrored",
            code="LF-DOC-020",
            hint="`lfmri-node orient` compares once with the scanner's own images",
        )
    elif titles:
        yield ok("orientation", f"verified for {', '.join(sorted(titles))}")


def port(config: Config, layout: Layout) -> Iterator[Finding]:
    listener = config.listener
    serving = holder(layout.state)
    where = f"{listener.host}:{listener.port}"
    if serving is not None:
        host = "127.0.0.1" if listener.host in ("0.0.0.0", "::") else listener.host
        try:
            socket.create_connection((host, listener.port), timeout=5.0).close()
        except OSError as error:
            yield Finding(
                check="port",
                state=State.FAILED,
                message=f"the node serves, but {where} does not answer ({error.strerror or 'timed out'})",
                code="LF-DOC-006",
                hint="it may still be starting; look at its log",
            )
        else:
            yield ok("port", f"{where} answers")
        return
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((listener.host, listener.port))
    except OSError as error:
        yield Finding(
            check="port",
            state=State.FAILED,
            message=f"{where} cannot be used ({error.strerror})",
            code="LF-DOC-007",
            hint="stop what uses it, or change listener.port",
        )
    else:
        yield ok("port", f"{where} is free")


def destinations(config: Config, _layout: Layout) -> Iterator[Finding]:
    if not config.destinations:
        yield Finding(
            check="destinations",
            state=State.WARNING,
            message="none: objects stay in the data directory",
            code="LF-DOC-008",
            hint="add a [[destinations]] table to config.toml",
        )
    for section in config.destinations:
        name = f"destination {section.name}"
        yield from guarded(name, _destination(name, section, config.node.ae_title))


def _destination(name: str, section: DestinationSection, calling_ae: str) -> Iterator[Finding]:
    problem = probe(section, calling_ae=calling_ae)
    if problem is None:
        yield ok(name, "answers")
    else:
        yield Finding(
            check=name,
            state=State.FAILED,
            message=problem,
            code="LF-DOC-009",
            hint="check its entry, that it runs, and that it knows our AE title; jobs wait meanwhile",
        )
