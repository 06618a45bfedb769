"""Packages of a host that is known, signed by it, and not what they should be: refused with a word, and nothing of them stays."""

import tarfile
import time

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import json
from tests.exchange import forging
from tests.exchange.forging import closed, lines, resources, unsealed, value_of, with_bodies, with_lines, with_rows
from tests.exchange.moving import Played

LARGE = "QUJD" * 300_000
NOTHING = {"resources": 0, "versions": 0, "contents.files": 0, "contents.chunks": 0}


class Sent:
    """A dossier of the first host, its package, and packages like it. parts: as the giver made them."""

    def __init__(self, two):
        self.two = two
        self.play = Played(two.world, [("deposit", "anna", ()), ("replace", 0, None), ("deposit", "bruno", ("MASQUE_PS",))])
        value = self.play.world_document(self.play.anna, ())
        value["content"][0]["attachment"]["data"] = LARGE
        assert self.play.anna.post("DocumentReference", value).status_code == 201
        self.play.holder.get(f"DocumentReference?patient={self.play.dossier.id}")
        self.number = two.stores[0].vault.dossier_of_patient(self.play.dossier.id)
        self.whole = two.runner.run(two.give(0, 1, self.play.dossier.id))
        self.parts = forging.opened(self.whole, two.b.data)

    def closed(self, parts, **more):
        return closed(parts, self.two.a.data, self.two.b.data, **more)

    def take(self, package):
        return self.two.runner.run(self.two.take(1, 0, package))

    def refusal(self, package):
        """Why it is not taken; nothing of it is there."""
        try:
            with pytest.raises(FhirError) as caught:
                self.take(package)
            assert self.left() == NOTHING
        finally:
            self.forget()
        return caught.value

    def left(self):
        """What the second host has of the dossier, or of anything since it was there last."""

        async def counted():
            database = self.two.stores[1].connection.database
            found = {name: await database[name].count_documents({"d": self.number}, hint="dossier") for name in ("resources", "versions")}
            files = {one["_id"] async for one in database["contents.files"].find({"metadata.d": self.number}, hint="dossier")}
            chunks = 0
            for one in files:
                chunks += await database["contents.chunks"].count_documents({"files_id": one}, hint="blocks")
            return {**found, "contents.files": len(files), "contents.chunks": chunks}

        return self.two.runner.run(counted())

    def forget(self):
        """As if it never came to the second host."""

        async def forgotten():
            store = self.two.stores[1]
            await store.contents.remove_dossier(self.number)
            for name in ("resources", "versions"):
                await store.connection.database[name].delete_many({"d": self.number}, hint="dossier")

        self.two.runner.run(forgotten())


@pytest.fixture(scope="module")
def sent(two):
    return Sent(two)


def named(type_name):
    return lambda row: row["type"] == type_name


def once(change, only=lambda row: True):
    """Change the first row of a kind."""
    done = []

    def changed(parts):
        done.clear()

        def one(row):
            if done or not only(row):
                return row
            done.append(row)
            return change(row)

        found = with_rows(parts, one)
        assert done
        return found

    return changed


def said(name, **fields):
    """Change members of a JSON file."""
    return lambda parts: {**parts, name: msgspec.json.encode(msgspec.json.decode(parts[name]) | fields)}


def without(name):
    return lambda parts: {other: one for other, one in parts.items() if other != name}


def member(**fields):
    return once(lambda row: row | fields)


def facts(**fields):
    return once(lambda row: row | {"facts": row["facts"] | fields}, lambda row: isinstance(row.get("facts"), dict))


def content(**fields):
    return once(lambda row: row | {"octets": row["octets"] | fields}, lambda row: row.get("octets"))


def proof(change):
    def changed(parts):
        first, *rest = lines(parts, "proofs.ndjson")
        return with_lines(parts, "proofs.ndjson", [change(first), *rest])

    return changed


