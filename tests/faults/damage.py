"""Damaging bytes, text and trees: small changes of inputs that are understood, by a seeded generator."""

from __future__ import annotations

import random
import re
from xml.etree import ElementTree

_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0x80000000, 0, 1, 255, 65535)
_WORDS = (
    b"",
    b"0",
    b"-1",
    b"1e309",
    b"nan",
    b"inf",
    b"1e-320",
    b"99999999999999999999",
    b"1.5",
    b"\xff\xfe",
    b"\0",
    b"A" * 70_000,
    b"../../etc/passwd",
    b"true",
    b"[]",
    b"{}",
    b"'",
    b"&#x0;",
    b"<a/>",
    b"%s%n",
    "é✓".encode(),
)
_VALUES = (
    b'""',
    b'"x"',
    b'"' + b"A" * 70_000 + b'"',
    b'"../../etc"',
    b'"\\u0000"',
    b"'a\\b'",
    b"0",
    b"-1",
    b"1e308",
    b"nan",
    b"-inf",
    b"9223372036854775807",
    b"99999999999999999999",
    b"true",
    b"[]",
    b"{}",
    b'[["a"]]',
    b"{a = 1}",
    b"1979-05-27",
    '"é"'.encode(),
)


def bytes_damaged(rng: random.Random, content: bytes) -> bytes:
    """One to four damages anywhere: bits, bytes, lengths, gaps, repetitions, a cut."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(made) or 1)
        match rng.randrange(8):
            case 0:
                made[at : at + 1] = bytes([rng.randrange(256)])
            case 1 if made:
                made[at] ^= 1 << rng.randrange(8)
            case 2:
                del made[at : at + rng.randint(1, 64)]
            case 3:
                made[at:at] = rng.randbytes(rng.randint(1, 64))
            case 4:
                made[at : at + 4] = rng.choice(_SIZES).to_bytes(4, "little")
            case 5:
                made[at : at + 8] = rng.choice(_SIZES).to_bytes(8, rng.choice(("little", "big")))
            case 6:
                begin = rng.randrange(len(made) or 1)
                made[at:at] = made[begin : begin + rng.randint(1, 512)]
            case 7 if rng.random() < 0.2:
                del made[at:]
    return bytes(made)


def text_damaged(rng: random.Random, content: bytes) -> bytes:
    """Lines that are repeated, lost, swapped or given another value; commented ones come alive."""
    lines = content.split(b"\n")
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(lines) or 1)
        match rng.choice((0, 1, 2, 2, 2, 3, 4, 5)):
            case 0:
                lines.insert(at, rng.choice(lines or [b""]))
            case 1:
                del lines[at : at + 1]
            case 2 if lines:
                lines[at] = re.sub(rb"=\s*[^#]*", lambda _: b"= " + rng.choice(_VALUES) + b" ", lines[at])
            case 3 if lines:
                lines[at] = lines[at].lstrip(b"# ")
            case 4:
                for n in range(at, min(at + rng.randint(1, 12), len(lines))):
                    lines[n] = lines[n].lstrip(b"# ")
            case 5 if rng.random() < 0.3:
                return bytes_damaged(rng, b"\n".join(lines))
    return b"\n".join(lines)


def tree_damaged(rng: random.Random, content: bytes) -> bytes:
    """Elements of an XML document that are lost, repeated, nested, emptied or given another value."""
    if rng.random() < 0.2:
        return bytes_damaged(rng, content)
    root = ElementTree.fromstring(content)
    for _ in range(rng.randint(1, 4)):
        parents = [element for element in root.iter() if len(element)]
        parent = rng.choice(parents or [root])
        if not len(parent):
            break
        child = rng.choice(list(parent))
        match rng.randrange(5):
            case 0:
                parent.remove(child)
            case 1:
                parent.append(child)
            case 2:
                child.text = rng.choice(_WORDS).decode("latin-1").replace("\0", "")
            case 3:
                child.tag = rng.choice(list(root.iter())).tag
            case 4:
                for _level in range(rng.choice((1, 3, 80))):
                    parent.append(parent := ElementTree.Element(child.tag))
    return ElementTree.tostring(root)
