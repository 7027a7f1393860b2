"""The command line: exit statuses, machine-readable answers, one clear line for each error."""

import json
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pytest
from pydicom import dcmread

from lfmri_node.node.cli import main as cli
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.store import Store
from lfmri_node.recon.types import ScanIdentity


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """The command line inside this process: torch is imported once for all tests."""

    def run_in_process(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["lfmri-node", *arguments])
        monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), captured.out, captured.err)

    return run_in_process


def test_status_and_retry_of_a_living_node(node, pacs, make_scan, run_here) -> None:
    pacs.before_answer = lambda _uid: 0xC000
    node.start()
    node.send(make_scan())
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.QUARANTINED)
    config = ("--config", str(node.config))
    document = json.loads(run_here("status", "--json", *config).stdout)
    assert document["serving"]
    assert document["process"] == node.process.pid
    assert document["stages"] == {"quarantined": 1}
    (described,) = document["jobs"]
    assert described["failure"]["code"] == "LF-DEL-002"
    assert described["failure"]["hint"]
    assert [(r["delivered"], r["verified"], r["dimse_status"]) for r in described["receipts"]] == [
        (False, None, 0xC000)
    ] * 3
    table = run_here("status", *config).stdout
    assert job.name in table
    assert "LF-DEL-002" in table
    assert "0xC000" in run_here("status", job.name, *config).stdout
    pacs.before_answer = lambda _uid: 0x0000
    done = run_here("retry", job.name[:6], *config)
    assert (done.returncode, done.stdout) == (0, f"{job.name}: back to work\n")
    node.wait_finished()
    again = run_here("retry", job.name, "--json", *config)
    assert again.returncode == 1
    assert "LF-JOB-006" in again.stderr
    assert json.loads(again.stdout)["error"]["code"] == "LF-JOB-006"
    assert json.loads(run_here("retry", "--json", *config).stdout) == {"jobs": [], "stay": []}


def test_send_and_retry_as_json(node, pacs, make_scan, run_here) -> None:
    pacs.before_answer = lambda _uid: 0xC000
    node.start()
    address = f"{node.address.ae_title}@{node.address.host}:{node.address.port}"
    sent = run_here("send", str(make_scan()), "--to", address, "--patient-id", "SENTINEL", "--json")
    (accepted,) = json.loads(sent.stdout)["accepted"]
    assert accepted["dimse_status"] == 0
    assert accepted["sop_instance_uid"]
    (job,) = node.wait_for(lambda jobs: len(jobs) == 1 and jobs[0].stage is Stage.QUARANTINED)
    pacs.before_answer = lambda _uid: 0x0000
    done = run_here("retry", "--json", "--config", str(node.config))
    assert json.loads(done.stdout) == {"jobs": [job.name], "stay": []}
    node.wait_finished()


def test_convert_as_json(tmp_path: Path, run_here) -> None:
    kspace = np.random.RandomState(0).randn(3, 32, 32).astype(np.complex64)
    np.savez(tmp_path / "full.npz", kspace=kspace)
    done = run_here("convert", str(tmp_path / "full.npz"), "--out", str(tmp_path / "full.h5"), "--json")
    document = json.loads(done.stdout)
    assert {Path(document[name]).is_file() for name in ("path", "truth")} == {True}
    assert document["acceleration"] > 1


def test_doctor_names_what_is_wrong_with_code_and_hint(node, pacs, run_here) -> None:
    node.start()
    node.config.write_text(node.config.read_text().replace("port = 0", f"port = {node.port}"))
    healthy = run_here("doctor", "--json", "--config", str(node.config))
    document = json.loads(healthy.stdout)
    assert (healthy.returncode, document["healthy"]) == (0, True), healthy.stdout
    states = {check["check"]: check["state"] for check in document["checks"]}
    assert states["destination pacs"] == states["port"] == states["dciodvfy"] == states["clock"] == "ok"
    pacs.__exit__(None, None, None)
    node.stop()
    sick = run_here("doctor", "--json", "--config", str(node.config))
    assert sick.returncode == 1
    failed = {
        check["code"]: check for check in json.loads(sick.stdout)["checks"] if check["state"] == "failed"
    }
    assert list(failed) == ["LF-DOC-009"]
    assert failed["LF-DOC-009"]["hint"]


@pytest.mark.parametrize(
    ("command", "text", "code"),
    [
        ("serve", "[listener]\nprot = 1", "LF-CFG-003"),
        ("status", "[node", "LF-CFG-002"),
        ("doctor", "[listener]\nport = 'x'", "LF-CFG-004"),
        ("retry", "[listener]\nprot = 1", "LF-CFG-003"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_1(
    tmp_path: Path, run_here, command: str, text: str, code: str
) -> None:
    (tmp_path / "config.toml").write_text(text)
    done = run_here(command, "--config", str(tmp_path / "config.toml"))
    assert done.returncode == 1
    assert code in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "usage",
    [
        ("reconstruct", "absent.h5", "--out", "x"),
        ("frobnicate",),
        ("send", __file__),
        ("status", "--jsn"),
        ("doctor", "--config"),
        ("reconstruct", __file__, "--out", __file__),
        ("reconstruct", __file__, "--out", "x", "--weights", "absent.safetensors"),
        ("convert", __file__, "--out", "/"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_sentence_with_code_and_hint_and_exit_2(run_here, usage: tuple[str, ...]) -> None:
    done = run_here(*usage)
    assert done.returncode == 2
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error.startswith("error LF-CFG-011: ")
    assert "--help" in hint


def test_a_folder_that_cannot_be_written_is_found_before_the_work(run_here) -> None:
    done = run_here("reconstruct", __file__, "--out", "/proc/absent/out")
    assert done.returncode == 1
    assert "error LF-CFG-010: " in done.stderr


def test_version_names_commit_and_python_and_loads_nothing_else() -> None:
    program = "import sys; from lfmri_node.node.cli.main import run; run(['--version']); print(*sys.modules)"
    # -P: the folder that this runs in may hold a record of a build, which says less than that of pip
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    said, modules = done.stdout.splitlines()
    assert said.startswith(f"lfmri-node {version('lfmri-node')}")
    assert said.endswith(f", Python {platform.python_version()}")
    assert not {"torch", "numpy", "pydicom"} & set(modules.split())
    told = subprocess.run(
        ["git", "-C", Path(__file__).parent, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    commit = said.partition("(commit ")[2].partition(")")[0].removesuffix("-dirty")
    assert told.stdout.startswith(commit)
    assert bool(commit) == bool(told.stdout)


def test_version_of_the_laboratory() -> None:
    code = "import sys; sys.argv = ['lfmri-lab', '--version']; from lfmri_node.recon.lab import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lfmri-lab {version('lfmri-node')}\n", "")


def test_without_a_command_the_commands_are_listed(run_here) -> None:
    done = run_here()
    assert done.returncode == 0
    assert "doctor" in done.stdout


def test_send_needs_an_address_a_patient_and_a_node(make_scan, run_here) -> None:
    scan = str(make_scan())
    for options, code in (
        (("--to", "nowhere"), "LF-CFG-006"),
        (("--to", "LFMRI@127.0.0.1:1"), "LF-CFG-007"),
        (("--to", "LFMRI@127.0.0.1:1", "--patient-id", "X"), "LF-DEL-022"),
    ):
        done = run_here("send", scan, *options)
        assert done.returncode == 1
        assert code in done.stderr
        assert "Traceback" not in done.stderr


def test_quick_commands_import_no_numerics(node) -> None:
    """status, doctor and send answer without torch, SigPy or DBOS; status also without NumPy and pydicom."""
    Store(node.layout.job_table).close()
    heavy = {"torch", "sigpy", "dbos", "numba", "scipy"}
    small = heavy | {"numpy", "pydicom", "h5py"}
    here = ["--config", str(node.config)]
    for command, never in (
        (["status", *here], small),
        (["status", "--json", *here], small | {"rich"}),
        (["doctor", *here], heavy),
        (["send", str(node.config), "--to", "A@127.0.0.1:1"], heavy),
    ):
        program = (
            "import sys; from lfmri_node.node.cli import main as cli\n"
            f"sys.argv = ['lfmri-node', *{command!r}]\n"
            "try: cli.main()\n"
            "except SystemExit: pass\n"
            f"print(sorted({never!r} & sys.modules.keys()), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1] == "[]", command


def test_reconstruct_offline_writes_objects_pictures_and_a_summary(
    tmp_path: Path, make_scan, run_here
) -> None:
    out = tmp_path / "out"
    done = run_here("reconstruct", str(make_scan()), "--out", str(out), "--method", "zero-filled", "--json")
    assert done.returncode == 0, done.stderr
    (scan,) = json.loads(done.stdout)["scans"]
    assert scan["verdict"] == "FALLBACK"
    assert [reason["code"] for reason in scan["reasons"]] == ["LF-QUA-100"]
    assert scan["geometry_known"]
    assert not scan["identity_known"]
    assert sorted(path.name for path in out.glob("*.dcm")) == [f"fallback-000{n}.dcm" for n in (1, 2, 3)]
    assert {Path(path).name for path in scan["pictures"]} == {
        "fallback.png",
        "zero-filled.png",
        "slice.png",
        "overview.png",
    }
    assert all(Path(path).exists() for path in scan["pictures"])
    images = [dcmread(item["path"]) for item in scan["objects"]]
    assert len({image.SOPInstanceUID for image in images}) == 3
    assert images[0].PatientID.startswith("UNKNOWN-")


def test_what_is_given_stands_over_what_the_header_says(tmp_path: Path, make_scan, run_here) -> None:
    scan = str(make_scan(identity=ScanIdentity(patient_id="A1")))
    for given, expected in ((("--patient-id", "B2"), "B2"), ((), "A1")):
        out = tmp_path / expected
        done = run_here("reconstruct", scan, "--out", str(out), "--method", "zero-filled", *given)
        assert done.returncode == 0, done.stderr
        assert {dcmread(path).PatientID for path in out.glob("*.dcm")} == {expected}


def test_reconstruct_without_directions_says_so(tmp_path: Path, make_scan, run_here) -> None:
    scan = str(make_scan(read_dir=(0.0, 0.0, 0.0)))
    out = tmp_path / "out"
    done = run_here("reconstruct", scan, "--out", str(out), "--method", "zero-filled")
    assert done.returncode == 0
    assert "GEOMETRY UNKNOWN" in done.stdout
    assert "GEOMETRY UNKNOWN" in dcmread(next(out.glob("*.dcm"))).SeriesDescription


def test_reconstruct_refuses_radial_data_with_exit_3_and_writes_nothing(
    tmp_path: Path, make_scan, run_here
) -> None:
    scan = make_scan()
    with h5py.File(scan, "r+") as file:
        xml = file["dataset/xml"]
        xml[0] = xml[0].replace(b"cartesian", b"radial")
    done = run_here("reconstruct", str(scan), "--out", str(tmp_path / "out"), "--method", "zero-filled")
    assert done.returncode == 3
    assert "LF-RAW-" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_is_exit_1(tmp_path: Path, make_scan, run_here) -> None:
    scan = make_scan()
    scan.write_bytes(scan.read_bytes()[:20_000])
    done = run_here("reconstruct", str(scan), "--out", str(tmp_path / "out"), "--method", "zero-filled")
    assert done.returncode == 1
    assert "error LF-RAW-" in done.stderr
