"""``killed_gateway.py FOLDER PORT FILE``: a gateway is killed before each of its steps, and starts again.

One line of JSON for each kill: the step, and what lies where after the second start.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from steps import killed_before_each_step

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.address import Address
from lfmri_node.node.gateway.send import send_file
from lfmri_node.node.gateway.steps import Converter
from lfmri_node.node.gateway.watch import Report, Watch, WatchSettings


@dataclass(frozen=True)
class SendingHere:
    """What `lfmri-node send` does, without starting Python for it."""

    port: int

    def run(
        self, h5: Path, given: Mapping[str, str], scratch: Path, _stop: threading.Event
    ) -> NodeError | None:
        tempfile.tempdir = str(scratch)
        address = Address(ae_title="PACS", host="127.0.0.1", port=self.port)
        try:
            send_file(h5, address, calling_ae="GATEWAY", given=given, show=lambda *_: None)
        except (NodeError, DicomIoError) as error:
            return NodeError(error.code, error.message, error.hint)
        return None


def run_once(folder: Path, port: int) -> Report:
    settings = WatchSettings(
        folder=folder,
        sending=SendingHere(port),  # type: ignore[arg-type]
        converter=Converter.of("sh -c 'grep -q BAD $0 && exit 3; cp $0 $1' {in} {out}", 60),
        given={"PatientID": "OF ALL", "StudyInstanceUID": "2.25.1"},
        settle_s=0.01,
        backoff=Backoff(base_s=0.01, cap_s=0.01),
        once=True,
    )
    return Watch(settings).run(threading.Event())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def main() -> None:
    root, port, source = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

    def fill(number: int) -> Path:
        folder = root / f"{number}"
        folder.mkdir(parents=True)
        shutil.copy(source, folder / "scan.dat")
        (folder / "scan.dat.identity.toml").write_text(f'PatientID = "{number}"\n')
        return folder

    folder = fill(1)
    for number, step in killed_before_each_step(lambda number: run_once(root / f"{number}", port)):
        run_once(folder, port)
        found = {name: names(folder / name) for name in (".", "sent", "failed", ".lfmri-queue")}
        print(json.dumps({"number": number, "step": step, "found": found}))
        folder = fill(number + 1)


if __name__ == "__main__":
    main()
