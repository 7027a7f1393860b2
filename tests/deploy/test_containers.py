"""Images: pinned, never root, of files that are there; what they start is started here, with no container."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

import pytest

from lfmri_node.node.config import load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(path for path in DEPLOY.rglob("*Dockerfile") if path.is_file())
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+(?:\.\d+)?[\w.-]*$")
START_S = 120.0


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instruction and arguments of every line of a Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    pairs = (line.strip().partition(" ") for line in lines if line.strip())
    return [(name, " ".join(rest.split())) for name, _, rest in pairs]


def of(path: Path, name: str) -> list[str]:
    """Arguments of every instruction of this name in the last stage."""
    found = instructions(path)
    begin = max(i for i, (instruction, _) in enumerate(found) if instruction == "FROM")
    return [arguments for instruction, arguments in found[begin:] if instruction == name]


def command(path: Path, name: str) -> list[str]:
    """The words of ENTRYPOINT, CMD or HEALTHCHECK."""
    (arguments,) = of(path, name)
    words = json.loads(arguments[arguments.index("[") :])
    assert isinstance(words, list)
    return [str(word) for word in words]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_and_end_as_an_ordinary_user(path: Path) -> None:
    stages: set[str] = set()
    for name, arguments in instructions(path):
        if name == "FROM":
            image, _, stage = arguments.partition(" AS ")
            assert image in stages or PINNED.match(image), image
            stages.add(stage)
    *_, user = of(path, "USER")
    assert int(user.partition(":")[0]) > 0


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_not_ignored(path: Path) -> None:
    context = ROOT if path.parent == DEPLOY else path.parent
    ignore = path.with_name(f"{path.name}.dockerignore")
    kept = (
        [line[1:] for line in ignore.read_text().splitlines() if line.startswith("!")]
        if ignore.exists()
        else ["*"]
    )
    for name, arguments in instructions(path):
        if name == "COPY" and not arguments.startswith("--from"):
            for source in arguments.split()[:-1]:
                assert (context / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in kept), source


def test_our_own_images_have_the_version_of_the_package() -> None:
    found = set()
    for path in (
        file for file in DEPLOY.rglob("*") if file.is_file() and file.suffix in ("", ".yaml", ".sh")
    ):
        found |= set(re.findall(r"\blfmri-\w+:([\d.]+\d)", path.read_text(encoding="utf-8")))
    label = json.loads((DEPLOY / "openrecon" / "label.json").read_text())["general"]
    assert found | {label["version"], label["regulatory_information"]["production_identifier"]} == {
        version("lfmri-node")
    }


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Started:
    """A command of an image, with the configuration of that image on free ports in a folder of its own."""

    def __init__(self, words: list[str], config: Path, folder: Path) -> None:
        self.ports = {name: free_port() for name in ("listener", "mrd", "monitor")}
        text = config.read_text(encoding="utf-8")
        text = text.replace("/var/lib/lfmri-node", str(folder / "data")).replace('"0.0.0.0"', '"127.0.0.1"')
        for port, name in (("9002", "mrd"), ("9464", "monitor")):
            text = text.replace(f"port = {port}", f"port = {self.ports[name]}")
        text = text.replace("[listener]", f"[listener]\nport = {self.ports['listener']}")
        text = text.replace("172.16.0.0/12", "127.0.0.1")
        path = folder / "config.toml"
        path.write_text(text)
        program = shutil.which(words[0], path=str(Path(sys.executable).parent))
        assert program is not None, words[0]
        arguments = [str(path) if word == "/etc/lfmri-node/config.toml" else word for word in words[1:]]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, cwd=folder)

    def healthy(self, check: list[str]) -> bool:
        """The answer of an image's health check."""
        words = [word.replace("127.0.0.1:9464", f"127.0.0.1:{self.ports['monitor']}") for word in check]
        assert words != check
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, timeout=60)
        return done.returncode == 0

    def wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)  # another program's start can only be asked for

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path, Path], Started]]:
    started: list[Started] = []

    def begin(dockerfile: Path, config: Path) -> Started:
        started.append(
            Started(command(dockerfile, "ENTRYPOINT") + command(dockerfile, "CMD"), config, tmp_path)
        )
        return started[-1]

    yield begin
    for node in started:
        if node.process.poll() is None:
            node.process.kill()
            node.process.wait()


def answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_image_serves_is_healthy_and_stops_at_sigterm(start: Callable[[Path, Path], Started]) -> None:
    dockerfile = DEPLOY / "Dockerfile"
    check = command(dockerfile, "HEALTHCHECK")
    node = start(dockerfile, DEPLOY / "container.toml")
    node.wait_until(lambda: node.healthy(check))
    assert answers(node.ports["listener"])
    assert node.stop() == 0
    assert not node.healthy(check)


def test_the_openrecon_image_takes_mrd_streams(start: Callable[[Path, Path], Started]) -> None:
    node = start(DEPLOY / "openrecon" / "Dockerfile", DEPLOY / "openrecon" / "node.toml")
    node.wait_until(lambda: answers(node.ports["mrd"]))
    assert node.stop() == 0


def test_a_container_that_nobody_configured_lets_nobody_in() -> None:
    config = load(DEPLOY / "container.toml")
    assert (config.listener.allow, config.mrd.allow) == ((), ())
    exposed = {int(port) for port in of(DEPLOY / "Dockerfile", "EXPOSE")[0].split()}
    assert exposed == {config.listener.port, config.mrd.port, config.monitor.port}


def test_folders_that_a_read_only_image_writes_to_are_volumes() -> None:
    volumes = json.loads(of(DEPLOY / "Dockerfile", "VOLUME")[0])
    config = load(DEPLOY / "container.toml")
    assert str(config.node.data_dir) in volumes
    (environment,) = of(DEPLOY / "Dockerfile", "ENV")
    assert dict(word.split("=", 1) for word in environment.split())["NUMBA_CACHE_DIR"] in volumes
