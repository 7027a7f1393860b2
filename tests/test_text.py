"""Documentation and source agree: error codes, configuration, commands; nothing of a machine in the text."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from lfmri_node.node.cli.main import app
from lfmri_node.node.config import (
    Config,
    DicomDestinationSection,
    FolderSection,
    GatewaySection,
    OrthancDestinationSection,
    PipelineSection,
    StowDestinationSection,
    from_document,
    load,
)
from lfmri_node.node.config.audit import SyslogSection
from lfmri_node.node.config.doors import StreamingCaller
from lfmri_node.node.config.network import AllowedCaller
from lfmri_node.node.config.rules import OnlySection
from lfmri_node.node.config.tls import ClientTlsSection, ListenerTlsSection, PagesTlsSection
from lfmri_node.node.config.watching import MailSection, WebhookSection
from lfmri_node.recon.lab import app as lab_app
from lfmri_node.recon.train.recipes import all_recipes

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "deploy" / "docs"
PAGES = (*(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")), *DOCS.rglob("*.md"))
SOURCES = ("node", "dicom_io", "recon", "deploy", "tests")
TEXT = {".py", ".md", ".toml", ".json", ".txt", ".service", ".yaml", ".yml", ".html", ".js", ".css", ""}
CODE = re.compile(r'"(LF-[A-Z]{3}-\d{3})\b')


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every text file of the repository but this one."""
    inside = (path for folder in SOURCES for path in (ROOT / folder).rglob("*"))
    for path in (*inside, *ROOT.glob("*"), ROOT / ".ci" / "run"):
        if path.is_file() and path.suffix in TEXT and path != Path(__file__):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def rows(page: Path) -> list[list[str]]:
    """Cells of every table row of a page, head rows left out."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {i - 1 for i, row in enumerate(cells) if set("".join(row)) <= set("-:")}
    return [row for i, row in enumerate(cells) if i not in heads and i - 1 not in heads]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w.])/(?:work|root|home|Users|mnt)/\w",
        # but for the one archive that `lfmri-node viewer` says it fetches
        r"https?://(?!registry\.npmjs\.org/@ohif/)[\w.-]*(?:pypi|pythonhosted|npmjs|artifactory|nexus|proxy)\b",
        r"--(?:extra-)?index-url",
    ],
)
def test_no_paths_of_a_machine_and_no_registries(pattern: str) -> None:
    found = [f"{name}: {match[0]}" for name, text in texts() for match in re.finditer(pattern, text)]
    assert found == []


def codes_in_source() -> dict[str, set[str]]:
    """Error code -> layers whose source states it as a value."""
    found: dict[str, set[str]] = {}
    for layer in ("node", "dicom_io", "recon"):
        for path in (ROOT / layer).rglob("*.py"):
            for code in CODE.findall(path.read_text(encoding="utf-8")):
                found.setdefault(code, set()).add(layer)
    return found


def test_every_error_code_is_documented_once_with_cause_and_remedy() -> None:
    documented = [row for row in rows(DOCS / "errors.md") if row[0].startswith("LF-")]
    assert sorted(row[0] for row in documented) == sorted(codes_in_source())
    assert all(len(row) == 3 and all(row) for row in documented)


def test_every_error_code_belongs_to_one_layer() -> None:
    assert {code: layers for code, layers in codes_in_source().items() if len(layers) > 1} == {}


def keys(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Key path and default, as configuration.md writes them."""
    for name, field in model.model_fields.items():
        yield f"`{prefix}.{name}`", "required" if field.is_required() else f"`{shown(field.default)}`"


def shown(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, default=str)


def test_every_configuration_key_is_documented_with_its_default() -> None:
    models = {name: field.annotation for name, field in Config.model_fields.items()}
    sections = {name: model for name, model in models.items() if isinstance(model, type)}
    tables = {
        "listener.allow": AllowedCaller,
        "listener.tls": ListenerTlsSection,
        "mrd.allow": StreamingCaller,
        "mrd.tls": ListenerTlsSection,
        "folders": FolderSection,
        "gateways.NAME": GatewaySection,
        "destinations.tls": ClientTlsSection,
        "audit.syslog": SyslogSection,
        "console.tls": PagesTlsSection,
    }
    expected = dict(
        row
        for prefix, model in [
            *sections.items(),
            *tables.items(),
            ("pipelines", PipelineSection),
            ("ONLY", OnlySection),
            ("destinations", DicomDestinationSection),
            ("destinations", OrthancDestinationSection),
            ("notify", WebhookSection),
            ("notify", MailSection),
            ("destinations", StowDestinationSection),
        ]
        if issubclass(model, BaseModel)
        for row in keys(model, prefix)
    )
    page = rows(DOCS / "configuration.md")
    documented = {row[0]: row[1] for row in page if not row[0].startswith("`lfmri-node ")}
    assert documented == expected


