"""`fhir-dmp import`: what it takes, what it says of what it does not take, and that everything taken is read back as it was sent."""

import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from functools import cache

import httpx
import pytest

from fhir_dmp.fhir import json as exact
from tests.exchange.loading import FIXTURES, sources
from tests.interactions.making import Fhir, basic, bundle, dumped, entry, identified, observation, patient, unique
from tests.serving import here, run, serving

# (place, status) -> why an example is refused: it is no data, or asks for what this server does not promise.
EXPLAINED = {
    ("r4-examples/Bundle.ndjson:6 entry[0]", 404): "a batch of reads; the Patient of the first one is an example of another site",
    ("r4-examples/Bundle.ndjson:6 entry[1]", 400): "a functional list, `_list=$current-medications`",
    ("r4-examples/Bundle.ndjson:6 entry[2]", 400): "a functional list, `_list=$current-allergies`",
    ("r4-examples/Bundle.ndjson:6 entry[3]", 400): "a functional list, `_list=$current-problems`",
    ("r4-examples/Bundle.ndjson:6 entry[4]", 400): "`notgiven`, a search parameter of an earlier FHIR",
}


# --- everything there is, imported and read back ---


@pytest.fixture(scope="module")
def reader(imported):
    """A client of a server on the imported data."""
    with serving(imported.data.parent, name=imported.data.name) as server, httpx.Client(timeout=120, headers=server.auth) as http:
        yield Fhir(server, http)


def test_no_refusal_without_an_explanation(imported):
    refused = {(told["place"], told["status"]): told["outcome"] for told in imported.told if told["status"] >= 400}
    assert {key: value for key, value in refused.items() if key not in EXPLAINED} == {}
    assert all(outcome["issue"][0]["diagnostics"] for outcome in refused.values())
    assert imported.code == (3 if refused else 0)


def sent(folder, place: str) -> tuple[dict, dict | None]:
    """The resource at a place of the report, and its Bundle. Exact trees."""
    whole, _, inside = place.partition(" entry[")
    tree = parsed(folder, whole)
    if not inside:
        return tree, None
    found = tree["entry"][int(inside[:-1])]
    return found.get("resource", {}), tree


@cache
def parsed(folder, place: str) -> dict:
    name, _, line = place.partition(":")
    data = (folder / name).read_bytes()
    data = gzip.decompress(data) if name.endswith(".gz") else data
    return exact.parse_exact(data.splitlines()[int(line) - 1] if line else data)


def links(folder, told: list[dict]) -> dict[str, dict[str, str]]:
    """Of each Bundle, by its place: fullUrl -> `Type/id` that it became."""
    found: dict[str, dict[str, str]] = {}
    for line in told:
        place, inside, index = line["place"].partition(" entry[")
        if inside and "location" in line:
            full_url = sent(folder, line["place"])[1]["entry"][int(index[:-1])].get("fullUrl", "")
            found.setdefault(place, {})[full_url] = identity(line["location"])
    return found


def identity(location: str) -> str:
    return location.partition("/_history")[0]


