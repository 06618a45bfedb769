"""Conversations: their notation, what stops a build, and that what the guide prints is what the server says.

https://hl7.org/fhir/R4/http.html
"""

import importlib.util
import json
import re
import subprocess

import pytest

from fhir_dmp.guide import holding, scene, sequence, snippets, sources
from fhir_dmp.guide.conversations import Answer, Broken, Exchange, examine, kept, read

# What differs from one server to the next: ids, versions, instants, and what follows from them.
CHANGING = (
    (re.compile(r"(urn:uuid:)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[a-z2-7]{26}\b"), "ID"),
    (re.compile(r"\b[a-z2-7]{13}\b"), "VERSION"),
    (re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?"), "TIME"),
    (re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "DATE"),
    (re.compile(r'"(value(?:Base64Binary|String)|data|value)": ?"[^"]{16,}"'), "VALUE"),
    (re.compile(r'"query": ?"[^"]*"|urn:ietf:params:oauth:jti:[^"]*'), "QUERY"),
    (re.compile(r'"(challenge|access_token)": ?"[^"]+"|Bearer [\w.-]+|secret=\w+|"code": ?"\d{8}"|\d+\. \d{8}'), "SECRET"),
    (re.compile(r"\b[a-z0-9]{4}(-[a-z0-9]{4}){2,3}\b|(import|package)-\d{14}|\(\d+ bytes\)"), "WORD"),
    (re.compile(r"_cursor=[\w%-]+|[0-9a-f]{32}"), "MARK"),
)


def answer(status=200, body='{"total": 1, "text": "abc"}', **headers):
    return Answer(status, "OK", {"content-type": "application/fhir+json", **headers}, body)


def test_a_file_is_read_into_exchanges(tmp_path):
    path = tmp_path / "a.http"
    path.write_text(
        "# A story.\n\n### first\n# @as nadia\n# @fr Elle demande\n# @en She asks\n# @expect 201\n# @keep id header:Location Patient/(.+)\n"
        '# @check total = 1\nPOST /Patient\nContent-Type: application/fhir+json\n\n{"a": "{{b}}"}\n\n### second\nPOST /\n',
        "utf-8",
    )
    first, second = read(path)
    assert (first.name, first.who, first.method, first.path, first.expect) == ("first", "nadia", "POST", "/Patient", 201)
    assert first.title == {"fr": "Elle demande", "en": "She asks"} and first.headers == (("Content-Type", "application/fhir+json"),)
    assert first.filled({"b": "c"}).body == '{"a": "c"}' and second.path == ""
    with pytest.raises(Broken, match="nothing is known as b"):
        first.filled({})


@pytest.mark.parametrize("text", ["### a\n# @nonsense b\nGET /\n", "### a\n\n", "###\nGET /\n", "### a\n# @check total\nGET /\n"])
def test_what_cannot_be_read_is_told(tmp_path, text):
    (tmp_path / "a.http").write_text(text, "utf-8")
    with pytest.raises(Broken, match="a.http"):
        read(tmp_path / "a.http")


@pytest.mark.parametrize(
    ("check", "given"),
    [
        (("total", "=", "2"), answer()),
        (("total", "!=", "1"), answer()),
        (("text", "~", "^b"), answer()),
        (("body", "lacks", "abc"), answer()),
        (("text", "absent", ""), answer()),
        (("nothing", "present", ""), answer()),
        (("total", "=", "1"), answer(status=404)),
    ],
)
def test_an_answer_that_is_not_the_expected_one_breaks_the_build(check, given):
    with pytest.raises(Broken, match="a.http, one"):
        examine(Exchange("one", "a.http", "GET", "/Patient", check=(check,)), given)


def test_a_value_that_is_not_there_cannot_be_kept():
    exchange = Exchange("one", "a.http", "GET", "/", keep=(("id", "header:Location", "Patient/(.+)"),))
    assert kept(exchange, answer(location="https://x/fhir/Patient/abc")) == {"id": "abc"}
    with pytest.raises(Broken, match="to keep as id"):
        kept(exchange, answer())


@pytest.mark.parametrize("text", ["A says B", "A -> B", "note A"])
def test_a_diagram_that_means_nothing_breaks_the_build(text):
    with pytest.raises(ValueError, match="no such line"):
        sequence.svg(text)
    with pytest.raises(ValueError, match="no such line"):
        scene.svg(f"Lettre\n{text}", "fr")


def test_pictures_are_told_in_words_and_hold_no_style():
    made = sequence.svg("A -> B: <b>&\nnote B: attend\nB --> A: 200") + scene.svg("Lettre | masquée\n+ Nadia\n! Dr <X> | y\n- Z", "en")
    assert "style=" not in made and "<b>" not in made and "Nadia sees, Dr &lt;X&gt; (y) sees, warned, Z sees nothing" in made


@pytest.fixture(scope="module")
def printed(guide):
    """What the guide shows."""
    return json.loads((guide / "conversations.json").read_text("utf-8"))


@pytest.mark.at_length
def test_held_again_the_conversations_are_those_that_are_printed(printed):
    with holding.server() as running:
        held = holding.hold(running, sources.CONVERSATIONS)
    now = {name: each.as_json() for name, each in held.items()}
    # How many traces there are under the head at that moment depends on when it is signed.
    assert list(now) == list(printed)
    before, after = (normal({name: one for name, one in each.items() if name != "proof"}) for each in (printed, now))
    assert {name: (before[name], after[name]) for name in before if before[name] != after[name]} == {}


def normal(value: dict) -> dict[str, str]:
    """Exchanges as text without what changes."""
    made = {}
    for name, one in json.loads(json.dumps(value)).items():
        text = json.dumps([one["asked"], one["answer"]["status"], one["answer"]["body"], sorted(one["answer"]["headers"])])
        for pattern, word in CHANGING:
            text = pattern.sub(word, text.replace('\\"', '"'))
        made[name] = text
    return made


def test_python_and_javascript_shown_are_programs(printed, tmp_path):
    """Each Python snippet compiles; each is shown with its own address and headers."""
    for one in printed.values():
        fields = {name: value for name, value in one["asked"].items() if name not in ("headers", "keep", "check", "run")}
        asked = Exchange(**fields, headers=tuple(map(tuple, one["asked"]["headers"])))
        for language, _, text in snippets.all_of(asked):
            assert asked.path in text.replace("\\$", "$"), language
        compile(snippets.python(asked), asked.name, "exec")


def test_curl_shown_is_what_a_shell_runs(printed, tmp_path):
    """A curl that prints its arguments gets those of the exchange."""
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nfor one in "$@"; do printf "%s\\0" "$one"; done\n', "utf-8")
    fake.chmod(0o755)
    for one in printed.values():
        fields = {name: value for name, value in one["asked"].items() if name not in ("headers", "keep", "check", "run")}
        asked = Exchange(**fields, headers=tuple(map(tuple, one["asked"]["headers"])))
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "BASE": "https://b/fhir", "TOKEN": "t"}
        done = subprocess.run(["sh", "-c", snippets.curl(asked)], env=environment, capture_output=True, text=True, check=True)
        given = done.stdout.split("\0")[:-1]
        assert f"https://b{'' if asked.outside else '/fhir'}{asked.path}" in given
        assert [f"{name}: {value}" for name, value in asked.headers if f"{name}: {value}" not in given] == []
        assert not asked.body or given[-1] == asked.body


def test_the_proof_of_a_trace_does_not_hold_for_another_trace(printed, guide):
    checked = load_check()
    trace, proof = printed["trace"]["answer"]["body"], json.loads(printed["proof"]["answer"]["body"])
    checked.check(trace.encode(), proof)
    with pytest.raises(AssertionError):
        checked.check(trace.replace("fhir-dmp", "fhir-dnp", 1).encode(), proof)


def load_check():
    """ig/check_proof.py as a module."""
    spec = importlib.util.spec_from_file_location("check_proof", sources.ROOT / "ig" / "check_proof.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_runner_and_the_guide_speak_to_the_same_transactions(printed):
    """Every transaction of the DMP is in both."""
    scripts = " ".join(path.read_text("utf-8") for path in sources.PROFILES.glob("TestScript-*.json"))
    shown = " ".join(one["asked"]["path"] for one in printed.values())
    for operation in ("$open", "$close", "$reactivate", "$break-glass"):
        assert operation in scripts and operation in shown
