"""Settings: one table, four sources, clear refusals."""

import pytest

from fhir_dmp.settings import SETTINGS, SettingError, load
from tests.serving import run


def test_command_line_wins_over_environment_over_file_over_default(tmp_path):
    (tmp_path / "fhir-dmp.toml").write_text('port = 1\nworkers = 2\nhost = "0.0.0.0"\n')
    found = load({"port": 3, "host": None}, {"FHIR_DMP_PORT": "4", "FHIR_DMP_WORKERS": "5"}, tmp_path)
    assert (found.settings.port, found.settings.workers, found.settings.host) == (3, 5, "0.0.0.0")
    origins = [found.origins[name] for name in ("port", "workers", "host", "database")]
    assert origins == ["command line", "environment", "fhir-dmp.toml", "default"]


@pytest.mark.parametrize(
    "name, given",
    [
        ("port", "http"),
        ("port", "70000"),
        ("port", "-1"),
        ("sandbox", "maybe"),
        ("log_level", "loud"),
        ("token_skew_seconds", "61"),
        ("max_count", "0"),
    ],
)
def test_value_that_cannot_be_used_is_refused_with_its_name(tmp_path, name, given):
    with pytest.raises(SettingError, match=name):
        load({}, {f"FHIR_DMP_{name.upper()}": given}, tmp_path)


@pytest.mark.parametrize("text", ["prot = 1", "port = 'x'", "port = 1.5", "port = true", "port ="])
def test_file_with_a_fault_is_refused(tmp_path, text):
    (tmp_path / "fhir-dmp.toml").write_text(text)
    with pytest.raises(SettingError):
        load({}, {}, tmp_path)


def test_every_setting_says_what_it_is_and_its_default_is_valid():
    for setting in SETTINGS:
        assert setting.help and not setting.help.endswith(".")
        assert setting.default is None or isinstance(setting.default, setting.type)


def test_settings_command_prints_values_and_origins_but_no_secret(tmp_path):
    done = run("settings", "--mongodb-uri", "mongodb://user:hunter2@db/", environment={"FHIR_DMP_PORT": "9"}, cwd=tmp_path)
    rows = {line.split("\t")[0]: line.split("\t") for line in done.stdout.splitlines() if "\t" in line}
    assert set(rows) == {setting.name for setting in SETTINGS}
    assert rows["port"][1:3] == ["9", "environment"]
    assert rows["mongodb_uri"][1:3] == ["(set)", "command line"]
    assert "hunter2" not in done.stdout