def differences(before: object, after: object, rewritten: dict[str, str], path: str) -> Iterator[str]:
    """Where a resource read differs from what was sent, numbers by their text. rewritten: references that a Bundle's entries became."""
    if isinstance(before, dict) and isinstance(after, dict):
        if list(before) != list(after):
            yield f"{path}: members {list(before)} became {list(after)}"
        for name in before.keys() & after.keys():
            yield from differences(before[name], after[name], rewritten, f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{path}: {len(before)} items became {len(after)}"
        for index, (old, new) in enumerate(zip(before, after, strict=False)):
            yield from differences(old, new, rewritten, f"{path}[{index}]")
    elif isinstance(before, str) and isinstance(after, str):
        if (
            before != after
            and rewritten.get(before) != after
            and not (_is_search(before) and after.startswith(before.partition("?")[0] + "/"))
        ):
            replaced = before
            for old, new in rewritten.items():
                replaced = replaced.replace(old, new) if old else replaced
            if replaced != after:
                yield f"{path}: `{before[:80]}` became `{after[:80]}`"
    elif text(before) != text(after):
        yield f"{path}: {text(before)} became {text(after)}"


def _is_search(reference: str) -> bool:
    return reference.partition("?")[0].isalpha() and "?" in reference


def text(value: object) -> object:
    return bytes(value) if isinstance(value, exact.Exact) else (type(value), value)


def without_stamp(resource: dict) -> dict:
    """Without id, versionId and lastUpdated, which the server owns."""
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated", "_lastUpdated")}
    rest = {name: value for name, value in resource.items() if name not in ("id", "meta")}
    return {**rest, **({"meta": meta} if meta else {})}


@pytest.mark.parametrize("source", sources())
def test_everything_accepted_is_read_back_as_it_was_sent(imported, reader, source):
    told = [line for line in imported.told if line["place"].startswith(f"{source}/") and "location" in line]
    assert told
    became = links(imported.folder, told)
    wrong = []
    for start in range(0, len(told), 200):
        part = told[start : start + 200]
        answer = reader.post("", bundle("batch", *(entry("GET", line["location"]) for line in part)))
        entries = exact.parse_exact(answer.content)["entry"]
        for line, got in zip(part, entries, strict=True):
            assert got["response"]["status"] == "200 OK", line
            before, whole = sent(imported.folder, line["place"])
            request = asked(whole, line)
            if request.get("method") == "PATCH" or (line["status"] == 200 and "ifNoneExist" in request):
                continue  # a change of what was there before, or what was there before, perhaps with other words
            rewritten = became.get(line["place"].partition(" entry[")[0], {}) if whole else {}
            given = before.get("id") if not whole or whole["type"] in ("collection", "searchset", "history") else None
            if given is not None and got["resource"]["id"] != given:
                wrong.append(f"{line['place']}: id {given} became {got['resource']['id']}")
            wrong += differences(without_stamp(before), without_stamp(got["resource"]), rewritten, line["place"])
    assert wrong == []


def asked(whole: dict | None, line: dict) -> dict:
    """Request of an entry, {} of what is none."""
    return {} if whole is None else whole["entry"][int(line["place"].partition(" entry[")[2][:-1])].get("request", {})


def test_everything_accepted_is_found_by_a_search_on_its_type(imported, reader):
    expected: dict[str, set[str]] = {}
    for line in imported.told:
        if "location" in line:
            expected.setdefault(line["location"].partition("/")[0], set()).add(identity(line["location"]))
    gone = {"Goal/arret-du-tabac"}
    for type_name, identities in expected.items():
        found: set[str] = set()
        url = f"{type_name}?_count=1000&_elements=id"
        while url and len(found) < 10_000:
            page = reader.get(url).json()
            found |= {f"{type_name}/{hit['resource']['id']}" for hit in page.get("entry", ())}
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        assert identities - gone <= found, type_name


def test_the_last_version_of_an_imported_history_is_the_current_one(reader):
    assert reader.get("Goal/walk").json()["description"]["text"] == "Marcher une heure"
    assert reader.get("Goal/arret-du-tabac").status_code == 410
    assert reader.get("Goal/walk/_history").json()["total"] == 2


def test_an_entry_of_a_collection_finds_the_patient_beside_it(reader):
    (hit,) = reader.get("Patient?family=ozenne").json()["entry"]
    found = reader.get(f"Observation?subject=Patient/{hit['resource']['id']}")
    assert b'"value":0.0100000000000000000000000000001}' in found.content and found.json()["total"] == 1
    assert b'"value":162.00,' in reader.get("Observation/height-solange").content


def test_a_document_stays_one_resource_an_outcome_is_no_data(imported, reader):
    assert reader.get("Bundle/compte-rendu").json()["type"] == "document"
    places = {line["place"] for line in imported.told}
    assert "own/searchset.json entry[0]" in places and "own/searchset.json entry[1]" not in places


# --- forms of input, faults, exit codes ---


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running sandbox, which every import of these tests joins."""
    with serving(tmp_path_factory.mktemp("joined")) as running:
        yield running


@pytest.fixture(scope="module")
def fhir(server):
    with httpx.Client(timeout=60, headers=server.auth) as http:
        yield Fhir(server, http)


@pytest.fixture
def load(server, tmp_path):
    """Import into the running server: (exit code, lines of the report, what was printed)."""

    def loaded(*paths: object, stdin: bytes | None = None) -> tuple[int, list[dict], str]:
        report = tmp_path / "report.ndjson"
        code, said = here("import", *paths, "--data", server.data, "--report", report, stdin=stdin)
        return code, [json.loads(line) for line in report.read_text("utf-8").splitlines()], said

    return loaded


def ndjson(*resources: dict) -> bytes:
    return b"".join(dumped(resource) + b"\n" for resource in resources)


def test_every_form_of_file_in_one_folder_into_a_running_server(load, fhir, tmp_path):
    folder, mark = tmp_path / "folder", unique()
    (folder / "deep").mkdir(parents=True)
    made = iter([identified("Basic", mark) for _ in range(12)])
    (folder / "a.json").write_bytes(dumped(next(made)))
    (folder / "b.ndjson").write_bytes(ndjson(next(made), next(made)) + b"\n\n")
    (folder / "c.json.gz").write_bytes(gzip.compress(dumped(next(made))))
    (folder / "deep" / "d.NDJSON.gz").write_bytes(gzip.compress(ndjson(next(made), next(made))))
    (folder / "e.gz").write_bytes(gzip.compress(ndjson(next(made), next(made))))
    with zipfile.ZipFile(folder / "f.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/one.json", dumped(next(made)))
        archive.writestr("two.ndjson", ndjson(next(made)))
        archive.writestr("three.ndjson.gz", gzip.compress(ndjson(next(made))))
        archive.writestr("readme.txt", b"not data")
    (folder / "g.json").write_bytes(json.dumps(next(made), indent=2).encode())
    (folder / "notes.txt").write_bytes(b"not data")
    code, told, said = load(folder)
    assert code == 0 and "12 accepted, 0 refused" in said, said
    assert {line["place"] for line in told} == {
        *("a.json", "b.ndjson:1", "b.ndjson:2", "c.json.gz", "deep/d.NDJSON.gz:1", "deep/d.NDJSON.gz:2", "e.gz:1", "e.gz:2"),
        *("f.zip!x/one.json", "f.zip!two.ndjson:1", "f.zip!three.ndjson.gz:1", "g.json"),
    }
    assert all(line["status"] == 201 and line["location"].startswith("Basic/") for line in told)
    assert fhir.get(f"Basic?identifier=urn:x-test|{mark}").json()["total"] == 12


def new() -> dict:
    """A resource without any id, known by its content and its place."""
    return basic(code={"text": unique()})


@pytest.mark.parametrize(
    ("stdin", "count"),
    [
        (ndjson(new(), new(), new()), 3),
        (dumped(new()), 1),
        (json.dumps(new(), indent=1).encode(), 1),
        (dumped(bundle("transaction", entry("POST", "Basic", new()), entry("POST", "Basic", new()))), 2),
    ],
    ids=["ndjson", "one", "one on several lines", "transaction"],
)
def test_standard_input(load, stdin, count):
    code, told, _ = load("-", stdin=stdin)
    assert code == 0 and [line["status"] for line in told] == [201] * count
    assert told[0]["place"].startswith("standard input")


def test_a_bad_line_is_told_with_place_and_reason_and_the_others_are_stored(load, fhir, tmp_path):
    mark, path = unique(), tmp_path / "mixed.ndjson"
    good = dumped(identified("Basic", mark))
    lines = [
        good,
        b'{"resourceType":"Patient","gender":"f","birthDate":"2026-02-30"}',
        b"not json",
        b'{"resourceType":"Nothing"}',
        b'{"no":"type"}',
        b'{"resourceType":"Basic","id":"a_b","code":{"text":"a"}}',
        b'{"resourceType":"Basic","code":{"text":"a","text":"b"}}',
        b'{"resourceType":"Bundle","type":"nothing"}',
        b'{"resourceType":"Bundle","type":"collection","entry":{}}',
        b'{"resourceType":"Bundle","type":"collection","entry":[1,null,{"resource":2}]}',
        b'{"resourceType":"Bundle","type":"transaction","entry":7}',
        b"[" * 100_000,
        b"\xff\xfe",
        b"{}",
        b"[]",
        good,
    ]
    path.write_bytes(b"\n".join(lines))
    code, told, said = load(path)
    status = {line["place"]: line["status"] for line in told}
    assert code == 3 and (status["mixed.ndjson:1"], status["mixed.ndjson:16"]) == (201, 201)
    assert fhir.get(f"Basic?identifier=urn:x-test|{mark}").json()["total"] == 2
    refused = [line for line in told if line["status"] >= 400]
    assert {int(line["place"].partition(":")[2].partition(" ")[0]) for line in refused} == set(range(2, 16))
    assert all(400 <= line["status"] < 500 and line["outcome"]["issue"][0]["diagnostics"] for line in refused), refused
    second = next(line for line in told if line["place"] == "mixed.ndjson:2")
    assert {issue["expression"][0] for issue in second["outcome"]["issue"]} == {"Patient.gender", "Patient.birthDate"}
    assert "mixed.ndjson:2: 422 Patient.gender" in said or "mixed.ndjson:2: 422 Patient.birthDate" in said
    assert "2 accepted" in said


def test_a_transaction_is_all_or_nothing_a_batch_is_not(load, fhir, tmp_path):
    mark = unique()
    wrong = entry("POST", "Patient", {"resourceType": "Patient", "gender": "f"})
    right = entry("POST", "Basic", identified("Basic", mark))
    (tmp_path / "t.json").write_bytes(dumped(bundle("transaction", right, wrong)))
    (tmp_path / "b.json").write_bytes(dumped(bundle("batch", right, wrong)))
    code, told, _ = load(tmp_path / "t.json")
    assert code == 3 and [line["place"] for line in told] == ["t.json"]
    assert told[0]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[1].resource.gender"]
    assert fhir.get(f"Basic?identifier=urn:x-test|{mark}").json()["total"] == 0
    code, told, _ = load(tmp_path / "b.json")
    assert code == 3 and [(line["place"], line["status"]) for line in told] == [("b.json entry[0]", 201), ("b.json entry[1]", 422)]
    assert fhir.get(f"Basic?identifier=urn:x-test|{mark}").json()["total"] == 1


def test_damaged_files_never_stop_the_others(load, tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "a.json.gz").write_bytes(b"not gzip")
    (folder / "b.ndjson.gz").write_bytes(gzip.compress(ndjson(*[basic(code={"text": unique()}) for _ in range(200)]))[:-60])
    (folder / "c.zip").write_bytes(b"PK\x03\x04 not an archive")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("a.json", dumped(basic()))
        writer.writestr("b.json", dumped(basic(code={"text": "damage this"})))
        writer.writestr("c.json", dumped(basic()))
    (folder / "d.zip").write_bytes(archive.getvalue().replace(b"damage this", b"DAMAGED IT!", 1))
    (folder / "e.json").write_bytes(b"")
    (folder / "f.json").write_bytes(dumped(basic()))
    code, told, _ = load(folder)
    status = {line["place"]: line["status"] for line in told}
    assert code == 3
    assert {place for place, found in status.items() if found == 400} == {"a.json.gz", "b.ndjson.gz", "c.zip", "d.zip!b.json", "e.json"}
    assert {"b.ndjson.gz:1", "d.zip!a.json", "d.zip!c.json", "f.json"} <= {place for place, found in status.items() if found == 201}
    assert all(line["outcome"]["issue"][0]["diagnostics"] for line in told if line["status"] == 400)


def test_a_conditional_reference_is_resolved_by_a_later_file(load, fhir, tmp_path):
    folder, mark = tmp_path / "later", unique()
    folder.mkdir()
    about = observation(f"Patient?identifier=urn:x-test|{mark}")
    (folder / "a.json").write_bytes(dumped(bundle("transaction", entry("POST", "Observation", about))))
    (folder / "z.json").write_bytes(dumped(identified("Patient", mark)))
    code, told, _ = load(folder)
    assert code == 0, told
    person = fhir.get(f"Patient?identifier=urn:x-test|{mark}").json()["entry"][0]["resource"]["id"]
    assert fhir.get(f"Observation?subject=Patient/{person}").json()["total"] == 1


def test_ids_are_kept_the_same_twice_is_once_something_new_is_a_version(load, fhir, tmp_path):
    id = unique()
    (tmp_path / "a.json").write_bytes(dumped(basic(id=id)))
    first, second = load(tmp_path / "a.json"), load(tmp_path / "a.json")
    assert (first[1][0]["status"], second[1][0]["status"]) == (201, 200)
    assert first[1][0]["location"] == second[1][0]["location"] and "1 of them imported before" in second[2]
    assert second[1][0]["outcome"]["issue"][0]["severity"] == "information"
    assert fhir.get(f"Basic/{id}/_history").json()["total"] == 1
    (tmp_path / "a.json").write_bytes(dumped(basic(id=id, code={"text": "changed"})))
    assert load(tmp_path / "a.json")[1][0]["status"] == 200
    assert fhir.get(f"Basic/{id}/_history").json()["total"] == 2


def test_lines_about_one_resource_take_effect_in_their_order(load, fhir, tmp_path):
    id = unique()
    (tmp_path / "a.ndjson").write_bytes(ndjson(*[basic(id=id, code={"text": str(n)}) for n in range(30)]))
    code, told, _ = load(tmp_path / "a.ndjson")
    assert code == 0 and len(told) == 30
    assert fhir.get(f"Basic/{id}").json()["code"]["text"] == "29"


def test_what_cannot_be_imported_at_all_exits_with_1(server, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(dumped(patient()))
    done = run("import", str(path), "--source", "nobody", "--data", str(server.data))
    assert (done.returncode, done.stdout) == (1, "") and "nobody" in done.stderr and "Traceback" not in done.stderr

    def failed(*arguments: str) -> str:
        code, said = here("import", *arguments)
        assert code == 1
        return said

    assert "absent.json" in failed(str(tmp_path / "absent.json"), "--data", str(server.data))
    assert "answer" in failed(str(path), "--mongodb-uri", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300", "--data", str(server.data))
    assert "there is no store" in failed(str(path), "--data", str(tmp_path / "new"))
    assert "Is a directory" in failed(str(path), "--data", str(server.data), "--report", str(tmp_path))


def test_the_report_lies_in_the_data_folder_and_is_for_its_owner_alone(server, tmp_path):
    (tmp_path / "a.json").write_bytes(dumped(basic()))
    code, said = here("import", tmp_path / "a.json", "--data", server.data)
    assert code == 0, said
    path = next(line.removeprefix("report: ") for line in said.splitlines() if line.startswith("report: "))
    assert path.startswith(str(server.data / "imports"))
    assert (server.data / "imports").stat().st_mode & 0o077 == 0
    elsewhere = tmp_path / "elsewhere.ndjson"
    assert here("import", tmp_path / "a.json", "--data", server.data, "--report", elsewhere)[0] == 0
    assert elsewhere.stat().st_mode & 0o077 == 0


def test_the_fixtures_are_there():
    assert {path.name for path in FIXTURES.iterdir()} >= {"patients.ndjson", "transaction.json", "history.json"}