def body(change, type_name):
    """Change the first body of a type, unsealed."""

    def changed(parts):
        parts = unsealed(parts)
        place = next(place for place, row in enumerate(lines(parts, "rows.ndjson")) if row["type"] == type_name)
        bodies = resources(parts)
        name, one = bodies[place]
        bodies[place] = (name, change(one))
        return with_bodies(parts, bodies)

    return changed


def value(type_name, **fields):
    return body(lambda one: json.dump(value_of(one) | fields), type_name)


MALFORMED = {
    "dossier is no number": said("package.json", dossier="abc"),
    "dossier is too large": said("package.json", dossier=str(2**63)),
    "dossier is far too large": said("package.json", dossier=str(2**80)),
    "dossier is that of what belongs to nobody": said("package.json", dossier="0"),
    "dossier is another one": said("package.json", dossier="7"),
    "patient is another one": said("package.json", patient="b" * 26),
    "patient is no id": said("package.json", patient="x"),
    "at is no instant": said("package.json", at="today"),
    "at is to come": said("package.json", at="9999-12-31T00:00:00Z"),
    "format is a text": said("package.json", format="1"),
    "package is a list": lambda parts: {**parts, "package.json": b"[]"},
    **{f"{name} is missing": without(name) for name in ("rows.ndjson", "policy.json", "proofs.ndjson", "identification.json", "octets/0")},
    "a file that belongs to nothing": lambda parts: {**parts, "other.json": b"{}"},
    "a content that has no number": lambda parts: {**parts, "octets/abc": b"x"},
    "a content of a number below zero": lambda parts: {**parts, "octets/-1": b"x"},
    "a content of a number that is too large": lambda parts: {**parts, "octets/" + "9" * 5000: b"x"},
    "a content under another spelling": lambda parts: {**parts, "octets/00": parts["octets/0"]},
    "a name that leads elsewhere": lambda parts: {**parts, "../../elsewhere": b"x"},
    "rows are no JSON": lambda parts: {**parts, "rows.ndjson": b"x\n"},
    "rows end early": lambda parts: {**parts, "rows.ndjson": parts["rows.ndjson"][:-1]},
    "rows are nested": lambda parts: {**parts, "rows.ndjson": b"[" * 100_000 + b"\n"},
    "no rows": lambda parts: {**parts, "rows.ndjson": b""},
    "one row more": lambda parts: {**parts, "rows.ndjson": parts["rows.ndjson"] + parts["rows.ndjson"].split(b"\n")[0] + b"\n"},
    "one row less": once(lambda row: None),
    "key is not hex": member(key="z" * 32),
    "key is short": member(key="00"),
    "key is that of the dossier": once(lambda row: row | {"key": row["key"][:16] + "0" * 16}),
    "key of another dossier": member(key="f" * 32),
    "id is no id": member(id="x"),
    "id is another one": member(id="b" * 26),
    "version is none": member(version="x"),
    "version has another spelling": member(version="b" * 13),
    "updated is too large": member(updated_ms=2**70),
    "updated is of a far time": member(updated_ms=2**62),
    "updated is of a time to come": member(updated_ms=253_402_300_000_000),
    "updated is below zero": member(updated_ms=-1),
    "acted is of a time to come": member(acted_ms=253_402_300_000_000),
    "acted is a text": member(acted_ms="x"),
    "type is unknown": member(type="Nothing"),
    "type belongs to the directory": member(type="Practitioner"),
    "type is another one": once(lambda row: row | {"type": "Basic"}, named("DocumentReference")),
    "method is unknown": member(method="STEAL"),
    "file is not there": member(file="nothing.ndjson"),
    "file holds others": once(lambda row: row | {"file": "traces.ndjson"}, named("DocumentReference")),
    "file is none": once(lambda row: row | {"file": ""}, named("DocumentReference")),
    "it is said to be of the directory": member(dossier=False),
    "nothing of it is current": lambda parts: with_rows(parts, lambda row: row | {"current": False}, named("DocumentReference")),
    "two of it are current": lambda parts: with_rows(parts, lambda row: row | {"current": True}),
    "its Patient is not current": lambda parts: with_rows(parts, lambda row: row | {"current": False}, named("Patient")),
    "its Patient was deleted": lambda parts: with_rows(parts, lambda row: row | {"deleted": True}, named("Patient")),
    "facts are a text": member(facts="x"),
    "facts are an empty list": member(facts=[]),
    "facts are a list of texts": member(facts=["x"]),
    "facts are unknown": facts(zz=1),
    "labels are a text": facts(lb="x"),
    "labels are unknown": facts(lb=1024),
    "labels are below zero": facts(lb=-1),
    "authors are a text": facts(au="x"),
    "authors are numbers": facts(au=[1]),
    "type is a number": facts(ty=1),
    "lineage is a number": facts(rt=1),
    "lineage is null": facts(rt=None),
    "status is unknown": facts(st=9),
    "release is of no time": facts(rl=2**62),
    "period is too large": facts(pa=2**70),
    "period is a fraction": facts(pb=0.5),
    "content is not there": content(file=99),
    "content has another size": content(size=1),
    "content is another one": content(sha256="x"),
    "content has no number": content(file="x"),
    "proofs are a list": proof(lambda one: [1]),
    "proof is a list": proof(lambda one: one | {"proof": [1]}),
    "proof is of nothing": proof(lambda one: one | {"reference": 1}),
    "proof is of another trace": proof(lambda one: one | {"reference": "AuditEvent/" + "b" * 26}),
    "number of the proof is too large": proof(lambda one: one | {"proof": one["proof"] | {"number": 2**80}}),
    "index of the proof is below zero": proof(lambda one: one | {"proof": one["proof"] | {"index": -1}}),
    "path of the proof is a number": proof(lambda one: one | {"proof": one["proof"] | {"path": 1}}),
    "path of the proof holds numbers": proof(lambda one: one | {"proof": one["proof"] | {"path": [1]}}),
    "checkpoint of the proof is a list": proof(lambda one: one | {"proof": one["proof"] | {"checkpoint": [[]]}}),
    "checkpoint of the proof has no time": proof(
        lambda one: one | {"proof": one["proof"] | {"checkpoint": one["proof"]["checkpoint"].replace("time 2", "time x")}}
    ),
    "host of the proof is a list": proof(lambda one: one | {"proof": one["proof"] | {"host": [[]]}}),
    "host of the proof is unknown, with no key": proof(lambda one: one | {"proof": one["proof"] | {"host": "x", "publicKey": "AAAA"}}),
    "status is unknown here": said("policy.json", status="x"),
    "closed at no time": said("policy.json", closed_ms=2**70),
    "grants are numbers": said("policy.json", grants=[1]),
    "a grant has no end": said("policy.json", grants=[{"who": "ps:1", "since_ms": 0, "until_ms": 2**70, "id": "x"}]),
    "law is a list": said("policy.json", law=[]),
    "epoch is a text": said("policy.json", epoch="x"),
    "a body is no JSON": body(lambda one: b"x", "Consent"),
    "a body is a list": body(lambda one: b"[]", "DocumentReference"),
    "a body is nested": body(lambda one: one[:-1] + b',"x":' + b"[" * 1000 + b"]" * 1000 + b"}", "Consent"),
    "a body has a member twice": body(lambda one: one[:-1] + b',"id":"x"}', "DocumentReference"),
    "a body is of another version": value("DocumentReference", meta={"versionId": "x"}),
    "a body has no meta": value("DocumentReference", meta=5),
    "a right is none": value("Consent", provision=5),
    "a right has parts that are none": value("Consent", provision={"type": "permit", "actor": [1]}),
    "a right has no category": value("Consent", category=None),
    "a Patient has no names": value("Patient", name=[5]),
    "a Patient has identifiers that are none": value("Patient", identifier={"value": 5}),
    "a Patient goes on in another dossier": value(
        "Patient", active=False, link=[{"other": {"reference": "Patient/" + "b" * 26}, "type": "replaced-by"}]
    ),
    "a document has no contents": value("DocumentReference", content="x"),
    "a trace is none": value("AuditEvent", agent=5),
    "a seal is none": lambda parts: with_bodies(
        parts,
        [(name, json.dump(value_of(one) | {"signature": [5]}) if name.startswith("seals") else one) for name, one in resources(parts)],
    ),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_not_as_it_should_be_is_refused_and_leaves_nothing(sent, what):
    error = sent.refusal(sent.closed(MALFORMED[what](sent.parts)))
    assert (error.kind, error.message.startswith("the package cannot be taken: ")) == ("business-rule", True), error
    assert "cannot be read" not in error.message


# ---- whatever one member of it is


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**62, 2**63, 2**64, -(2**63), 2**80, 0.5, 1e300]),
    st.sampled_from(["", "x", "\0", "é", "0", "a" * 26, "a" * 13, "0" * 32, "2026-01-01", "9999-12-31T23:59:59Z", "Patient/x", "../x"]),
    st.sampled_from([[], [1], [[]], [None], [{}], ["x"], {}, {"": 1}, {"x": {}}, {"value": [1]}, {"reference": 5}]),
)


