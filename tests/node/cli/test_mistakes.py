"""Mistakes on the command line are named at once: code, hint, exit status, and no torch loaded for it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lfmri_node.node.jobs.store import Store
from lfmri_node.recon.phantom.demo_scan import write_demo_scan

DRIVER = """
import contextlib, io, json, sys
from lfmri_node.node.cli.main import run
answers = []
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(words)
    answers.append([status, out.getvalue(), err.getvalue(), "torch" in sys.modules])
json.dump(answers, sys.stdout)
"""


@dataclass(frozen=True)
class Mistake:
    """A wrong command line, and what has to be said."""

    words: str
    code: str
    hint: str
    status: int = 1


USAGE = {"code": "LF-CFG-011", "hint": "--help", "status": 2}
WITH_CONFIG = {
    "serve": "serve",
    "status": "status",
    "retry": "retry",
    "accept": "accept",
    "purge": "purge --dry-run",
    "console": "console",
    "reconstruct": "reconstruct scan.h5 --out out",
    "orient": "orient scan.h5 --out out",
}
SEND = "send scan.h5 --to LFMRI@127.0.0.1:104"
MISTAKES = [
    *(Mistake(f"{text} --config absent.toml", "LF-CFG-001", "--config") for text in WITH_CONFIG.values()),
    Mistake("status --config .", "LF-CFG-001", "--config"),
    Mistake("status --config broken.toml", "LF-CFG-002", "correct that place"),
    Mistake("purge --config unknown.toml", "LF-CFG-003", "correct the spelling"),
    Mistake("serve --config wrong.toml", "LF-CFG-004", "give a value"),
    Mistake("serve --config nowhere.toml", "LF-CFG-010", "check the path"),
    Mistake("serve --config secret.toml", "LF-CFG-005", "password_env"),
    Mistake("serve --config weights.toml", "LF-MOD-001", "weights"),
    *(Mistake(f"{name} --config new.toml", "LF-JOB-003", "serve") for name in ("status", "accept", "purge")),
    Mistake("retry --config new.toml", "LF-JOB-003", "serve"),
    Mistake("status 3f2a", "LF-JOB-005", "lfmri-node status"),
    Mistake("retry 3f2a", "LF-JOB-005", "lfmri-node status"),
    Mistake("accept 3f2a", "LF-JOB-043", "lfmri-node accept"),
    Mistake("send absent.h5 --to LFMRI@127.0.0.1:104", **USAGE),
    Mistake("send scan.h5", **USAGE),
    Mistake("send scan.h5 --to nowhere", "LF-CFG-006", "AET@host:port"),
    Mistake("send scan.h5 --to LONGER_THAN_SIXTEEN@127.0.0.1:104", "LF-CFG-006", "AET@host:port"),
    Mistake("send scan.h5 --to LFMRI@node.invalid:104", "LF-CFG-014", "IP address"),
    Mistake(f"{SEND} --calling-ae LONGER_THAN_SIXTEEN", **USAGE),
    Mistake(f"{SEND} --identity absent.toml", "LF-CFG-010", "check the path"),
    Mistake(f"{SEND} --identity unknown.toml", "LF-CFG-012", "PatientID"),
    Mistake("send notes.txt --to LFMRI@127.0.0.1:104", "LF-RAW-001", "export"),
    Mistake("reconstruct absent.h5 --out out", **USAGE),
    Mistake("reconstruct scan.h5", **USAGE),
    Mistake("reconstruct scan.h5 --out notes.txt", **USAGE),
    Mistake("reconstruct scan.h5 --out /proc/absent/out", "LF-CFG-010", "check the path"),
    Mistake("reconstruct scan.h5 --out notes.txt/out", "LF-CFG-010", "check the path"),
    Mistake("reconstruct notes.txt --out out", "LF-RAW-001", "export"),
    Mistake("reconstruct scan.h5 --out out --group other", "LF-RAW-002", "group"),
    Mistake("reconstruct scan.h5 --out out --method best", **USAGE),
    Mistake("reconstruct scan.h5 --out out --weights absent.safetensors", **USAGE),
    Mistake("reconstruct scan.h5 --out out --weights notes.txt", "LF-MOD-002", "card"),
    Mistake("orient scan.h5", **USAGE),
    Mistake("orient scan.h5 --like absent", **USAGE),
    Mistake("orient scan.h5 --out /proc/absent/out", "LF-CFG-010", "check the path"),
    Mistake("orient notes.txt --out out", "LF-RAW-001", "export"),
    Mistake("convert absent.npz --out out.h5", **USAGE),
    Mistake("convert notes.txt --out .", **USAGE),
    Mistake("convert notes.txt --out /proc/absent/out.h5", "LF-CFG-010", "check the path"),
    Mistake("convert notes.txt --out out.h5 --accel 0.5", **USAGE),
    Mistake("convert notes.txt --out out.h5 --center-fraction 2", **USAGE),
    Mistake("demo --input absent.h5", **USAGE),
    Mistake("demo --input notes.txt", "LF-RAW-001", "export"),
    Mistake("demo --input demo-out/phantom.h5", "LF-CFG-015", "--out"),
    Mistake("demo --out /proc/absent/out", "LF-CFG-010", "check the path"),
    Mistake("demo --pacs other", **USAGE),
    Mistake("viewer absent", **USAGE),
    Mistake("viewer . --port 70000", **USAGE),
    Mistake("viewer . --ohif absent.tgz", **USAGE),
    Mistake("status --watch --json", **USAGE),
    Mistake("status --every 5", **USAGE),
    Mistake("status --jsn", **USAGE),
    Mistake("completion fish", **USAGE),
    Mistake("frobnicate", **USAGE),
]
FILES = {
    "notes.txt": "k-space",
    "config.toml": "[node]\ndata_dir = 'data'\n",
    "new.toml": "[node]\ndata_dir = 'new'\n",
    "broken.toml": "[node",
    "unknown.toml": "[retention]\nraw_dais = 1\n",
    "wrong.toml": "[listener]\nport = 'x'\n",
    "secret.toml": (
        "[node]\ndata_dir = 'new'\n"
        "[[destinations]]\nkind = 'orthanc'\nname = 'o'\n"
        "url = 'http://127.0.0.1:1'\npassword_env = 'LFMRI_NO'\n"
    ),
    "weights.toml": "[node]\ndata_dir = 'new'\n[recon]\nweights = 'absent.safetensors'\n",
    "nowhere.toml": "[node]\ndata_dir = '/proc/absent/data'\n",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str, bool]]:
    """What each wrong command line is answered with, also with --json; all in one process."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    write_demo_scan(folder / "scan.h5", n_slices=1, size=64)
    (folder / "scan.truth.npz").unlink()
    (folder / "demo-out").mkdir()
    (folder / "demo-out" / "phantom.h5").hardlink_to(folder / "scan.h5")
    Store(folder / "data" / "state" / "node.sqlite").close()
    lines = [mistake.words for mistake in MISTAKES]
    lines += [f"{line} --json" for line in lines]
    asked = json.dumps([line.split() for line in lines])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], cwd=folder, input=asked, capture_output=True, text=True, check=True
    )
    left = {path.name for path in folder.iterdir()}
    assert left == {*FILES, "scan.h5", "demo-out", "data"}
    assert (folder / "demo-out" / "phantom.h5").exists()
    return {line: tuple(answer) for line, answer in zip(lines, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.words)
def test_a_mistake_is_one_sentence_with_code_and_hint_before_any_work(mistake: Mistake, answers) -> None:
    status, out, err, torch = answers[mistake.words]
    assert (status, torch) == (mistake.status, False), err
    if "--json" not in mistake.words:
        assert out == ""
    error, hint = err.splitlines()
    assert error.startswith(f"error {mistake.code}: ")
    assert hint.startswith("hint: ")
    assert mistake.hint in hint


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.words)
def test_with_json_stdout_is_one_document_with_the_error(mistake: Mistake, answers) -> None:
    status, out, err, _ = answers[f"{mistake.words} --json"]
    error = json.loads(out)["error"]
    assert error.keys() == {"code", "message", "hint"}
    assert f"error {error['code']}: {error['message']}" in err
    if mistake.words.split()[0] not in ("serve", "console", "viewer", "completion"):
        assert (status, error["code"]) == (mistake.status, mistake.code)


@pytest.mark.parametrize(
    "words", ["status", "status --json", "retry --json", "status --config absent.toml --json"]
)
def test_a_full_disk_under_stdout_is_told_too(words: str, tmp_path: Path) -> None:
    Store(tmp_path / "data" / "state" / "node.sqlite").close()
    command = [sys.executable, "-m", "lfmri_node.node.cli", *words.split()]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["error", "hint:"]
