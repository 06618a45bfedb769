"""Level 2 of proof: the seal of the message, verified before anything of it is parsed."""

import base64
import json
import os

import pytest
from click.testing import CliRunner
from joserfc import jwk
from pymongo import MongoClient

from fhir_dmp.cli import cli
from fhir_dmp.errors import FhirError
from fhir_dmp.identity import issuers
from fhir_dmp.signing.jws import Signer
from fhir_dmp.signing.keys import new_key, public
from fhir_dmp.signing.message import Signers, bundle_seal
from fhir_dmp.signing.seal import digest
from tests.access.world import INS, World, document, number
from tests.exchange.test_sources import ended
from tests.serving import serving
from tests.signing.test_verify import verified

SOFTWARE = "urn:logiciel:essai"
DATABASE = f"signing_{os.getpid()}"


@pytest.fixture(scope="module")
def keys():
    """Private keys: of a software that is trusted, and of one that is not."""
    return {"trusted": new_key("ES256"), "other": new_key("ES256")}


@pytest.fixture(scope="module")
def signers(keys, tmp_path_factory):
    """The file that `message_signers` names."""
    folder = tmp_path_factory.mktemp("signers")
    (folder / "software.json").write_text(json.dumps({"keys": [public(keys["trusted"])]}))
    path = folder / "signers.json"
    path.write_text(json.dumps([{"signer": SOFTWARE, "jwks": "software.json", "algorithms": ["ES256"]}]))
    return path


@pytest.fixture(scope="module")
def sealing(mongod, signers, tmp_path_factory):
    """A server where structures must seal what they send, and others may."""
    folder = tmp_path_factory.mktemp("sealing")
    environment = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_MESSAGE_SIGNERS": str(signers), "FHIR_DMP_MESSAGE_SEAL_REQUIRED": "structure"}
    with serving(folder, "--mongodb-uri", mongod.uri, "--workers", "1", environment=environment, sandbox=False) as running:
        yield World(running)
    with MongoClient(mongod.uri) as client:
        client.drop_database(DATABASE)


def refused(answer):
    issue = answer.json()["issue"][0]
    return answer.status_code == 422 and issue["diagnostics"].startswith("the seal of the message does not hold: ")


def test_a_sealed_message_is_taken_and_the_proof_says_by_whom(sealing, keys):
    anna = sealing.professional()
    dossier = sealing.open(traitant=anna)
    body = json.dumps(document(dossier, anna), indent=1).encode()
    answer = anna.post("DocumentReference", body, x_jws_signature=Signer(keys["trusted"]).detached(body))
    assert answer.status_code == 201, answer.text
    where = f"DocumentReference/{answer.json()['id']}"
    found, reasons = verified(anna, where)
    assert (found["seal"], found["message"]) == ("passed", "passed")
    assert any(SOFTWARE in reason and keys["trusted"]["kid"] in reason for reason in reasons)
    kept = anna.get(f"Provenance?patient={dossier.id}&target={where}").json()["entry"]
    levels = {entry["resource"]["activity"]["coding"][0]["code"]: entry["resource"] for entry in kept}
    assert levels.keys() == {"seal", "message"}
    text = base64.b64decode(levels["message"]["signature"][0]["data"]).decode()
    assert text == Signer(keys["trusted"]).detached(body)


def test_what_tells_of_the_message_is_changed_by_nobody(sealing, keys):
    anna = sealing.professional()
    dossier = sealing.open(traitant=anna)
    body = json.dumps(document(dossier, anna)).encode()
    where = f"DocumentReference/{anna.post('DocumentReference', body, x_jws_signature=Signer(keys['trusted']).detached(body)).json()['id']}"
    told = verified(anna, where)

    def kept():
        return [entry["resource"] for entry in anna.get(f"Provenance?patient={dossier.id}&target={where}").json()["entry"]]

    before = kept()
    assert len(before) == 2
    for one in before:
        other = {**one["signature"][0], "data": base64.b64encode(Signer(keys["other"]).detached(body).encode()).decode()}
        for change in ({"recorded": "2020-01-01T00:00:00Z"}, {"signature": [other]}, {"activity": {"text": "x"}}):
            assert anna.put(f"Provenance/{one['id']}", {**one, **change}).status_code == 403
    assert kept() == before and verified(anna, where) == told


def test_a_seal_that_does_not_fit_is_refused_before_parsing(sealing, keys):
    anna = sealing.professional()
    dossier = sealing.open(traitant=anna)
    body = json.dumps(document(dossier, anna)).encode()
    good = Signer(keys["trusted"]).detached(body)
    before = anna.get(f"DocumentReference?patient={dossier.id}").json()["total"]
    for sent, seal in (
        (body.replace(b"compte", b"Compte") + b" ", good),
        (b"{not json", good),
        (body, Signer(keys["other"]).detached(body)),
        (body, "eyJhbGciOiJub25lIn0.."),
        (body, "x"),
    ):
        assert refused(anna.post("DocumentReference", sent, x_jws_signature=seal))
    assert anna.get(f"DocumentReference?patient={dossier.id}").json()["total"] == before


