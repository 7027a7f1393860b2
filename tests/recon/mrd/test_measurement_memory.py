"""A measurement larger than what its reader may hold: slices are streamed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.mrd.write import ScanLayout, open_writer

N_SLICES = 24
LAYOUT = ScanLayout(
    matrix=(640, 128, 1),
    field_of_view_mm=(320.0, 64.0, 4.0),
    recon_matrix=(320, 128, 1),
    recon_field_of_view_mm=(160.0, 64.0, 4.0),
    n_coils=8,
    positions_mm=tuple((0.0, 0.0, 5.0 * s) for s in range(N_SLICES)),
)
SLICE_MB = 640 * 128 * 8 * 8 / 1e6

READER = """
import json, sys
from pathlib import Path
from lfmri_node.recon.mrd.measurement import open_measurement

def peak():  # VmHWM: getrusage would start from the peak of the process that started this one
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l)
    return int(line.split()[1]) / 1e3

peaks = [peak()]
with open_measurement(Path(sys.argv[1]), sha256="0" * 64) as measurement:
    scan = measurement.scan()
    peaks.append(peak())
    for s in range(scan.n_slices):
        scan.load(s)
    peaks.append(peak())
print(json.dumps(peaks))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("large") / "scan.h5"
    kspace = np.ones((128, 8, 640), dtype=np.complex64)
    with open_writer(target, LAYOUT) as writer:
        for s in range(N_SLICES):
            writer.lines(kspace, np.arange(128), slice_counter=s)
    return target


def test_memory_is_that_of_a_few_slices(path: Path) -> None:
    """126 MB of samples: opening takes none of them in, loading holds a handful of slices."""
    assert path.stat().st_size > N_SLICES * SLICE_MB * 1e6
    answer = subprocess.run(
        [sys.executable, "-c", READER, str(path)], check=True, capture_output=True, timeout=120
    )
    before, opened, loaded = json.loads(answer.stdout)
    assert opened - before < 2 * SLICE_MB
    assert loaded - before < N_SLICES / 2 * SLICE_MB
