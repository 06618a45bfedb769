"""`bench access` and `bench traces`: two real servers in two modes, side by side; what is left of the speed is told. `bench timing`."""

import json

import pytest
from click.testing import CliRunner

from fhir_dmp.bench.comparing import PAIRS
from fhir_dmp.cli import cli

SHAPE = ["--size", "tiny", "--seconds", "0.3", "--connections", "2", "--repetitions", "1", "--driver", "sockets", "--workers", "1"]
WAYS = ["read", "vread", "history", "search by _id", "PATCH", "Binary, GET", "Binary, HEAD"]
WAYS += ["read in a dossier that refuses", "search in a dossier that refuses"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder that keeps what was loaded for the next benchmark of the same size."""
    return tmp_path_factory.mktemp("loaded") / "data"


@pytest.mark.parametrize("name", ["traces"])  # the other pair differs in its modes alone
def test_two_modes_are_compared_in_one_run(name, tmp_path, data):
    done = CliRunner().invoke(cli, ["bench", name, *SHAPE, "--data", str(data), "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, (done.output, done.exception)
    found, pair = json.loads((tmp_path / "out.json").read_text()), PAIRS[name]
    assert [(one["work"], one["connections"], one["errors"]) for one in found] == [("read", 2, {}), ("search", 2, {})]
    assert all(one["share"] > 0 and set(one["rates"]) == {pair.without, pair.with_} for one in found)
    assert f"req/s {pair.without}" in done.output and f"(target {pair.target:.0%})" in done.output
    assert not list((data / "bench" / "runs").iterdir())


@pytest.mark.at_length
def test_times_of_hidden_and_absent_are_judged_and_written(tmp_path, monkeypatch, data):
    (tmp_path / "ig").mkdir()
    page = tmp_path / "ig" / "performance.md"
    page.write_text("before\n<!-- timing: begin -->\nold\n<!-- timing: end -->\nafter\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    files = ["--data", str(data), "--json", str(tmp_path / "out.json"), "--write"]
    done = CliRunner().invoke(cli, ["bench", "timing", "--size", "tiny", "--requests", "100", *files])
    assert done.exit_code == 0, (done.output, done.exception)
    lines = json.loads((tmp_path / "out.json").read_text())["lines"]
    assert [one["name"] for one in lines] == WAYS and {one["requests"] for one in lines} == {50}
    assert all(one["interval"][0] < one["auc"] < one["interval"][1] and one["auc"] >= 0.5 for one in lines)
    text = page.read_text("utf-8")
    assert "old" not in text and text.startswith("before") and text.endswith("after\n")
    assert all(f"| {name} |" in text for name in WAYS) and str(tmp_path) not in text


@pytest.mark.at_length
def test_the_modes_with_rules_measure_what_can_be_asked_there(tmp_path, data):
    """Deposits of a professional, reads by him, and by a colleague among what is masked from her; every sampled answer right."""
    asked = ["W1", "W2", "W4", "W5", "W7", "W8", "--mode", "production"]
    done = CliRunner().invoke(cli, ["bench", *asked, *SHAPE, "--data", str(data), "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads((tmp_path / "out.json").read_text())
    names = [point["name"] for point in found["points"]]
    assert names == ["S", "F", "I", "W2", "W8 read", "W8 search", "W1", "W5x3"]
    assert found["faults"] == [] and all(point["samples"] for point in found["points"] if point["name"].startswith("W"))


def test_imports_are_compared_with_bare_inserts_as_the_store_grows(tmp_path, monkeypatch, data):
    (tmp_path / "ig").mkdir()
    page = tmp_path / "ig" / "performance.md"
    page.write_text("before\n<!-- import: begin -->\nold\n<!-- import: end -->\nafter\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    files = ["--data", str(data), "--json", str(tmp_path / "out.json"), "--write"]
    done = CliRunner().invoke(cli, ["bench", "import", "--size", "tiny", "--seconds", "0.3", *files])
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads((tmp_path / "out.json").read_text())
    portions = found["portions"]
    assert [(one["before"], one["entries"], one["refused"]) for one in portions] == [(0, 400, 0), (400, 400, 0)]
    assert all(one["rows"] > 0 and one["cpu"] > 0 and one["mongod"] > 0 and one["mib"] > 20 for one in portions)
    assert found["ratio"] == pytest.approx(sum(one["ratio"] for one in portions) / 2) and found["row_bytes"] > 1000
    text = page.read_text("utf-8")
    assert "old" not in text and f"{found['ratio']:.3f}" in text and str(tmp_path) not in text
    assert not list((data / "bench" / "runs").iterdir())


@pytest.mark.at_length
def test_the_memory_of_an_import_is_watched_from_its_beginning_to_its_end(tmp_path):
    done = CliRunner().invoke(
        cli, ["bench", "streaming", "--size", "tiny", "--data", str(tmp_path / "data"), "--json", str(tmp_path / "out.json")]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["bytes"] >= 6_000_000 and found["accepted"] == found["entries"] > 500
    # The command and its two workers.
    assert len(found["samples"]) > 2 and 100 < found["peak"] < found["limit"] and f"{found['peak']:,.0f} MiB" in done.output


@pytest.mark.at_length
def test_memory_is_watched_for_as_long_as_asked(tmp_path, monkeypatch, data):
    (tmp_path / "ig").mkdir()
    page = tmp_path / "ig" / "performance.md"
    page.write_text("before\n<!-- lasting: begin -->\nold\n<!-- lasting: end -->\nafter\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    shape = [*SHAPE[:2], "--seconds", "4", *SHAPE[4:]]
    done = CliRunner().invoke(cli, ["bench", "lasting", *shape, "--data", str(data), "--json", str(tmp_path / "out.json"), "--write"])
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["requests"] > 0 and found["errors"] == {} and len(found["parts"]) == 6
    assert 50 < min(part for part in found["parts"] if part) <= found["peak"] and len(found["samples"]) > 3
    text = page.read_text("utf-8")
    assert "old" not in text and f"at most {found['peak']:,.0f} MiB" in text and str(tmp_path) not in text
