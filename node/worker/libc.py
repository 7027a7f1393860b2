"""System calls that Python has no name for."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_SET_NO_NEW_PRIVS = 38  # PR_SET_NO_NEW_PRIVS
_CAPABILITIES_V3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_OVER_FILES = 0b1110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER


def call(number: int, *arguments: Any) -> int:
    """Make a system call.

    Parameters
    ----------
    arguments
        Integers, pointers, None for a null pointer.

    Raises
    ------
    OSError
        It failed.
    """
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(syscall(ctypes.c_long(number), *given))


def no_new_privileges() -> None:
    """Let no program that this process starts gain rights (PR_SET_NO_NEW_PRIVS, prctl(2)).

    Raises
    ------
    OSError
        It failed.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    _checked(prctl(_SET_NO_NEW_PRIVS, one, zero, zero, zero))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    """Effective, permitted, inheritable of the first 32 capabilities; then the same of the others."""

    _fields_ = (("words", ctypes.c_uint32 * 6),)


def keep_rights_over_files() -> None:
    """Of root's capabilities keep those over other users' files; nobody else has any to lose.

    With `no_new_privileges`, no program that is started gets them back (capabilities(7)).

    Raises
    ------
    OSError
        It failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, held = _Header(_CAPABILITIES_V3, 0), _Capabilities()
    _checked(libc.capget(ctypes.byref(header), ctypes.byref(held)))
    kept = held.words[1] & _OVER_FILES
    _checked(libc.capset(ctypes.byref(header), ctypes.byref(_Capabilities((kept, kept, 0, 0, 0, 0)))))


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
