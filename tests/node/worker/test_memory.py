"""Memory of the worker while it reads a foreign file: bounded inside the block, free again after it."""

import resource
import subprocess
import sys

import pytest

ALLOCATE = {
    "numpy": "numpy.ones(200_000_000, numpy.uint8)",
    "torch": "torch.ones(200_000_000, dtype=torch.uint8)",
    "HDF5": "h5py.File.in_memory().create_dataset('x', data=numpy.lib.stride_tricks.as_strided("
    "numpy.zeros(1), (30_000_000,), (0,)))",
}


@pytest.mark.parametrize("kind", ALLOCATE)
def test_growth_is_bounded_and_the_bound_is_lifted(kind: str) -> None:
    script = f"""
import h5py, numpy, torch
from lfmri_node.node.worker.memory import bounded_growth, is_out_of_memory
try:
    with bounded_growth(100_000_000):
        {ALLOCATE[kind]}
except (MemoryError, RuntimeError, OSError) as error:
    print(is_out_of_memory(error))
{ALLOCATE[kind]}
print("free again")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["True", "free again"]


def test_the_sites_limit_stays_the_lower_one() -> None:
    script = """
import resource
from lfmri_node.node.worker.memory import bounded_growth, limit_memory
limit_memory(1)
with bounded_growth(1 << 40):
    print(*resource.getrlimit(resource.RLIMIT_DATA))
print(*resource.getrlimit(resource.RLIMIT_DATA))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(2**30)] * 4
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY
