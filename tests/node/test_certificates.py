"""The page about certificates, done as it says: a CA of OpenSSL, a node with its files, a gateway."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "deploy" / "docs" / "certificates.md"


@pytest.fixture
def files(tmp_path: Path, program: Callable[[str], Path]) -> Path:
    """The folder in which the shell lines of the page have run."""
    program("openssl")
    folder = tmp_path / "pki"
    folder.mkdir()
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def openssl(line: str, folder: Path) -> None:
    subprocess.run(line.split(), cwd=folder, capture_output=True, check=True)


def configured(node, files: Path) -> None:
    node.configure(
        f"""
        [listener.tls]
        certificate = "{files / "node.pem"}"
        key = "{files / "node.key"}"
        ca = "{files / "ca.pem"}"
        crl = "{files / "crl.pem"}"
        """
    )
    text = node.config.read_text(encoding="utf-8")
    bound = 'address = "127.0.0.1", certificate = "gateway.example.org"'
    node.config.write_text(text.replace('address = "127.0.0.1"', bound), encoding="utf-8")


def send(node, scan: Path, files: Path, *, secured: bool = True) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "lfmri_node.node.cli",
        "send",
        str(scan),
        "--patient-id",
        "SENTINEL-4711",
    ]
    command += ["--to", f"LFMRI@127.0.0.1:{node.port}"]
    tls = ["--tls-ca", "ca.pem", "--tls-cert", "gateway.pem", "--tls-key", "gateway.key"]
    return subprocess.run(
        [*command, *(tls if secured else [])], cwd=files, capture_output=True, text=True, check=False
    )


def test_as_the_page_says(node, make_scan, files: Path) -> None:
    configured(node, files)
    node.start()
    scan = make_scan()
    assert send(node, scan, files, secured=False).returncode == 1
    done = send(node, scan, files)
    assert done.returncode == 0, done.stderr
    node.wait_finished()
    revoke, new = (
        re.findall(r"`(openssl ca [^`]+)`", PAGE.read_text("utf-8"))[0],
        re.search(r"^openssl ca .*-gencrl.*$", PAGE.read_text("utf-8"), re.MULTILINE),
    )
    assert new is not None
    openssl(revoke, files)
    openssl(new[0], files)
    assert send(node, make_scan("second.h5", seed=2), files).returncode == 1
    node.stop()
    assert "certificate revoked" in "".join(node.lines)


def test_a_node_without_its_key_does_not_start(node, files: Path) -> None:
    configured(node, files)
    (files / "node.key").unlink()
    node.launch_command()
    assert node.stop_waiting() == 1
    assert "LF-NET-043" in "".join(node.lines)
