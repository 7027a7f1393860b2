"""``make fuzz``: damaged inputs by the hundred thousand, at every place where foreign bytes are read.

Each input is read in a process that may be killed, with a limit of time and memory. It has to be
understood, or refused with an error of ours that carries a documented code. Anything else is a finding:
another exception, a reader that takes longer than its limit, a process that dies. A finding is named by
kind, seed and number, which make the same bytes again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from types import FrameType

sys.path.insert(0, str(Path(__file__).parents[1] / "node" / "doors"))
from damage import bytes_damaged, text_damaged, tree_damaged
from mrd_client import messages
from scans import make_scan

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.raw_data.payload import read_payload
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.config import load
from lfmri_node.node.doors import convert
from lfmri_node.node.errors import NodeError
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.mrd.file import open_mrd
from lfmri_node.recon.mrd.header import parse_header
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement

LIMIT_S = 10
MEMORY_BYTES = 2 << 30
"""Of the data segment of a reader; the tests' own imports are a fifth of it."""
ROOT = Path(__file__).parents[2]

Damage = Callable[[random.Random, bytes], bytes]
Reader = Callable[[bytes, Path], str | None]
"""Reads an input; may answer with a code in place of an exception."""
OURS = (DicomIoError, NodeError, ReconError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A place where foreign bytes are read.

    Parameters
    ----------
    originals
        Inputs that are understood.
    damage
        Makes another input of one of them.
    read
        Reads an input; the second argument is a folder for what it needs on disk.
    """

    originals: tuple[bytes, ...]
    damage: Damage
    read: Reader


@dataclass
class Result:
    """What came of one kind: how many inputs, their answers by code, and what is not as it has to be."""

    inputs: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def kinds(folder: Path) -> dict[str, Kind]:
    """Every kind by its name; ``folder`` takes a small scan."""
    make_scan(folder, 1)
    (folder / "payload.h5").write_bytes(random.Random(0).randbytes(600))
    (raw_data,) = wrap(folder / "payload.h5", folder, {"PatientID": "FUZZ", "StudyInstanceUID": "2.25.1"})
    scan = next(folder.rglob("scan.h5"))
    with open_mrd(scan, None) as opened:
        header = opened.xml
    settings = (ROOT / "config.toml").read_bytes()
    return {
        "dicom": Kind(originals=(raw_data.read_bytes(),), damage=bytes_damaged, read=_read_raw_data),
        "mrd stream": Kind(originals=(b"".join(messages(scan)),), damage=bytes_damaged, read=_read_stream),
        "hdf5": Kind(originals=(scan.read_bytes(),), damage=bytes_damaged, read=_read_file),
        "xml": Kind(originals=(header,), damage=tree_damaged, read=_read_header),
        "configuration": Kind(originals=(settings,), damage=text_damaged, read=_read_settings),
    }


def _read_raw_data(content: bytes, folder: Path) -> None:
    path = folder / "object.dcm"
    path.write_bytes(content)
    read_payload(path)


def _read_stream(content: bytes, folder: Path) -> str | None:
    out = folder / "converted"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    path = folder / "scan.mrd"
    path.write_bytes(content)
    said = convert.answer("stream", path, out, "FUZZ")
    return str(said["error"]["code"]) if "error" in said else None


def _read_file(content: bytes, folder: Path) -> None:
    path = folder / "scan.h5"
    path.write_bytes(content)
    with open_measurement(path, sha256="0" * 64, settings=ReaderSettings(scratch=folder)) as measurement:
        for contrast, repetition in measurement.scans:
            scan = measurement.scan(contrast, repetition)
            for s in range(scan.n_slices):
                scan.load(s)


def _read_header(content: bytes, _folder: Path) -> None:
    parse_header(content)


def _read_settings(content: bytes, folder: Path) -> None:
    path = folder / "config.toml"
    path.write_bytes(content)
    load(path)


@contextmanager
def _time_limit(seconds: int) -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def input_of(kind: Kind, name: str, seed: int, number: int) -> bytes:
    """The input of a number: the same for the same seed."""
    rng = random.Random(f"{name} {seed} {number}")
    return kind.damage(rng, rng.choice(kind.originals))


def _answer(kind: Kind, content: bytes, folder: Path) -> str:
    """What reading an input came to: "understood", a code, or "! " and what must not be."""
    try:
        with _time_limit(LIMIT_S):
            code = kind.read(content, folder)
    except OURS as error:
        return error.code
    except TimeoutError:
        return f"! longer than {LIMIT_S} s"
    except Exception as error:  # noqa: BLE001  every other exception is what is looked for
        return f"! {type(error).__name__}: {error}"
    return code or "understood"


def _serve(kind: Kind, name: str, seed: int, numbers: Sequence[int], folder: Path, said: Connection) -> None:
    """Read inputs one after the other, in a process of its own; say each number before it is read."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in numbers:
        said.send((number, None))
        said.send((number, _answer(kind, input_of(kind, name, seed, number), folder)))
    said.close()


def run_kind(kind: Kind, name: str, seed: int, n_inputs: int, folder: Path, codes: str) -> Result:
    """Read so many inputs of a kind; a reader that dies or hangs is replaced and its input noted."""
    result, first = Result(), 0
    while first < n_inputs:
        near, far = multiprocessing.Pipe(duplex=False)
        numbers = range(first, n_inputs)
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(kind, name, seed, numbers, folder, far)
        )
        process.start()
        far.close()
        number, answer = first, None
        while near.poll(3 * LIMIT_S):
            try:
                number, answer = near.recv()
            except EOFError:
                break
            if answer is not None:
                _note(result, name, seed, number, answer, codes)
        if answer is None:
            process.kill()
            process.join()
            _note(result, name, seed, number, f"! the reader ended or hung (exit {process.exitcode})", codes)
        process.join()
        first = number + 1
    return result


def _note(result: Result, name: str, seed: int, number: int, answer: str, codes: str) -> None:
    result.inputs += 1
    known = answer == "understood" or f"| {answer} |" in codes
    result.answers[answer if known else "finding"] += 1
    if not known:
        result.findings.append(f"{name} seed {seed} number {number}: {answer.removeprefix('! ')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="one kind")
    parser.add_argument("--out", type=Path, default=Path("faults-out/fuzz-report.json"))
    given = parser.parse_args()
    codes = (ROOT / "deploy" / "docs" / "errors.md").read_text(encoding="utf-8")
    begun, results = monotonic(), dict[str, Result]()
    with tempfile.TemporaryDirectory(prefix="lfmri-fuzz-") as name:
        folder = Path(name)
        chosen = {key: kind for key, kind in kinds(folder / "scans").items() if given.only in (None, key)}
        read = partial(run_kind, seed=given.seed, n_inputs=given.inputs // len(chosen), codes=codes)
        for key, kind in chosen.items():
            results[key] = read(kind, key, folder=folder)
            print(f"{key}: {results[key].inputs} inputs, {len(results[key].findings)} findings", flush=True)
    report = {
        "inputs": sum(result.inputs for result in results.values()),
        "findings": sum(len(result.findings) for result in results.values()),
        "seed": given.seed,
        "seconds": round(monotonic() - begun),
        "kinds": {key: vars(result) for key, result in results.items()},
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for result in results.values():
        for finding in result.findings[:20]:
            print(finding)
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