def test_a_structure_must_seal_what_it_sends(sealing, keys):
    anna, structure = sealing.professional(), sealing.structure()
    dossier = sealing.open(traitant=anna)
    body = json.dumps({**document(dossier, anna), "author": [structure.reference]}).encode()
    assert refused(structure.post("DocumentReference", body))
    assert structure.post("DocumentReference", body, x_jws_signature=Signer(keys["trusted"]).detached(body)).status_code == 201


def signed(keys, octets):
    """The end of a Bundle of these octets, with its signature."""
    signature = {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.14"}],
        "when": "2026-11-22T00:00:00Z",
        "who": {"display": SOFTWARE},
        "sigFormat": "application/jose",
        "data": base64.b64encode(Signer(keys["trusted"]).detached(octets).encode()).decode(),
    }
    return b',\n "signature": ' + json.dumps(signature).encode() + b"}\n"


def test_the_signature_of_a_bundle_is_its_last_member(sealing, keys):
    anna = sealing.professional()
    dossier = sealing.open(traitant=anna)
    entry = {"resource": document(dossier, anna), "request": {"method": "POST", "url": "DocumentReference"}}
    unsigned = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode()

    assert bundle_seal(unsigned[:-1] + signed(keys, unsigned))[1] == unsigned
    assert refused(anna.post("", unsigned[:-1] + signed(keys, unsigned + b" ")))
    # However its name is spelled, it is looked at.
    assert refused(anna.post("", unsigned[:-1] + signed(keys, unsigned + b" ").replace(b'"signature"', b'"\\u0073ignature"', 1)))
    answer = anna.post("", unsigned[:-1] + signed(keys, unsigned))
    assert answer.status_code == 200, answer.text
    where = answer.json()["entry"][0]["response"]["location"].partition("/fhir/")[2].partition("/_history")[0]
    assert verified(anna, where)[0]["message"] == "passed"


async def test_where_nobody_is_trusted_no_seal_is_judged():
    sent = b'{"signature": {"sigFormat": "application/jose", "data": "AAAA"}, "resourceType": "Bundle"}'
    for header in ("", "x..y"):
        found = await Signers(None).check(header, sent, True, kind="host", speaks_for=(), now_ms=0)
        assert (found.sha256, found.signer) == (digest(sent), "")


async def test_who_may_seal_for_whom(signers, keys, tmp_path):
    (tmp_path / "software.json").write_text(json.dumps({"keys": [public(keys["trusted"])]}))
    row = {"signer": SOFTWARE, "jwks": "software.json", "algorithms": ["ES256"], "organizations": ["1750000001"]}
    (tmp_path / "signers.json").write_text(json.dumps([row]))
    bound = Signers(tmp_path / "signers.json")
    seal, about = Signer(keys["trusted"]).detached(b"x"), {"kind": "structure", "now_ms": 0}
    assert (await bound.check(seal, b"x", False, speaks_for=("1750000001",), **about)).signer == SOFTWARE
    with pytest.raises(FhirError, match="does not speak for"):
        await bound.check(seal, b"x", False, speaks_for=("1750000002",), **about)


async def test_a_signer_whose_keys_are_fetched_stands_in_nobodys_way_and_takes_keys_back(keys, tmp_path, monkeypatch):
    """The network is what is not real here: it is silent, then gives keys, then other keys."""
    given: list[bytes] = []

    def fetched(url):
        if not given:
            raise OSError("silent")
        return given[-1]

    monkeypatch.setattr(issuers, "fetch", fetched)
    (tmp_path / "software.json").write_text(json.dumps({"keys": [public(keys["trusted"])]}))
    rows = [("urn:away", "https://jwks.example.org/keys"), (SOFTWARE, "software.json")]
    (tmp_path / "signers.json").write_text(json.dumps([{"signer": one, "jwks": where, "algorithms": ["ES256"]} for one, where in rows]))
    signers = Signers(tmp_path / "signers.json", jwks_seconds=600)

    async def by(name, minutes):
        found = await signers.check(Signer(keys[name]).detached(b"{}"), b"{}", False, kind="host", speaks_for=(), now_ms=minutes * 60_000)
        return found.signer

    assert await by("trusted", 0) == SOFTWARE
    with pytest.raises(FhirError) as refused:
        await by("other", 1)
    assert refused.value.status == 503
    given.append(json.dumps({"keys": [public(keys["other"])]}).encode())
    assert await by("other", 10) == "urn:away" and await by("trusted", 11) == SOFTWARE
    given.append(json.dumps({"keys": [public(new_key("ES256"))]}).encode())
    assert await by("other", 12) == "urn:away"
    with pytest.raises(FhirError) as refused:
        await by("other", 21)
    assert refused.value.status == 422


