"""What the node needs of its machine: weights, programs, room, rights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from lfmri_node.dicom_io.objects.validate import program
from lfmri_node.node.config import Config
from lfmri_node.node.config.secrets import named_secrets
from lfmri_node.node.doctor.findings import Finding, State, ok
from lfmri_node.node.files import open_to_others, try_to_write
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker.sandbox import sandbox
from lfmri_node.recon.method.modelcard import weights_identity
from lfmri_node.recon.settings import Method

_COMFORT_GB = 10.0


def weights(config: Config, _layout: Layout) -> Iterator[Finding]:
    if config.recon.method is not Method.LF_MRI:
        yield ok("weights", f"not used by method {config.recon.method}")
        return
    name, sha256 = weights_identity(config.recon.weights, sha256=config.recon.weights_sha256)
    yield ok("weights", f"{name}, SHA-256 {sha256[:12]}… as the model card says")


def validator(_config: Config, _layout: Layout) -> Iterator[Finding]:
    yield ok("dciodvfy", str(program("dciodvfy")))


def disk(config: Config, layout: Layout) -> Iterator[Finding]:
    try:
        folder = try_to_write(layout.root)
    except OSError as error:
        yield Finding(
            check="disk",
            state=State.FAILED,
            message=f"nothing can be written to {layout.root} ({error.strerror})",
            code="LF-DOC-001",
            hint="give it to the user that the service runs as, or change node.data_dir",
        )
        return
    free_gb = shutil.disk_usage(folder).free / 2**30
    floor_gb = config.listener.free_space_floor_gb
    if free_gb < floor_gb:
        yield Finding(
            check="disk",
            state=State.FAILED,
            message=f"{free_gb:.1f} GB free, below listener.free_space_floor_gb = {floor_gb:g}",
            code="LF-DOC-002",
            hint="make room: until then every C-STORE is answered 0xA700",
        )
    elif free_gb < floor_gb + _COMFORT_GB:
        yield Finding(
            check="disk",
            state=State.WARNING,
            message=f"{free_gb:.1f} GB free",
            code="LF-DOC-003",
            hint="a 1 GB scan needs about 4 GB while it is worked on",
        )
    else:
        yield ok("disk", f"{free_gb:.1f} GB free")


def worker(config: Config, _layout: Layout) -> Iterator[Finding]:
    found = sandbox(config.recon.sandbox)
    if found.whole:
        yield ok("worker", f"{found}, for what parses foreign bytes")
    else:
        yield Finding(
            check="worker",
            state=State.WARNING,
            message=f"what parses foreign bytes is not confined: {found}",
            code="LF-DOC-030",
            hint="Linux 5.13 with Landlock and seccomp is needed, and a container that does not forbid them",
        )


def privacy(config: Config, layout: Layout) -> Iterator[Finding]:
    named = [*([config.logging.file] if config.logging.file else []), *sorted(named_secrets(config).files)]
    found = open_to_others([*layout.guarded(), *named])
    if found:
        yield Finding(
            check="privacy",
            state=State.WARNING,
            message=f"{len(found)} file(s) and folder(s) are open to other users, {found[-1]} for one",
            code="LF-DOC-011",
            hint="`chmod go= FILE`; `serve` does it for those below node.data_dir when it starts",
        )
    else:
        yield ok("privacy", "data directory, databases, logs, passwords and keys are the user's alone")
