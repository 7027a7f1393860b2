"""How much memory the worker may have: by the site's limit, and less while it reads a foreign file."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_MEMORY = (
    "can't allocate memory",  # torch's allocator of the CPU
    "out of memory",  # torch.OutOfMemoryError, of an accelerator
    "memory allocation failed",  # HDF5
    "can't start new thread",
)


def limit_memory(limit_gb: float) -> None:
    """Let allocations of this process fail beyond ``limit_gb``; code and mapped files do not count."""
    limit = int(limit_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


@contextmanager
def bounded_growth(n_bytes: int) -> Iterator[None]:
    """Let allocations fail inside the block where this process would grow by more than ``n_bytes``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + n_bytes
    resource.setrlimit(
        resource.RLIMIT_DATA, (limit if soft == resource.RLIM_INFINITY else min(limit, soft), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed: numpy says it by type, torch and HDF5 only in words, mmap by number."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    return any(words in str(error).lower() for words in _NO_MEMORY)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process (proc_pid_status(5), VmData)."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.split("VmData:")[1].split()[0]) * 1024
