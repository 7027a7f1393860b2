"""A file that unpacks to more than its reader may have: it ends with a code, and the worker lives on."""

import zlib
from pathlib import Path

import h5py
import pytest
from ismrmrd.hdf5 import acquisition_dtype

from lfmri_node.node.jobs.job import Stage
from lfmri_node.recon.mrd.file import sha256_of

ROW = 372  # bytes of an acquisition's head on disk
CHUNK = 1 << 17
N_CHUNKS = 36
BALLAST = 450_000_000


def made_a_bomb(path: Path) -> None:
    """Five million acquisitions of zeros, deflated: 1.8 GB in 2 MB, and so much ballast that this is in
    proportion. Reading them takes twice as much."""
    with h5py.File(path, "r+") as file:
        del file["dataset/data"]
        shape = (CHUNK * N_CHUNKS,)
        rows = file.create_dataset(
            "dataset/data", shape, acquisition_dtype, chunks=(CHUNK,), compression="gzip"
        )
        packed = zlib.compress(bytes(CHUNK * ROW), 1)
        for n in range(N_CHUNKS):
            rows.id.write_direct_chunk((n * CHUNK,), packed)
        ballast = file.create_dataset("dataset/ballast", (BALLAST,), "u1")
        ballast[-1] = 1  # a hole on the disk, and bytes of the file all the same


@pytest.mark.timeout(600)
def test_a_file_that_unpacks_to_gigabytes_ends_with_a_code_and_the_worker_lives_on(
    node, pacs, make_scan
) -> None:
    bomb, good = make_scan("bomb.h5"), make_scan("good.h5", seed=1)
    made_a_bomb(bomb)
    node.start()
    (worker,) = node.workers()
    node.send_as_another_gateway(bomb, StudyInstanceUID="2.25.1")
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.QUARANTINED)
    assert job.failure.code == "LF-JOB-024"
    node.send(good)
    jobs = node.wait_for(lambda jobs: any(job.stage is Stage.SENT for job in jobs))
    assert {job.source_sha256: job.stage for job in jobs} == {
        sha256_of(bomb): Stage.QUARANTINED,
        sha256_of(good): Stage.SENT,
    }
    assert node.workers() == [worker]
