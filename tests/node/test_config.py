"""config.toml is read strictly: whatever is not understood is an error that names its path."""

import json
from pathlib import Path

import pytest

from lfmri_node.node.config import load
from lfmri_node.node.config.secrets import named_secrets
from lfmri_node.node.errors import ConfigError
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.recon.types import Method

REPOSITORY = Path(__file__).resolve().parents[2]


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    return caught.value


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[listener]\nprot = 104", "listener.prot"),
        ("[node]\nae_titel = 'X'", "node.ae_titel"),
        ("speed = 1", "speed"),
        ("[listener]\nallow = [{ae_title = 'A', adress = '127.0.0.1'}]", "listener.allow[0].adress"),
        ("[gateways.SCANNER1]\nfft_sgn = 1", "gateways.SCANNER1.fft_sgn"),
        (
            "[[destinations]]\nkind = 'dicom'\nname = 'p'\nhost = 'h'\nport = 4\nae_title = 'A'\ntsl = true",
            "destinations[0].tsl",
        ),
    ],
)
def test_unknown_key_names_its_path(tmp_path: Path, text: str, where: str) -> None:
    error = refusal(tmp_path, text)
    assert error.code == "LF-CFG-003"
    assert f"unknown key {where}" in error.message


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[listener]\nport = '104'", "listener.port"),
        ("[listener]\nport = 70000", "listener.port"),
        ("[node]\nkeep_reconstructions = 1", "node.keep_reconstructions"),
        ("[node]\nae_title = 'LONGER THAN SIXTEEN'", "node.ae_title"),
        ("[listener]\nallow = [{ae_title = 'A', address = 'localhost'}]", "listener.allow[0].address"),
        ("[gateways.A]\nfft_sign = 2", "gateways.A.fft_sign"),
        ("[recon]\nmethod = 'magic'", "recon.method"),
        ("[retry]\nbase_s = 0", "retry.base_s"),
        ("[retry]\nbase_s = 10\ncap_s = 5", "retry"),
        ("[logging]\nlevel = 'chatty'", "logging.level"),
        ("[node]\nae_title = 'LFMRI '", "node.ae_title"),
        ("[node]\nae_title = ' LFMRI'", "node.ae_title"),
        ("[node]\nae_title = '   '", "node.ae_title"),
        ("[node]\nae_title = 'LF\u00c4RI'", "node.ae_title"),
        ("[gateways.'SCANNER1 ']\nfft_sign = 1", "gateways.SCANNER1 "),
        ("[listener]\nallow = [{ae_title = 'A ', address = '127.0.0.1'}]", "listener.allow[0].ae_title"),
        ("[node]\ndata_dir = ''", "node.data_dir"),
        ('[node]\ndata_dir = "a\\u0000b"', "node.data_dir"),
        ("[listener]\nhost = ''", "listener.host"),
        ("[listener]\nhost = 'a..b'", "listener.host"),
        ("[objects]\ndevice_serial_number = 'A\\B'", "objects.device_serial_number"),
        ("[objects]\ndevice_serial_number = ' '", "objects.device_serial_number"),
        (
            "[[destinations]]\nkind = 'dicom'\nname = 'p'\nhost = 'h h'\nport = 4\nae_title = 'A'",
            "destinations[0].host",
        ),
        ("[[destinations]]\nkind = 'orthanc'\nname = 'p'\nurl = 'http://'", "destinations[0].url"),
        ("[[destinations]]\nkind = 'orthanc'\nname = 'p'\nurl = 'http://u:p@h'", "destinations[0].url"),
        ("[[destinations]]\nkind = 'orthanc'\nname = 'p'\nurl = 'http://h:99999'", "destinations[0].url"),
        ("[[destinations]]\nkind = 'fax'\nname = 'p'", "destinations[0]"),
        (
            "[[destinations]]\nkind = 'stow'\nname = 'p'\nurl = 'http://h'\nuser = 'u'\ntoken_file = 't'",
            "destinations[0]",
        ),
        (
            "[[destinations]]\nkind = 'stow'\nname = 'p'\nurl = 'http://h'\nmax_request_mb = 0",
            "destinations[0].max_request_mb",
        ),
        ("[[destinations]]\nkind = 'orthanc'\nname = 'p'\nurl = 'ftp://x'", "destinations[0].url"),
    ],
)
def test_wrong_value_names_its_path(tmp_path: Path, text: str, where: str) -> None:
    error = refusal(tmp_path, text)
    assert error.code == "LF-CFG-004"
    assert f"{where}:" in error.message


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "-1"])
@pytest.mark.parametrize(
    "key",
    [
        "node.drain_s",
        "node.housekeeping_s",
        "listener.network_timeout_s",
        "listener.free_space_floor_gb",
        "recon.memory_limit_gb",
        "recon.stage_limit_s",
        "retry.base_s",
        "retry.cap_s",
    ],
)
def test_a_number_that_no_clock_and_no_disk_has_is_refused(tmp_path: Path, key: str, value: str) -> None:
    section, _, name = key.partition(".")
    error = refusal(tmp_path, f"[{section}]\n{name} = {value}")
    assert error.code == "LF-CFG-004"
    assert f"{key}:" in error.message


def test_two_destinations_of_one_name_are_refused(tmp_path: Path) -> None:
    one = "[[destinations]]\nkind = 'dicom'\nname = 'p'\nhost = 'h'\nport = 104\nae_title = 'A'\n"
    assert refusal(tmp_path, one + one).code == "LF-CFG-004"


