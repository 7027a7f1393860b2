"""A filter of system calls (seccomp(2)): who parses files opens no socket and looks into no other process.

It is short on purpose: a list of what is forbidden, each answered EPERM. What files may be touched is
`landlock`'s to say.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from lfmri_node.node.worker.libc import call, no_new_privileges

_SET_MODE_FILTER, _SPEC_ALLOW = 1, 1 << 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, RET|K
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_X32 = 0x40000000  # numbers of x86's third interface, that nobody needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """AUDIT_ARCH of linux/audit.h; numbers of system calls."""

    audit: int
    seccomp: int
    forbidden: Mapping[str, int]


ARCHITECTURES = {
    "x86_64": Architecture(
        audit=0xC000003E,
        seccomp=317,
        forbidden={
            "socket": 41,
            "ptrace": 101,
            "mount": 165,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "unshare": 272,
            "perf_event_open": 298,
            "setns": 308,
            "process_vm_readv": 310,
            "process_vm_writev": 311,
            "bpf": 321,
            "userfaultfd": 323,
            "io_uring_setup": 425,
            "pidfd_getfd": 438,
        },
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        seccomp=277,
        forbidden={
            "mount": 40,
            "unshare": 97,
            "ptrace": 117,
            "socket": 198,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "perf_event_open": 241,
            "setns": 268,
            "process_vm_readv": 270,
            "process_vm_writev": 271,
            "bpf": 280,
            "userfaultfd": 282,
            "io_uring_setup": 425,
            "pidfd_getfd": 438,
        },
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def known() -> bool:
    """Whether the numbers of this machine's system calls are known here."""
    return platform.machine() in ARCHITECTURES


def forbid() -> None:
    """Have the forbidden system calls refused, to this thread and to what it starts from now on.

    Raises
    ------
    OSError
        The kernel refused.
    """
    machine = ARCHITECTURES[platform.machine()]
    code = _filter(machine)
    program = _Program(len(code) // 8, code)
    no_new_privileges()
    call(machine.seccomp, _SET_MODE_FILTER, _SPEC_ALLOW, ctypes.byref(program))


def _filter(machine: Architecture) -> bytes:
    """Classic BPF: another architecture and every forbidden number jump to the last line."""
    numbers = sorted(machine.forbidden.values())
    refuse = len(numbers) + 5
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, refuse - 2, machine.audit),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, refuse - 4, 0, _X32),
        *((_EQUAL, refuse - at - 1, 0, number) for at, number in enumerate(numbers, start=4)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
