"""Declared is served, and nothing else: the CapabilityStatement against the server, both ways.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

import base64
import importlib
import json
import random
from pathlib import Path

import pytest

from fhir_dmp.fhir.json import dump
from fhir_dmp.fhir.tables import RESOURCE_TYPES
from fhir_dmp.interactions.capabilities import INSTANCE, SYSTEM, TYPE, interactions, written
from fhir_dmp.interactions.operations import OPERATIONS, operations_of
from fhir_dmp.search.parameters import parameters
from tests.fhir.generated import resource
from tests.interactions.making import bundle, statuses, stored

ROOT = Path(__file__).parents[2]
# A value each type of search parameter understands.
VALUES = {
    "number": "1",
    "date": "2020",
    "string": "a",
    "token": "true",
    "reference": "Patient/1",
    "quantity": "1",
    "uri": "urn:a",
    "special": "a",
}
# Values of their own: the words of these are not free.
SPECIAL = {"_id": "a", "_lastUpdated": "2020", "near": "1|1|1|km"}


@pytest.fixture(scope="module")
def declared(fhir):
    """What the server says of itself, asked without a token."""
    return fhir.http.get(f"{fhir.base}/metadata", headers={"Authorization": ""}).json()


def by_type(statement: dict) -> dict[str, dict]:
    return {entry["type"]: entry for entry in statement["rest"][0]["resource"]}


def test_the_file_is_what_its_script_writes():
    load = importlib.import_module("tests.laws.test_readme").load
    assert (ROOT / "capability_statement.json").read_text("utf-8") == load("generate_capability_statement").text()


def test_the_file_is_what_the_server_says_except_what_may_differ(declared):
    file = json.loads((ROOT / "capability_statement.json").read_text("utf-8"))
    told = json.loads(json.dumps(declared))
    for statement in (file, told):
        del statement["date"], statement["implementation"], statement["rest"][0]["security"]
    types = by_type(told)
    told["rest"][0]["resource"] = [types[entry["type"]] for entry in file["rest"][0]["resource"]]
    assert told == file


def test_a_sandbox_serves_every_type(declared):
    assert sorted(by_type(declared)) == sorted(RESOURCE_TYPES)


@pytest.mark.parametrize("type_name", RESOURCE_TYPES)
def test_every_declared_interaction_of_a_type_works(fhir, declared, type_name):
    entry = by_type(declared)[type_name]
    assert [i["code"] for i in entry["interaction"]] == interactions(type_name)
    assert not written(type_name) or sorted(interactions(type_name)) == sorted((*INSTANCE, *TYPE))
    made = resource(type_name, random.Random(type_name), 0.1)
    made.pop("id", None)
    new = stored(fhir.post(type_name, dump(made)))
    done = {"create": 201, "read": fhir.get(new.path).status_code}
    done["vread"] = fhir.get(f"{new.path}/_history/{new.version}").status_code
    done["update"] = fhir.put(new.path, dump({**made, "id": new.id, "language": "fr"})).status_code
    done["patch"] = fhir.patch(new.path, [{"op": "replace", "path": "/language", "value": "en"}]).status_code
    done["history-instance"] = fhir.get(f"{new.path}/_history").json()["total"]
    done["history-type"] = fhir.get(f"{type_name}/_history?_count=1").status_code
    done["search-type"] = fhir.get(f"{type_name}?_id={new.id}").json()["total"]
    done["delete"] = fhir.delete(new.path).status_code
    assert done == {
        "create": 201,
        "read": 200,
        "vread": 200,
        "update": 200,
        "patch": 200,
        "history-instance": 3,
        "history-type": 200,
        "search-type": 1,
        "delete": 204,
    }


@pytest.mark.parametrize("type_name", RESOURCE_TYPES)
def test_every_declared_search_parameter_is_understood_and_no_other(fhir, declared, type_name):
    listed = {p["name"]: p["type"] for p in by_type(declared)[type_name]["searchParam"]}
    assert set(listed) == set(parameters(type_name))
    asked = [(name, SPECIAL.get(name, VALUES.get(kind, "a"))) for name, kind in listed.items() if kind != "composite"]
    batch = bundle("batch", *({"request": {"method": "GET", "url": f"{type_name}?{name}={value}&_summary=count"}} for name, value in asked))
    answered = fhir.post("", batch).json()["entry"]
    refused = {
        name: entry["response"] for (name, _), entry in zip(asked, answered, strict=True) if entry["response"]["status"][:3] != "200"
    }
    assert not refused
    assert fhir.get(f"{type_name}?undeclared=1").status_code == 400


def test_what_refers_to_a_type_is_declared_and_understood(fhir, declared):
    for name, entry in by_type(declared).items():
        told = [one.partition(":")[::2] for one in entry.get("searchRevInclude", ())]
        assert told or "searchRevInclude" not in entry
        assert all(name in parameters(source)[code].targets for source, code in told)
    listed = by_type(declared)["DocumentReference"]["searchRevInclude"]
    assert {"Provenance:target", "AuditEvent:entity", "List:item", "DocumentReference:relatesto"} <= set(listed)
    batch = bundle("batch", *({"request": {"method": "GET", "url": f"DocumentReference?_revinclude={one}&_count=1"}} for one in listed))
    assert {entry["response"]["status"][:3] for entry in fhir.post("", batch).json()["entry"]} == {"200"}
    assert fhir.get("DocumentReference?_revinclude=Patient:family").status_code == 400


def test_declared_system_interactions_work(fhir, declared):
    assert [i["code"] for i in declared["rest"][0]["interaction"]] == list(SYSTEM)
    assert statuses(fhir.post("", bundle("transaction"))) == statuses(fhir.post("", bundle("batch"))) == []
    assert fhir.get("?_type=Patient&_count=1").status_code == 200
    assert fhir.get("_history?_count=1").status_code == 200


LEVELS = {"system": "", "type": "{}/", "instance": "{}/none/"}


def test_declared_operations_are_those_of_the_table(declared):
    told = {None: declared["rest"][0]["operation"], **{name: entry["operation"] for name, entry in by_type(declared).items()}}
    for name, listed in told.items():
        assert [(o["name"], o["definition"]) for o in listed] == [(o.name, o.url) for o in operations_of(name)]
    assert {o.name for o in OPERATIONS} == {o["name"] for listed in told.values() for o in listed}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: f"{o.name}-{'-'.join(o.levels)}")
def test_every_declared_operation_is_served_at_its_levels_and_by_its_methods(fhir, operation):
    for level in operation.levels:
        for type_name in operation.types or ("Basic",):
            address = f"{LEVELS[level].format(type_name)}${operation.name}"
            for method in ("GET", "POST", "PUT", "DELETE"):
                answer = fhir.send(method, address)
                if method in operation.methods:
                    # Refused for what is missing, never for the address or the method.
                    assert answer.status_code in (200, 400, 415, 422) or (level == "instance" and answer.status_code == 404), answer.text
                    assert "there is no operation" not in answer.text
                else:
                    assert answer.status_code == 405
                    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    "address",
    [
        "Patient/$everything",
        "$process-message",
        "$everything",
        "Basic/$lastn",
        "Patient/1/$match",
        "Observation/1/$export",
        "Group/$export",
    ],
)
def test_an_operation_that_is_not_declared_is_not_served(fhir, address):
    assert fhir.get(address).status_code == 404
    assert fhir.post(address, {"resourceType": "Parameters"}).status_code == 404


def test_the_statement_can_be_asked_in_parts(fhir):
    parts = fhir.get("metadata?_elements=fhirVersion").json()
    assert parts["fhirVersion"] == "4.0.1" and "rest" not in parts
    assert fhir.get("metadata?_summary=some").status_code == 400


def test_smart_configuration_names_the_issuer_of_the_tokens(fhir):
    claims = json.loads(base64.urlsafe_b64decode(fhir.server.token.split(".")[1] + "=="))
    configuration = fhir.http.get(f"{fhir.base}/.well-known/smart-configuration", headers={"Authorization": ""}).json()
    assert configuration["issuer"] == claims["iss"]
    assert fhir.http.get(configuration["jwks_uri"]).json()["keys"]