def options_of(application: typer.Typer) -> dict[str, set[str]]:
    """Command -> its options, both names of a flag."""
    commands = typer.main.get_command(application).commands  # type: ignore[attr-defined]
    return {
        name: {
            option
            for p in command.params
            for option in (*p.opts, *p.secondary_opts)
            if option.startswith("--") and option != "--help"
        }
        for name, command in commands.items()
    }


def test_every_command_is_documented_with_its_options() -> None:
    expected = {f"`lfmri-node {name}`": options for name, options in options_of(app).items()}
    page = rows(DOCS / "configuration.md")
    documented = {
        row[0]: set(re.findall(r"--[\w-]+", row[2])) for row in page if row[0].startswith("`lfmri-node ")
    }
    assert documented == expected


def test_every_command_of_the_laboratory_is_documented_with_its_options() -> None:
    expected = {f"`lfmri-lab {name}`": options for name, options in options_of(lab_app).items()}
    page = [row for row in rows(DOCS / "laboratory.md") if row[0].startswith("`lfmri-lab ")]
    assert {row[0]: set(re.findall(r"--[\w-]+", row[2])) for row in page} == expected


def test_every_recipe_is_documented() -> None:
    text = (DOCS / "laboratory.md").read_text(encoding="utf-8").partition("## Recipes")[2].partition("## ")[0]
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`([a-z0-9-]+)`", table)) - {"-f0", "-f1", "-f2"}
    assert {_without_fold(name) for name in all_recipes()} == {_without_fold(name) for name in named}


def _without_fold(name: str) -> str:
    return re.sub(r"-f\d$", "", name)


def test_the_shipped_configuration_is_accepted() -> None:
    assert load(ROOT / "config.toml").listener.allow


@pytest.mark.parametrize(
    "page",
    ["README.md", "deploy/docs/configuration.md", "deploy/docs/certificates.md", "deploy/docs/console.md"],
)
def test_configuration_in_the_documentation_is_accepted(page: str) -> None:
    for block in re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        from_document(tomllib.loads(block), base=ROOT, name=page)


def test_the_fault_tests_that_are_named_exist() -> None:
    named = {row[0].strip("`") for row in rows(DOCS / "fault-tests.md")}
    jobs = ROOT / "tests" / "node" / "jobs"
    here = [jobs / f"test_{name}.py" for name in ("kill", "outages", "databases", "places")]
    here.append(ROOT / "tests" / "node" / "delivery" / "test_destinations.py")
    pages = (*here, *(ROOT / "tests" / "faults").glob("test_*.py"))
    tests = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert named == set(re.findall(r"^def (test_\w+)", tests, re.MULTILINE))


def test_orthanc_beside_the_node_knows_it_by_its_address() -> None:
    orthanc = json.loads((ROOT / "deploy" / "orthanc.json").read_text(encoding="utf-8"))
    (node,) = orthanc["DicomModalities"].values()
    ours = load(ROOT / "config.toml")
    assert (node["AET"], node["Port"]) == (ours.node.ae_title, ours.listener.port)
    assert not any(value for name, value in orthanc.items() if name.startswith("DicomAlwaysAllow"))


def test_links_in_the_pages_lead_to_files() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_files_and_folders_that_the_pages_name_exist() -> None:
    """With the layers' folders in front; decisions name what there was when they were taken."""
    for page in PAGES:
        if page.parent.name == "decisions":
            continue
        for name in re.findall(
            r"(?<![\w./-])(?:node|dicom_io|recon|tests)/[\w/-]+(?:\.\w+)*", page.read_text("utf-8")
        ):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_error_codes_in_the_pages_exist() -> None:
    for page in PAGES:
        named = set(re.findall(r"LF-[A-Z]{3}-\d{3}", page.read_text(encoding="utf-8")))
        assert named <= set(codes_in_source()), page.name
