"""`bench traces`: two real servers on one store, one of which traces; what is left of the speed is told."""

import json

from click.testing import CliRunner

from fhir_dmp.bench import traces
from fhir_dmp.cli import cli


def test_reads_with_and_without_traces_are_compared_in_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr(traces, "DOSSIERS", 2)
    monkeypatch.setattr(traces, "DOCUMENTS", 3)
    shape = ["--seconds", "0.3", "--connections", "2", "--repetitions", "1", "--driver", "sockets", "--workers", "1"]
    done = CliRunner().invoke(cli, ["bench", "traces", *shape, "--data", str(tmp_path / "data"), "--json", str(tmp_path / "out.json")])
    assert done.exit_code == 0, (done.output, done.exception)
    found = json.loads((tmp_path / "out.json").read_text())
    assert [(one["work"], one["connections"], one["errors"]) for one in found] == [("read", 2, {}), ("search", 2, {})]
    assert all(one["share"] > 0 and set(one["rates"]) == {traces.WITH, traces.WITHOUT} for one in found)
    assert "without" in done.output and "(target 50%)" in done.output
    assert not list((tmp_path / "data" / "bench" / "runs").iterdir())
