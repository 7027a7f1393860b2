"""The manifests keep the rules of the restricted profile, and what they name in each other is there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from lfmri_node.node.config import from_document

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
APART = {"secret.example.yaml", "gpu-workers.yaml", "kustomization.yaml"}
"""Not applied with the rest."""


def objects(name):
    return [
        document for document in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")) if document
    ]


EVERY = [document for path in sorted(FOLDER.glob("*.yaml")) for document in objects(path.name)]
SETS = [document for document in EVERY if document["kind"] == "StatefulSet"]


def pods():
    return [pytest.param(one["spec"]["template"]["spec"], id=one["metadata"]["name"]) for one in SETS]


def test_everything_but_the_secret_and_the_gpu_is_applied_together():
    (kustomization,) = objects("kustomization.yaml")
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert set(kustomization["resources"]) == files - APART


def test_everything_is_in_a_namespace_that_lets_in_nothing_but_the_restricted():
    (namespace,) = (document for document in EVERY if document["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    placed = [d for d in EVERY if d["kind"] not in ("Namespace", "Kustomization")]
    assert {d["metadata"]["namespace"] for d in placed} == {namespace["metadata"]["name"]}


@pytest.mark.parametrize("pod", pods())
def test_the_restricted_profile(pod):
    """Pod Security Standards, restricted: volumes, users, privileges, seccomp."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    allowed = {"configMap", "secret", "persistentVolumeClaim", "emptyDir"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
    for container in pod["containers"]:
        confined = container["securityContext"]
        assert confined["allowPrivilegeEscalation"] is False
        assert confined["readOnlyRootFilesystem"] is True
        assert confined["capabilities"] == {"drop": ["ALL"]}
        assert all("hostPort" not in port for port in container.get("ports", []))
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("pod", pods())
def test_commands_are_ours_and_images_pinned(pod, require_command):
    for container in pod["containers"]:
        require_command(container["args"])
        assert re.fullmatch(r"lfmri-node:\d+\.\d+\.\d+(-cuda)?", container["image"])


@pytest.mark.parametrize("pod", pods())
def test_what_a_pod_mounts_is_there(pod):
    named = {volume["name"] for volume in pod["volumes"]}
    there = {(d["kind"], d["metadata"]["name"]) for d in EVERY if "metadata" in d}
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} == named
    for volume in pod["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in there
        if "secret" in volume:
            assert ("Secret", volume["secret"]["secretName"]) in there
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there


@pytest.mark.parametrize("one", SETS, ids=lambda one: one["metadata"]["name"])
def test_the_names_of_the_pods_belong_to_a_service(one):
    services = {d["metadata"]["name"]: d for d in EVERY if d["kind"] == "Service"}
    selector = services[one["spec"]["serviceName"]]["spec"]["selector"]
    assert selector.items() <= one["spec"]["template"]["metadata"]["labels"].items()
    assert one["spec"]["selector"]["matchLabels"] == one["spec"]["template"]["metadata"]["labels"]


@pytest.fixture(scope="module")
def config():
    (settings,) = objects("config.yaml")
    document = tomllib.loads(settings["data"]["config.toml"])
    return from_document(document, base=Path("/etc/lfmri-node"), name="config.toml")


def test_the_configuration_is_accepted_and_fits_the_pods(config):
    (node,) = (one for one in SETS if one["metadata"]["name"] == "lfmri-node")
    (container,) = node["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"dicom": config.listener.port, "monitor": config.monitor.port}
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
    assert mounts["data"] == config.node.data_dir
    assert config.queue.password_file.parent == mounts["secrets"]
    (secret,) = objects("secret.example.yaml")
    assert set(secret["stringData"]) == {config.queue.password_file.name}
    probes = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness")}
    assert probes == {"/healthz", "/readyz"}
    assert node["spec"]["replicas"] == 1  # one listener for one data directory


def test_nobody_talks_to_anybody_unless_a_policy_says_so(config):
    policies = {d["metadata"]["name"]: d["spec"] for d in EVERY if d["kind"] == "NetworkPolicy"}
    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    open_ports = {port["port"] for rule in policies["node"]["ingress"] for port in rule["ports"]}
    assert open_ports == {config.listener.port, config.monitor.port}
    (pacs,) = config.destinations
    assert policies["node"]["egress"][0]["ports"] == [{"port": pacs.port}]
    every = [p for spec in policies.values() for way in ("ingress", "egress") for p in spec.get(way, [])]
    assert all(rule.get("from") or rule.get("to") for rule in every)


def test_gpu_workers_ask_for_a_gpu_and_the_image_with_cuda():
    (gpu,) = (one for one in SETS if "gpu" in one["metadata"]["name"])
    (container,) = gpu["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"].endswith("-cuda")