def places(value, at=()):
    """Where there is anything in a value."""
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from places(part, (*at, name))


def put(value, at, new):
    """The same with something else at a place; nothing at all for `...`."""
    if not at:
        return new
    made = dict(value) if isinstance(value, dict) else list(value)
    if len(at) == 1 and new is ...:
        del made[at[0]]
    else:
        made[at[0]] = put(value[at[0]], at[1:], new)
    return made


def changed(draw, parts):
    """(files, change of the manifest) of a package in which one member of one part is something else."""
    new = draw(st.one_of(ANYTHING, st.just(...)), label="new")

    def elsewhere(value):
        return put(value, draw(st.sampled_from(list(places(value))[1:]), label="place"), new)

    name = draw(st.sampled_from(["package.json", "policy.json", "rows.ndjson", "proofs.ndjson", "manifest.json", "body", "body"]))
    if name == "manifest.json":
        return parts, elsewhere
    if name == "body":
        bodies = resources(parts)
        place = draw(st.integers(0, len(bodies) - 1))
        file, one = bodies[place]
        bodies[place] = (file, json.dump(elsewhere(value_of(one))))
        return with_bodies(parts, bodies), same
    if name.endswith(".ndjson"):
        values = lines(parts, name)
        place = draw(st.integers(0, len(values) - 1))
        values[place] = elsewhere(values[place])
        return with_lines(parts, name, values), same
    return {**parts, name: msgspec.json.encode(elsewhere(msgspec.json.decode(parts[name])))}, same


