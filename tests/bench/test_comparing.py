"""`bench access` and `bench traces`: two real servers in two modes, side by side; what is left of the speed is told. `bench timing`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fhir_dmp.bench.comparing import PAIRS
from fhir_dmp.cli import cli
from fhir_dmp.commands.bench import APART

SHAPE = ["--size", "tiny", "--seconds", "0.3", "--connections", "2", "--repetitions", "1", "--driver", "sockets", "--workers", "1"]
WAYS = ["read", "vread", "history", "search by _id", "PATCH", "Binary, GET", "Binary, HEAD"]
WAYS += ["read in a dossier that refuses", "search in a dossier that refuses"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder that keeps what was loaded for the next benchmark of the same size."""
    return tmp_path_factory.mktemp("loaded") / "data"


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The page of figures of a source folder, with a place for every measurement; its text once they are taken."""
    (tmp_path / "ig").mkdir()
    file = tmp_path / "ig" / "performance.md"
    file.write_text("".join(f"<!-- {name}: begin -->\nthe former figures\n<!-- {name}: end -->\n" for name in APART), "utf-8")
    monkeypatch.chdir(tmp_path)

    def text(name: str) -> str:
        found = file.read_text("utf-8")
        assert found.count("the former figures") == len(APART) - 1 and str(tmp_path) not in found
        return found.partition(f"<!-- {name}: begin -->\n")[2].partition(f"<!-- {name}: end -->")[0]

    return text


def measured(name, data, page, *options):
    """What the command says, what it writes for programs, and what it puts into the page."""
    done = CliRunner().invoke(cli, ["bench", name, *options, "--data", str(data), "--json", "out.json", "--write"])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output, json.loads(Path("out.json").read_text("utf-8")), page(name)


@pytest.mark.parametrize("name", ["traces"])  # the other pair differs in its modes alone
def test_two_modes_are_compared_in_one_run(name, data, page):
    output, value, text = measured(name, data, page, *SHAPE)
    found, pair = value["lines"], PAIRS[name]
    assert [(one["work"], one["connections"], one["errors"]) for one in found] == [("read", 2, {}), ("search", 2, {})]
    assert all(one["share"] > 0 and set(one["rates"]) == {pair.without, pair.with_} for one in found)
    assert all(f"req/s {pair.without}" in each and f"(target {pair.target:.0%})" in each for each in (output, text))
    assert not list((data / "bench" / "runs").iterdir())


@pytest.mark.at_length
def test_a_profile_tells_what_requests_cost_by_parts(data, page):
    output, value, text = measured("profile", data, page, *SHAPE[:2], "--seconds", "2", *SHAPE[4:])
    assert [(one["work"], one["mode"], one["errors"]) for one in value["columns"]] == [
        (work, mode, {}) for mode in ("sandbox", "production") for work in ("read", "search")
    ]
    last = value["columns"][-1]
    assert sum(last["parts"].values()) == pytest.approx(last["cpu"]) and last["mongod"] > 0
    assert last["parts"]["rules"] > 0 and last["parts"]["trace: made, sealed, chained, stored"] > 0
    assert "| worker in all |" in text and "worker in all" in output


@pytest.mark.at_length
def test_times_of_hidden_and_absent_are_judged_and_written(data, page):
    _, value, text = measured("timing", data, page, "--size", "tiny", "--requests", "100")
    lines = value["lines"]
    assert [one["name"] for one in lines] == WAYS and {one["requests"] for one in lines} == {50}
    assert all(one["interval"][0] < one["auc"] < one["interval"][1] and one["auc"] >= 0.5 for one in lines)
    assert all(f"| {name} |" in text for name in WAYS)


@pytest.mark.at_length
def test_the_modes_with_rules_measure_what_can_be_asked_there(tmp_path, data):
    """Deposits of a professional and of a source, reads by him, and by a colleague among what is masked from her; every answer right."""
    asked = ["W1", "W2", "W4", "W7", "W8", "--mode", "production"]
    done = CliRunner().invoke(cli, ["bench", *asked, *SHAPE, "--data", str(data), "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads((tmp_path / "out.json").read_text())
    names = [point["name"] for point in found["points"]]
    assert names == ["S", "F", "I", "W2", "W4", "W8 read", "W8 search", "W1", "W7"]
    assert found["faults"] == [] and all(
        point["samples"] for point in found["points"] if point["name"].startswith("W") and point["answered"]
    )
    titles = {row["name"]: row["title"] for row in found["figures"]}
    assert "in a dossier" in titles["W4"] and "another host" in titles["W7"]


def test_imports_are_compared_with_bare_inserts_as_the_store_grows(data, page):
    output, found, text = measured("import", data, page, "--size", "tiny", "--seconds", "0.3")
    portions = found["portions"]
    assert [(one["before"], one["entries"], one["refused"]) for one in portions] == [(0, 400, 0), (400, 400, 0)]
    assert all(one["rows"] > 0 and one["cpu"] > 0 and one["mongod"] > 0 and one["mib"] > 20 for one in portions)
    assert found["ratio"] == pytest.approx(sum(one["ratio"] for one in portions) / 2) and found["row_bytes"] > 1000
    assert "entries/s" in output and f"Ratio to B {found['ratio']:.3f}" in text


@pytest.mark.at_length
def test_the_memory_of_an_import_is_watched_from_its_beginning_to_its_end(data, page):
    output, found, text = measured("streaming", data, page, "--size", "tiny")
    assert found["bytes"] >= 6_000_000 and found["accepted"] == found["entries"] > 500
    # The command and its two workers.
    assert len(found["samples"]) > 2 and 100 < found["peak"] < found["limit"]
    assert all(f"at most {found['peak']:,.0f} MiB" in each for each in (output, text))


@pytest.mark.at_length
def test_memory_is_watched_for_as_long_as_asked(data, page):
    output, found, text = measured("lasting", data, page, *SHAPE[:2], "--seconds", "4", *SHAPE[4:])
    assert found["requests"] > 0 and found["errors"] == {} and len(found["parts"]) == 6
    assert 50 < min(part for part in found["parts"] if part) <= found["peak"] and len(found["samples"]) > 3
    assert all(f"at most {found['peak']:,.0f} MiB" in each for each in (output, text))