def test_keys_are_of_the_kinds_that_are_published(keys):
    assert jwk.import_key(public(keys["trusted"]), "EC").as_dict(private=False)["crv"] == "P-256"


class Sending:
    """A care record that imports into the dossier of one person: by command, and over HTTP."""

    def __init__(self, sealing, uri, signers, folder):
        self.world, self.folder, self.source = sealing, folder, f"cabinet-{os.getpid()}"
        self.line = ["--data", str(sealing.server.data), "--mongodb-uri", uri]
        self.environment = {"FHIR_DMP_DATABASE": DATABASE, "FHIR_DMP_MESSAGE_SIGNERS": str(signers)}
        self.run("sources", "register", self.source, "--name", "cabinet")
        self.anna = sealing.professional()
        self.dossier = sealing.open(traitant=self.anna)
        sealing.consent(self.dossier, "feed")

    def run(self, *words):
        done = CliRunner().invoke(cli, [*map(str, words), *self.line], env=self.environment)
        return done.exit_code, done.output

    def bundle(self, count=1):
        """A transaction with so many documents."""
        subject = {"reference": f"Patient?identifier={INS}|{self.dossier.ins}"}
        sent = [{**document(self.dossier, self.anna), "subject": subject, "masterIdentifier": master()} for _ in range(count)]
        entries = [{"resource": one, "request": {"method": "POST", "url": "DocumentReference"}} for one in sent]
        return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()

    def load(self, body, name="lot.json", beside=None):
        """Import one file: (exit code, lines of the report)."""
        path, report = self.folder / name, self.folder / "report.ndjson"
        path.write_bytes(body)
        seal = path.with_name(f"{name}.jws")
        seal.unlink(missing_ok=True)
        if beside is not None:
            seal.write_text(beside)
        code, said = self.run("import", path, "--source", self.source, "--report", report)
        assert code in (0, 3), said
        return code, [json.loads(line) for line in report.read_text("utf-8").splitlines()]

    def proved(self, line):
        return verified(self.anna, line["location"].partition("/_history")[0])[0]["message"]


def master():
    return {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:1.2.250.1.999.7.{number()}"}


@pytest.fixture(scope="module")
def sending(sealing, mongod, signers, tmp_path_factory):
    return Sending(sealing, mongod.uri, signers, tmp_path_factory.mktemp("sending"))


def held(told):
    return told[0]["outcome"]["issue"][0]["diagnostics"].startswith("the seal of the message does not hold: ")


def test_an_import_of_a_sealed_bundle_says_by_whom_it_was_sealed(sending, keys):
    body = sending.bundle()
    code, told = sending.load(body[:-1] + signed(keys, body))
    assert code == 0 and sending.proved(told[0]) == "passed"
    target = told[0]["location"].partition("/_history")[0]
    about = sending.anna.get(f"Provenance?patient={sending.dossier.id}&target={target}").json()["entry"]
    levels = {one["resource"]["activity"]["coding"][0]["code"] for one in about}
    assert "seal" in levels and "message" not in levels  # of a Bundle it would tell of all that it brought
    two = sending.bundle(2)
    code, told = sending.load(two[:-1] + signed(keys, two))
    assert code == 0 and [sending.proved(line) for line in told if "DocumentReference" in line["location"]] == ["passed", "passed"]


def test_a_bundle_whose_seal_does_not_hold_is_not_imported(sending, keys):
    body = sending.bundle()
    code, told = sending.load(body[:-1].replace(b'"current"', b'"superseded"') + signed(keys, body))
    assert code == 3 and told[0]["status"] == 422 and held(told)
    assert len(told) == 1


def test_a_file_may_have_its_seal_beside_it(sending, keys):
    body = sending.bundle()
    code, told = sending.load(body, "scelle.json", Signer(keys["trusted"]).detached(body))
    assert code == 0 and sending.proved(told[0]) == "passed"
    other = sending.bundle()
    huge = Signer(keys["trusted"]).detached(other) + " " * 70_000
    for wrong in (Signer(keys["trusted"]).detached(body), Signer(keys["other"]).detached(other), "", huge):
        code, told = sending.load(other, "scelle.json", wrong)
        assert code == 3 and len(told) == 1 and held(told)


def test_what_is_sent_by_import_is_verified_before_it_is_kept(sending, keys):
    host, body = sending.world.host(sending.source), sending.bundle()
    address = f"$import?source={sending.source}"
    assert refused(host.post(address, body, x_jws_signature=Signer(keys["trusted"]).detached(body + b" ")))
    assert refused(host.post(address, body[:-1] + signed(keys, body + b" ")))
    assert refused(host.post(address, b"{}\n", content_type="application/fhir+ndjson", x_jws_signature="x"))
    answer = host.post(address, body, x_jws_signature=Signer(keys["trusted"]).detached(body))
    told = ended(host, answer)
    assert told["accepted"] == 1, told
    location = next(one["response"]["location"] for one in told["report"]["entry"] if "Document" in one["response"]["location"])
    assert sending.proved({"location": location}) == "passed"
