"""``killed_folder.py (door|converter) FOLDER FILE``: a watched folder's door, or the child that converts for
it, is killed before each of its steps, and the door starts again.

One line of JSON for each kill: the step, what it left, and what lies where after the second start.
``killed_folder.py convert N KIND SOURCE OUT AE_TITLE`` is that child, killed before its N-th step.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from steps import kill_before, killed_before_each_step

from lfmri_node.dicom_io.receive.incoming import Limits
from lfmri_node.dicom_io.receive.spool import Spool
from lfmri_node.node.config import from_document
from lfmri_node.node.doors import convert
from lfmri_node.node.doors.folder import FolderDoor, FolderSettings
from lfmri_node.node.doors.intake import CONVERTER, Intake
from lfmri_node.node.ingest import Ingest
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.layout import Layout
from lfmri_node.node.worker.sandbox import Sandbox


@dataclass(frozen=True)
class Place:
    """A folder with a file in it, and the data directory of a node that watches it."""

    root: Path

    @property
    def drop(self) -> Path:
        return self.root / "drop"

    @property
    def layout(self) -> Layout:
        return Layout(root=self.root / "data")

    @classmethod
    def with_file(cls, root: Path, source: Path) -> Place:
        place = cls(root)
        place.drop.mkdir(parents=True)
        shutil.copy(source, place.drop / "scan.h5")
        with closing(Store(place.layout.job_table)):
            return place

    def look_once(self, converter: Sequence[str] = CONVERTER) -> None:
        """What a node does with its watched folder from its start to the end of the first look."""
        config = from_document({"node": {"data_dir": str(self.layout.root)}}, base=self.root, name="test")
        spool = Spool(self.layout.spool, limits=Limits(max_object_bytes=1 << 30, min_free_bytes=0))
        nobody = SimpleNamespace(take_up=lambda _job: None, received=lambda _measurement: None)
        with closing(Store(self.layout.job_table)) as store:
            ingest = Ingest(config=config, store=store, engine=nobody, auditor=nobody)  # type: ignore[arg-type]
            spool.open()
            ingest.adopt(spool.pending())
            intake = Intake(
                spool=spool,
                folder=self.layout.spool,
                received=ingest.received,
                cage=Sandbox(),
                converter=converter,
            )
            intake.open()
            settings = FolderSettings(path=self.drop, ae_title="EXPORT", settle_s=0, patience_s=60)
            FolderDoor(settings, intake).look()

    def found(self) -> dict[str, object]:
        """What lies where, by kind; how many jobs there are."""
        spool = self.layout.spool
        folders = {name: spool / name for name in ("incoming", "converting", "quarantine", "incomplete")}
        folders |= {name: self.drop / name for name in ("taken", "refused")}
        counts = {name: len(list(path.iterdir())) if path.is_dir() else 0 for name, path in folders.items()}
        with closing(Store(self.layout.job_table)) as store:
            n_jobs = len(store.jobs())
        return {
            **counts,
            "waiting": (self.drop / "scan.h5").exists(),
            "objects": len(list((spool / "objects").glob("*.dcm"))),
            "values": len(list((spool / "objects").glob("*.json"))),
            "jobs": n_jobs,
        }


def doors_killed(root: Path, source: Path) -> Iterator[dict[str, object]]:
    place = Place.with_file(root / "1", source)
    for number, step in killed_before_each_step(lambda number: Place(root / f"{number}").look_once()):
        left = place.found()
        place.look_once()
        yield {"step": step, "left": left, "found": place.found()}
        place = Place.with_file(root / f"{number + 1}", source)


def converters_killed(root: Path, source: Path) -> Iterator[dict[str, object]]:
    number, left = 0, {"waiting": True}
    while left["waiting"]:
        number += 1
        place = Place.with_file(root / f"{number}", source)
        place.look_once([sys.executable, __file__, "convert", str(number)])
        left = place.found()
        place.look_once()
        yield {"step": str(number) if left["waiting"] else "", "left": left, "found": place.found()}


KILLED: dict[str, Callable[[Path, Path], Iterator[dict[str, object]]]] = {
    "door": doors_killed,
    "converter": converters_killed,
}


def main(kind: str, *arguments: str) -> None:
    if kind == "convert":
        kill_before(int(arguments[0]), sys.stderr.fileno())
        convert.main(list(arguments[1:]))
    for told in KILLED[kind](*map(Path, arguments)):
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
