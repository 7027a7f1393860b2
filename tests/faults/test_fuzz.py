"""Damaged inputs: each is answered with a documented status, or refused with a documented code."""

import json
import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hostile import established, fragment, read_status, store_request
from pydicom import dcmread
from scans import make_scan, store

from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.dicom_io.status import Status

N_MUTANTS = 2_000
MEMORY_MB = 400
SEED = 9


def data_set(path: Path) -> bytes:
    """What a C-STORE carries of a DICOM file: all behind the file meta information (PS3.10 7.1)."""
    content = path.read_bytes()
    (meta_length,) = struct.unpack_from("<I", content, 140)
    return content[144 + meta_length :]


def mutant(rng: random.Random, content: bytes, n_head: int) -> bytes:
    """One object with one to three damages of its head, or cut short."""
    made = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(n_head)
        match rng.randrange(6):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                made[at] ^= 1 << rng.randrange(8)
            case 2:
                del made[at : at + rng.randint(1, 40)]
            case 3:
                made[at:at] = rng.randbytes(rng.randint(1, 40))
            case 4:
                made[at : at + 4] = rng.choice((0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0)).to_bytes(4, "little")
            case 5:
                del made[rng.randrange(len(made)) :]
                made += b"\0" * (n_head - len(made))
    return bytes(made)


@pytest.mark.timeout(900)
def test_every_mutant_of_a_head_is_answered_with_a_documented_status(node, tmp_path: Path) -> None:
    """The payload is short and no HDF5, because this is about what the listening process reads."""
    payload = tmp_path / "payload.h5"
    payload.write_bytes(random.Random(SEED).randbytes(600))
    (path,) = wrap(payload, tmp_path, {"PatientID": "FUZZ", "StudyInstanceUID": "2.25.1"})
    content, uid = data_set(path), str(dcmread(path).SOPInstanceUID)
    rng, answers = random.Random(SEED), Counter[int | None]()
    with socket.create_connection(("127.0.0.1", node.port), 60.0) as connection:
        assert established(connection)
        for _ in range(N_MUTANTS):
            sent = fragment(mutant(rng, content, len(content) - 600), control=0x02)
            connection.sendall(store_request(uid=uid) + sent)
            answers[read_status(connection)] += 1
            assert None not in answers, f"no answer to mutant {answers.total()} of seed {SEED}"
    assert set(answers) <= set(Status)
    assert len(answers) > 4, "the mutants are all refused for the same reason: they test little"
    assert node.memory_mb() < MEMORY_MB
    (scan,) = make_scan(tmp_path, 1)
    assert store(scan, node.port) == Status.SUCCESS
    assert node.alive
    assert "Traceback" not in node.log.read_text(encoding="utf-8")


@pytest.mark.timeout(900)
def test_what_is_damaged_is_understood_or_refused_by_name(tmp_path: Path) -> None:
    """A short ``make fuzz``: Raw Data objects, ISMRMRD files, their XML headers, configurations."""
    report = tmp_path / "report.json"
    script = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(script), "--inputs", "1200", "--seed", "7", "--out", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(report.read_text(encoding="utf-8"))
    assert (said["inputs"], said["findings"]) == (1200, 0)
    for name, kind in said["kinds"].items():
        assert 0 < kind["answers"]["understood"] < kind["inputs"], name
        assert len(kind["answers"]) > 3, f"{name}: refused for few reasons, so the damage tests little"
