"""The benchmark measures real answers: a tiny run of two workloads on a real server."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fhir_dmp.bench import report
from tests.serving import run

PEERS = """
| server | data | work | conns | req/s (rep 1 / 2) | p50 ms |
|---|---|---|---|---|---|
| other | small | W2 | 2 | 1,234 / 567 | 1 |
"""


BEGIN, END = (f"<!-- bench production tiny: {word} -->" for word in ("begin", "end"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """(what it printed, its figures, the page it wrote) of `bench W2 W3` on forty patients."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "ig").mkdir()
    page = folder / "ig" / report.PAGE
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    (folder / "peers.md").write_text(PEERS, "utf-8")
    shape = (
        "--size",
        "tiny",
        "--seconds",
        "0.3",
        "--connections",
        "2",
        "--repetitions",
        "1",
        "--driver",
        "sockets",
        "--workers",
        "1",
        "--mode",
        "production",
    )
    files = ("--data", "data", "--json", "out.json", "--peers", "peers.md", "--write")
    done = run("bench", "W2", "W3", *shape, *files, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "out.json").read_text("utf-8")), page


def test_every_point_has_answers_and_no_error(ran):
    _, found, _ = ran
    assert [(point["name"], point["connections"]) for point in found["points"]] == [("S", 2), ("F", 2), ("W2", 2), ("W3", 2)]
    assert all(point["requests"] > 0 and not point["errors"] for point in found["points"])
    assert found["faults"] == []


def test_the_server_has_counted_what_the_driver_counted(ran):
    _, found, _ = ran
    for point in found["points"]:
        if point["name"].startswith("W"):
            more = sum(point["answered"].values()) - point["requests"] - point["samples"]
            assert point["samples"] > 0 and 0 <= more <= 2, point


def test_figures_carry_ratios_times_and_what_processes_used(ran):
    _, found, _ = ran
    read = next(row for row in found["figures"] if row["name"] == "W2")
    floor = next(row for row in found["figures"] if row["name"] == "F")
    assert read["ratio"] == pytest.approx(read["rates"][0] / floor["rates"][0])
    assert 0 < read["times_ms"][0] <= read["times_ms"][1] <= read["times_ms"][2]
    assert set(read["cores"]) == {"server", "mongod", "client"} and read["cores"]["server"] > 0 and read["mib"]["server"] > 10


def test_the_page_holds_the_report_between_its_markers(ran):
    printed, _, page = ran
    text = page.read_text("utf-8")
    assert text.startswith("before\n" + BEGIN) and text.endswith(END + "\nafter\n") and "\nold\n" not in text
    assert "| W2 | read by id | 2 |" in text and "1,234" in text and str(Path.home()) not in text
    assert "No errors; every sampled answer was right." in printed


def test_a_run_that_the_page_does_not_know_yet_gets_a_section(tmp_path):
    page = tmp_path / report.PAGE
    page.write_text("before\n", "utf-8")
    for text in ("first", "second"):
        report.put(page, "bench rules tiny", text, "### rules")
    assert (
        page.read_text("utf-8") == "before\n\n### rules\n\n<!-- bench rules tiny: begin -->\n\nsecond\n\n<!-- bench rules tiny: end -->\n"
    )


def test_the_plot_is_an_image(ran):
    root = ElementTree.parse(ran[2].with_name(report.PICTURE)).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and any("W3" in (node.text or "") for node in root.iter())
