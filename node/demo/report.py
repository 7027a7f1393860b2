"""What the demonstration found: each object compared, times, figures, pictures; for people and as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.demo.loopback import DemoPacs
from lfmri_node.node.jobs.job import ORDER, Job
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.records import Timing
from lfmri_node.node.layout import Layout
from lfmri_node.node.offline.pictures import captions_of, write_pictures
from lfmri_node.node.offline.reconstruct import find_truth, quality_against, quality_document
from lfmri_node.node.offline.view import lesion_rows, print_quality
from lfmri_node.node.terminal.tables import console, print_json, print_table
from lfmri_node.node.worker.task import RECONSTRUCTION
from lfmri_node.recon.archive import load_reconstruction
from lfmri_node.recon.metrics import ImageQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What became of one scan.

    Parameters
    ----------
    wrong
        SOP Instance UID -> what is wrong with what the PACS holds of it.
    failed
        Why the node did not finish it; "" where it did. Then the rest is empty.
    """

    job: Job
    failed: str = ""
    objects: Sequence[EncodedObject] = ()
    wrong: Mapping[str, str]
    timings: Sequence[Timing] = ()
    quality: Mapping[str, ImageQuality]
    pictures: Sequence[Path] = ()

    @property
    def complete(self) -> bool:
        """Whether everything was made and is held."""
        return not self.failed and bool(self.objects) and not self.wrong

    def held(self) -> list[tuple[str, int, int, str]]:
        """Role, objects sent, objects held, what is wrong."""
        rows = []
        for role in dict.fromkeys(item.role for item in self.objects):
            uids = [item.sop_instance_uid for item in self.objects if item.role == role]
            bad = [self.wrong[uid] for uid in uids if uid in self.wrong]
            rows.append((role, len(uids), len(uids) - len(bad), ", ".join(sorted(set(bad)))))
        return rows

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        return {
            "job": self.job.key,
            "stage": self.job.stage.value,
            "failed": self.failed or None,
            "summary": dict(self.job.summary),
            "objects": [
                {"role": role, "sent": sent, "held": held, "wrong": wrong or None}
                for role, sent, held, wrong in self.held()
            ],
            "seconds": [{"stage": timing.stage.value, "seconds": timing.seconds} for timing in self.timings],
            "quality": quality_document(self.quality),
            "pictures": [str(path) for path in self.pictures],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What became of all scans of the measurement; ``expected``: what others of its kind come to."""

    out: Path
    store: str
    arrivals: Sequence[Arrival]
    seconds: float
    expected: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything arrived."""
        return all(arrival.complete for arrival in self.arrivals)

    def print(self, *, as_json: bool) -> None:
        """One JSON document, or tables."""
        if as_json:
            arrivals = [arrival.to_json() for arrival in self.arrivals]
            document: dict[str, object] = {
                "expected": self.expected or None,
                "complete": self.complete,
                "out": str(self.out),
                "pacs": self.store,
            }
            print_json({**document, "seconds": round(self.seconds, 1), "scans": arrivals})
            return
        for arrival in self.arrivals:
            _print_arrival(arrival, self.store)
        out = console()
        if self.expected:
            out.print(self.expected, markup=False)
        out.print(f"{'everything arrived' if self.complete else 'NOT COMPLETE'} after {self.seconds:.1f} s")
        out.print("Research use only. Not for diagnosis.", style="bold")


def report(
    jobs: Sequence[Job], layout: Layout, source: Path, out: Path, store: DemoPacs, *, begun: float
) -> Demonstration:
    """Compare what the PACS holds with what was sent, and draw the pictures."""
    folder = out / "pictures"
    with closing(Ledger(layout.job_table)) as ledger:
        arrivals = [
            _arrival(job, ledger, layout, source, folder / job.name if len(jobs) > 1 else folder, store)
            for job in jobs
        ]
    seconds = time.monotonic() - begun
    return Demonstration(out=out, store=store.title, arrivals=arrivals, seconds=seconds)


def _arrival(
    job: Job, ledger: Ledger, layout: Layout, source: Path, pictures: Path, store: DemoPacs
) -> Arrival:
    if job.failure is not None or job.finished_at is None:
        why = job.failure
        text = f"{why.code}: {why.message} ({why.hint})" if why else f"stopped at {job.stage}"
        return Arrival(job=job, failed=text, wrong={}, quality={})
    objects = ledger.objects(job.key)
    keys = [job.parent, job.key] if job.parent else [job.key]
    timings = [timing for key in keys for timing in ledger.timings(key) if timing.seconds is not None]
    reconstruction = load_reconstruction(layout.work(job.key) / RECONSTRUCTION)
    truth = find_truth(source, job.contrast or 0)
    quality = quality_against(reconstruction, truth)
    return Arrival(
        job=job,
        objects=objects,
        wrong=store.differences(objects),
        timings=sorted(timings, key=lambda timing: ORDER.index(timing.stage)),
        quality=quality,
        pictures=[
            *write_pictures(reconstruction, truth, pictures, captions=captions_of(quality)),
            *(_page(item, pictures) for item in objects if item.role == Role.SUMMARY),
        ],
    )


def _page(summary: EncodedObject, folder: Path) -> Path:
    """The summary page as a file that any reader of PDF opens."""
    dataset = dcmread(summary.path)
    path = folder / "summary.pdf"
    path.write_bytes(dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength])
    return path


def _print_arrival(arrival: Arrival, store: str) -> None:
    job, summary = arrival.job, arrival.job.summary
    if arrival.failed:
        console().print(f"job {job.name} failed: {arrival.failed}", style="bold red", markup=False)
        return
    print_table(
        f"job {job.name}, stage {job.stage}: objects in {store}",
        ("role", "sent", "held", "check"),
        [(role, sent, held, wrong or "equal to what was sent") for role, sent, held, wrong in arrival.held()],
        right=("sent", "held"),
    )
    times = [(timing.stage.value, f"{timing.seconds:.2f}") for timing in arrival.timings]
    print_table("time", ("stage", "seconds"), times, right=("seconds",))
    reasons = summary.get("reasons", [])
    assert isinstance(reasons, list)
    print_table(
        "quality",
        ("", ""),
        [
            ("verdict", summary["verdict"]),
            ("acceleration", summary["acceleration"]),
            ("data residual", summary["data_residual"]),
            *lesion_rows(summary),
            *((f"reason {reason['code']}", reason["message"]) for reason in reasons),
        ],
    )
    if arrival.quality:
        print_quality(arrival.quality)
    for path in arrival.pictures:
        console().print(f"picture {path}", markup=False, soft_wrap=True)