def test_not_toml_and_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path, "[node\n").code == "LF-CFG-002"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "absent.toml")
    assert caught.value.code == "LF-CFG-001"


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    config = load(written(folder, "[node]\ndata_dir = 'store'\n[recon]\nweights = '/w/own.safetensors'"))
    assert config.node.data_dir == folder / "store"
    assert config.recon.weights == Path("/w/own.safetensors")
    assert load(written(folder, "")).node.data_dir == folder / "data"


def test_callers_are_denied_and_nothing_leaves_by_default(tmp_path: Path) -> None:
    config = load(written(tmp_path, ""))
    assert config.listener.allow == ()
    assert config.listener.host == "127.0.0.1"
    assert config.destinations == ()


def test_password_comes_from_environment_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "[[destinations]]\nkind = 'orthanc'\nname = 'o'\nurl = 'http://localhost:8042'\nuser = 'u'\n"
    (tmp_path / "secret").write_text("from-file\n", encoding="utf-8")
    monkeypatch.setenv("ORTHANC_PASSWORD_OF_TEST", "from-environment")
    by_file = load(written(tmp_path, head + "password_file = 'secret'")).destinations[0]
    by_environment = load(written(tmp_path, head + "password_env = 'ORTHANC_PASSWORD_OF_TEST'")).destinations[
        0
    ]
    assert by_file.kind == by_environment.kind == "orthanc"
    assert by_file.password() == "from-file"
    assert by_environment.password() == "from-environment"
    monkeypatch.delenv("ORTHANC_PASSWORD_OF_TEST")
    with pytest.raises(ConfigError) as caught:
        by_environment.password()
    assert caught.value.code == "LF-CFG-005"
    for content in (b"", b"\n", b"\xff\xfe", "\u65e5\u672c".encode(), b"two\nlines"):
        (tmp_path / "secret").write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            by_file.password()
        assert caught.value.code == "LF-CFG-005"
    assert refusal(tmp_path, head + "password = 'inline'").code == "LF-CFG-003"


def test_gateway_without_a_section_gets_the_defaults(tmp_path: Path) -> None:
    config = load(written(tmp_path, "[gateways.SCANNER1]\nfft_sign = 1\nflip_phase = true"))
    assert config.gateway("SCANNER1").fft_sign == 1
    assert config.gateway("SCANNER1").flip_phase
    assert config.gateway("OTHER").fft_sign == -1


def test_every_secret_that_is_named_is_known(tmp_path: Path) -> None:
    """However deep: `doctor` looks at the files, and the worker does not get the variables."""
    text = """
    [queue]
    url = "postgresql://lfmri@db/lfmri"
    password_env = "QUEUE"
    [console]
    users_file = "users"
    tls = {certificate = "c.pem", key = "c.key"}
    [listener]
    tls = {certificate = "l.pem", key = "l.key", ca = "ca.pem"}
    [audit.syslog]
    host = "siem"
    ca = "ca.pem"
    certificate = "s.pem"
    key = "s.key"
    [[destinations]]
    kind = "dicom"
    name = "d"
    host = "pacs"
    port = 104
    ae_title = "PACS"
    tls = {ca = "ca.pem", certificate = "d.pem", key = "d.key"}
    [[destinations]]
    kind = "stow"
    name = "s"
    url = "https://pacs"
    token_file = "token"
    [[destinations]]
    kind = "orthanc"
    name = "o"
    url = "https://orthanc"
    user = "u"
    password_env = "ORTHANC"
    [[notify]]
    kind = "webhook"
    name = "w"
    url = "https://hook"
    secret_file = "secret"
    [[notify]]
    kind = "mail"
    name = "m"
    host = "mail"
    sender = "a@b"
    to = ["c@d"]
    user = "u"
    password_file = "mail"
    """
    secrets = named_secrets(load(written(tmp_path, text)))
    keys = {"c.key", "l.key", "s.key", "d.key"}
    assert {path.name for path in secrets.files} == {"users", "token", "secret", "mail"} | keys
    assert secrets.variables == {"QUEUE", "ORTHANC"}


def test_shipped_configuration_is_valid_and_safe() -> None:
    config = load(REPOSITORY / "config.toml")
    assert config.listener.host == "127.0.0.1"
    assert all(caller.address == "127.0.0.1" for caller in config.listener.allow)
    assert config.recon.method is Method.LF_MRI
    assert config.retry.max_attempts == 0


def test_the_date_of_the_comparison_is_read_and_is_no_part_of_a_jobs_identity(tmp_path: Path) -> None:
    plain = load(written(tmp_path, "[recon]\nmethod = 'cg-sense'\n[gateways.A]\nfft_sign = 1"))
    dated = load(
        written(
            tmp_path,
            "[recon]\nmethod = 'cg-sense'\n[gateways.A]\nfft_sign = 1\norientation_verified = 2026-11-29",
        )
    )
    recipe = Recipe.of(dated, "A")
    assert recipe.reader["orientation_verified"] == "2026-11-29"
    assert recipe.pixel_settings() == Recipe.of(plain, "A").pixel_settings()
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert refusal(tmp_path, "[gateways.A]\norientation_verified = 'yes'").code == "LF-CFG-004"