def same(value):
    return value


def test_a_package_with_one_member_of_another_kind_is_taken_or_refused_and_never_fails(sent, histories):
    """What its giver sealed is left out: else no body could be another."""
    checks, phases = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture], (Phase.explicit, Phase.generate)
    whole = unsealed(sent.parts)

    @settings(max_examples=histories(60, 3000), deadline=None, phases=phases, suppress_health_check=checks, database=None)
    @given(data=st.data())
    def tried(data):
        parts, change = changed(data.draw, whole)
        package = sent.closed(parts, change=change)
        try:
            sent.take(package)
        except FhirError as error:
            assert error.kind in ("business-rule", "conflict"), error
            if error.kind == "business-rule":
                assert "cannot be read" not in error.message, error
                assert sent.left() == NOTHING, error
        finally:
            sent.forget()

    tried()


# ---- more octets than it has


def sparse(name, size):
    """A tar entry of no octets that says it is one hole of so many."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for place, number in ((386, size), (398, 0), (483, size)):
        head[place : place + 12] = b"%011o\0" % number
    head[482] = 0
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def pax(name, size):
    """The same in the form of POSIX."""
    info = tarfile.TarInfo(name)
    info.size = 512
    told = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)}
    info.pax_headers = told
    return info.tobuf(tarfile.PAX_FORMAT) + b"1\n%d\n0\n".ljust(512, b"\0") % size


def linked(name, size):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info.tobuf(tarfile.PAX_FORMAT)


def endless(name, size):
    """A header of headers that says how large it is and is not."""
    info = tarfile.TarInfo(name)
    info.type, info.size = tarfile.XHDTYPE, size
    return info.tobuf(tarfile.GNU_FORMAT)


def short(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("kind", [sparse, pax, linked, endless, short])
def test_an_entry_brings_no_more_octets_than_it_has(sent, kind):
    size = 64 * 1024 * 1024
    package = sent.closed(sent.parts, extra=[kind("octets/7", size)])
    begun = time.monotonic()
    assert sent.refusal(package).kind == "business-rule"
    assert time.monotonic() - begun < 20


# ---- traces


def trace_of(sent, name):
    """Place, among the lines of the package, of the trace in which somebody is named."""
    bodies = resources(sent.parts)
    return next(
        place
        for place, (row, (_, body)) in enumerate(zip(lines(sent.parts, "rows.ndjson"), bodies, strict=True))
        if row["type"] == "AuditEvent" and name.encode() in body
    )


def altered(sent):
    """The package in which a trace names somebody else; its address."""
    place = trace_of(sent, sent.play.bruno.rpps)
    bodies, row = resources(sent.parts), lines(sent.parts, "rows.ndjson")[place]
    file, body = bodies[place]
    bodies[place] = (file, body.replace(sent.play.bruno.rpps.encode(), sent.play.anna.rpps.encode()))
    return with_bodies(sent.parts, bodies), f"AuditEvent/{row['id']}"


def test_a_trace_that_its_host_altered_is_not_taken_by_leaving_out_its_proof(sent):
    parts, reference = altered(sent)
    assert f"the proof of {reference}" in sent.refusal(sent.closed(parts)).message
    proofs = [one for one in lines(parts, "proofs.ndjson") if one["reference"] != reference]
    assert f"{reference} has no proof" in sent.refusal(sent.closed(with_lines(parts, "proofs.ndjson", proofs))).message
    assert "has no proof" in sent.refusal(sent.closed({**sent.parts, "proofs.ndjson": b""})).message


def test_a_trace_that_its_host_says_it_cannot_prove_is_told_to_whoever_takes_it(sent):
    parts, reference = altered(sent)
    proofs = [one | {"proof": {}} if one["reference"] == reference else one for one in lines(parts, "proofs.ndjson")]
    try:
        assert sent.take(sent.closed(with_lines(parts, "proofs.ndjson", proofs))).unproved == 1
    finally:
        sent.forget()


# ---- over HTTP, and after all of it


def test_what_is_refused_over_http_is_told_to_who_asks_for_the_job(sent):
    """The other way round: the server takes what the other host gives."""
    taken = sent.take(sent.whole)
    two = sent.two
    back = two.runner.run(two.give(1, 0, taken.patient))
    parts = forging.opened(back, two.a.data)
    giving = two.world.host("host-b")
    for what in ("facts are a text", "patient is another one", "a content that has no number", "policy.json is missing"):
        package = closed(MALFORMED[what](parts), two.b.data, two.a.data)
        answer = giving.post("$import?source=host-b", package, content_type="application/vnd.fhir-dmp.package")
        assert answer.status_code == 202, answer.text
        for _ in range(100):
            told = giving.get(answer.headers["content-location"])
            if told.status_code != 200 or b"in-progress" not in told.content:
                break
            time.sleep(0.1)
        assert told.status_code == 422 and told.json()["resourceType"] == "OperationOutcome", told.text


def test_the_package_itself_is_taken_after_all_that_was_refused(sent):
    sent.forget()
    done = sent.take(sent.whole)
    assert (done.counts["DocumentReference"], done.unproved) == (4, 0)
    assert sent.two.runner.run(sent.two.unproved(0, 1, sent.number)) == []
    assert sent.two.runner.run(sent.two.sealed(1)) == []
