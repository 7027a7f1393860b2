"""Landlock (landlock(7), Linux 5.13): a process keeps its rights to a few files and gives up all others.

No library is needed: three system calls, of the same numbers on every architecture but alpha. What is given
up, no child gets back. Later kernels can take more away, by the version of their interface (ABI).
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from lfmri_node.node.worker.libc import call, no_new_privileges

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_CHANGE = _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER
_WRITE = _READ | _WRITE_FILE | _TRUNCATE | _CHANGE
_USE = _READ_FILE | _WRITE_FILE | _IOCTL_DEV
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_ALL_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_ALL_TCP = {4: 0b11}  # bind, connect
_ALL_SCOPES = {6: 0b11}  # abstract UNIX sockets and signals to processes outside


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """Version of the kernel's interface; 0 where it has none, or it is switched off."""
    try:
        return call(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def keep(*, reads: Sequence[Path], writes: Sequence[Path], uses: Sequence[Path]) -> None:
    """Give up all files but these, TCP, and signals to others, as far as the kernel can.

    Only the calling thread is bound, and what it starts from now on.

    Parameters
    ----------
    reads
        Files, and folders with all below: to read and to execute. What does not exist is left out.
    writes
        Folders: also to make and to remove files and folders in.
    uses
        Devices.

    Raises
    ------
    OSError
        The kernel refused.
    """
    version = abi()
    handled = _latest(_ALL_FILES, version)
    attributes = _Ruleset(handled, _latest(_ALL_TCP, version), _latest(_ALL_SCOPES, version))
    size = ctypes.sizeof(_Ruleset) if version >= 6 else 16 if version >= 4 else 8
    ruleset = call(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    for rights, paths in ((_READ, reads), (_WRITE, writes), (_USE, uses)):
        for path in paths:
            _allow(ruleset, path, rights & handled)
    no_new_privileges()
    call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(_Beneath(rights, parent)), 0)
    finally:
        os.close(parent)


def _latest(by_version: dict[int, int], version: int) -> int:
    return max((rights for since, rights in by_version.items() if since <= version), default=0)
