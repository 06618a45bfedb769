"""`fhir-dmp token`: every kind of the contract, from the command line to the Actor."""

import json
import time

import pytest

from fhir_dmp.identity.issuers import HostIssuer
from fhir_dmp.identity.tokens import Tokens
from tests.serving import run

INS = "urn:oid:1.2.250.1.213.1.4.10|279035121518989"
PROFESSIONAL = "professional --rpps 10001234567 --profession 10 --specialty SM54 --organization 1750000001 --purpose TREAT"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("token") / "data"


async def actor(data, command, now_ms=None):
    done = run("token", *command.split(), "--data", str(data))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    return await Tokens(HostIssuer(data)).verify(done.stdout.strip(), now_ms or time.time_ns() // 1_000_000)


async def test_professional_of_the_contract(data):
    found = await actor(data, f"{PROFESSIONAL} --sector SA07 --auth-mode AIR --regulation --secret-session --client-id c --software s")
    assert (found.subject_name_id, found.professions, found.specialties) == ("810001234567", ("10",), ("SM54",))
    assert (found.organization, found.sector, found.auth_mode) == ("1750000001", "SA07", "AIR")
    assert found.purposes == (("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT"),)
    assert (found.regulation, found.secret_session, found.client_id, found.software) == (True, True, "c", "s")


async def test_professional_known_by_another_number_or_in_training(data):
    found = await actor(data, "professional --subject-name-id 3750000001/42 --profession 10 --category E")
    assert (found.subject_name_id, found.category, found.roles, found.regulation) == ("3750000001/42", "E", ("10",), False)


@pytest.mark.parametrize(
    "command, expected",
    [
        ("patient --patient p1", {"patient": "p1"}),
        (f"patient --ins {INS} --with 810001234567", {"ins": tuple(INS.rsplit("|", 1)), "with_professional": "810001234567"}),
        ("representative --patient p1 --related-person r1", {"patient": "p1", "related_person": "r1"}),
        ("representative", {"patient": "", "related_person": ""}),
        ("mandataire --patient p1 --related-person r1", {"related_person": "r1"}),
        ("structure --organization 1750000001", {"organization": "1750000001"}),
        ("host --host other", {"host": "other"}),
        ("feed", {}),
        ("support --level 2 --ticket T", {"level": 2, "ticket": "T"}),
        ("operator --role admin", {"role": "admin"}),
        ("operator --role physician --ticket T", {"role": "physician", "ticket": "T"}),
        ("system --scope system/*.cruds", {"scopes": (("system", "*", "cruds"),)}),
        ("system", {"scopes": (("system", "*", "cruds"),)}),
    ],
)
async def test_other_kinds_of_the_contract(data, command, expected):
    found = await actor(data, command)
    assert found.kind == command.split()[0]
    assert {name: getattr(found, name) for name in expected} == expected


async def test_lifetime_is_an_hour_unless_said_otherwise(data):
    now = time.time()
    assert 3590 < (await actor(data, "feed")).expires - now < 3610
    assert 50 < (await actor(data, "feed --expires 60")).expires - now < 70


@pytest.mark.parametrize(
    "command",
    [
        "professional --rpps 123 --profession 10",
        "professional --profession 10",
        "professional --rpps 10001234567",
        "patient",
        "patient --ins 279035121518989",
        "mandataire --patient p1",
        "support --level 3 --ticket T",
        "operator --role root",
        "nobody",
    ],
)
def test_command_that_makes_no_sense_prints_no_token(data, command):
    done = run("token", *command.split(), "--data", str(data))
    assert done.returncode in (1, 2)
    assert done.stdout == "" and done.stderr and "Traceback" not in done.stderr


def test_tokens_of_one_data_folder_share_issuer_and_audience(data):
    import base64

    def claims(command):
        body = run("token", *command.split(), "--data", str(data)).stdout.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))

    one, two = claims("feed"), claims("system")
    assert (one["iss"], one["aud"]) == (two["iss"], two["aud"])
    assert one["jti"] != two["jti"]
    assert {"iss", "aud", "sub", "exp", "iat", "jti", "client_id", "dmp_kind"} <= set(one)


def test_keys_are_listed_and_rotated(tmp_path):
    before = run("keys", "list", "--data", str(tmp_path)).stdout
    kid = run("keys", "rotate", "--data", str(tmp_path)).stdout.strip()
    after = run("keys", "list", "--data", str(tmp_path)).stdout
    assert kid not in before and f"{kid}  signs" in after and after.count("verifies") == 1
    run("keys", "rotate", "--forget", "--data", str(tmp_path))
    assert run("keys", "list", "--data", str(tmp_path)).stdout.count("key  ") == 1


@pytest.mark.parametrize("command", [("token", "system"), ("keys", "list"), ("keys", "rotate")])
def test_keys_are_not_made_where_nobody_asked_for_them(tmp_path, command):
    done = run(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no data folder {tmp_path / 'data'}" in done.stderr
    assert not list(tmp_path.iterdir())
