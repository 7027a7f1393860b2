"""compose.yaml: of the published form, nothing as root; files, hosts and ports in it belong together."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lfmri_node.node.config import load
from lfmri_node.node.viewer.front import PROXIED, SETTINGS

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
YAML = """
extends: default
rules: {line-length: {max: 120}, document-start: disable, octal-values: disable,
        braces: {max-spaces-inside: 1},
        comments: {min-spaces-from-content: 1}}
"""
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+[\w.-]*$")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def config():
    return load(DEPLOY / "compose" / "node.toml")


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_yaml_is_clean(path):
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", YAML, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_it_has_the_form_of_the_compose_specification():
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_nothing_runs_as_root_or_may_become_it(compose):
    for name, service in compose["services"].items():
        assert int(str(service["user"]).partition(":")[0]) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "privileged" not in service, name
        assert PINNED.match(service["image"]), name


def test_only_the_door_of_the_node_is_open_to_other_machines(compose):
    ports = {name: service.get("ports", []) for name, service in compose["services"].items()}
    everywhere = {
        (name, port) for name, of in ports.items() for port in of if not port.startswith("127.0.0.1:")
    }
    assert everywhere == {("node", "11112:11112")}


def test_the_commands_are_those_of_this_version(compose, require_command):
    ours = [service for service in compose["services"].values() if service["image"].startswith("lfmri-node:")]
    assert len(ours) == 3
    for service in ours:
        require_command(service["command"])
        assert "./compose/node.toml:/etc/lfmri-node/config.toml:ro" in service["volumes"]
        assert service["command"][-1] == "/etc/lfmri-node/config.toml"
    names = [service["command"][2] for service in ours if service["command"][0] == "worker"]
    assert len(set(names)) == 2


def test_files_that_are_mounted_or_built_are_there(compose):
    for service in compose["services"].values():
        for source in (
            volume.partition(":")[0] for volume in service.get("volumes", []) if volume.startswith("./")
        ):
            assert (DEPLOY / source).is_file(), source
        if build := service.get("build"):
            context = DEPLOY / build["context"]
            assert (context / build["dockerfile"]).is_file()


def test_volumes_secrets_and_networks_are_declared(compose):
    for service in compose["services"].values():
        named = {v.partition(":")[0] for v in service.get("volumes", []) if not v.startswith("./")}
        assert named <= set(compose["volumes"])
        secrets = {s if isinstance(s, str) else s["source"] for s in service.get("secrets", [])}
        assert secrets <= set(compose["secrets"])
        assert set(service["networks"]) <= set(compose["networks"])


def test_the_node_finds_database_and_archive_where_they_are(compose, config):
    services, secrets = compose["services"], compose["secrets"]
    environment = services["postgres"]["environment"]
    expected = f"postgresql://{environment['POSTGRES_USER']}@postgres:5432/{environment['POSTGRES_DB']}"
    assert config.queue.url == expected
    assert not config.queue.compute
    orthanc = json.loads((DEPLOY / "compose" / "orthanc.json").read_text())
    (destination,) = config.destinations
    assert destination.url == f"http://orthanc:{orthanc['HttpPort']}"
    for path in (
        config.queue.password_file,
        destination.password_file,
        environment["POSTGRES_PASSWORD_FILE"],
    ):
        assert Path(path).parent == Path("/run/secrets")
        assert Path(path).name in secrets
    assert str(config.node.data_dir) in [v.partition(":")[2] for v in services["node"]["volumes"]]


def test_this_machine_may_send_and_nobody_else(compose, config):
    (caller,) = config.listener.allow
    (subnet,) = compose["networks"]["scans"]["ipam"]["config"]
    assert caller.address == subnet["gateway"]
    assert config.listener.host == "0.0.0.0"
    assert compose["services"]["node"]["ports"][0].endswith(f":{config.listener.port}")


def test_prometheus_asks_the_node_and_has_its_alarms(compose, config):
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    (job,) = settings["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"node:{config.monitor.port}"]}]
    mounted = {v.split(":")[1]: v.split(":")[0] for v in compose["services"]["prometheus"]["volumes"]}
    (rules,) = settings["rule_files"]
    alerts = (DEPLOY / mounted[rules]).read_text()
    assert f'up{{job="{job["job_name"]}"}}' in alerts


def test_the_viewer_shows_what_orthanc_serves():
    conf = (DEPLOY / "compose" / "viewer.conf").read_text()
    assert "location ~ ^/(dicom-web/|wado) {" in conf
    assert PROXIED == ("/dicom-web/", "/wado")
    assert "limit_except GET { deny all; }" in conf
    script = (DEPLOY / "compose" / "app-config.js").read_text()
    assert json.loads(script.removeprefix("window.config = ").rstrip().removesuffix(";")) == SETTINGS
    orthanc = json.loads((DEPLOY / "compose" / "orthanc.json").read_text())
    assert (orthanc["DicomWeb"]["Root"], orthanc["DicomWeb"]["WadoRoot"]) == ("/dicom-web/", "/wado")
