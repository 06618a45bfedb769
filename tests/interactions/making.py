"""Requests and resources to test with, over real HTTP."""

import itertools
import json
import os
import re
import time
from typing import NamedTuple

import httpx

from fhir_dmp.identity.tokens import Tokens
from fhir_dmp.settings import Settings

FHIR_JSON = "application/fhir+json"
JSON_PATCH = "application/json-patch+json"
INS = "urn:oid:1.2.250.1.213.1.4.10"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

_numbers = itertools.count(1)


class Fhir:
    """A client of one server. Bodies are bytes, sent as they are, or values, sent as JSON."""

    def __init__(self, server, http: httpx.Client | None = None) -> None:
        self.server, self.base = server, server.fhir
        self.http = http or httpx.Client(timeout=120, headers=server.auth)

    def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """headers: names with underscores, e.g. if_match."""
        return self.http.request(method, self.url(path), content=encoded(body), headers=self.headers(body, headers))

    def url(self, path: str) -> str:
        return path if path.startswith("http") else f"{self.base}/{path}" if path else self.base

    @staticmethod
    def headers(body: object, given: dict[str, str]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in given.items()}
        return named if body is None else {"content-type": FHIR_JSON, **named}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, **headers)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return self.send("POST", path, body, **headers)

    def put(self, path: str, body: object, **headers: str) -> httpx.Response:
        return self.send("PUT", path, body, **headers)

    def delete(self, path: str, **headers: str) -> httpx.Response:
        return self.send("DELETE", path, **headers)

    def patch(self, path: str, body: object, **headers: str) -> httpx.Response:
        """A list is a JSON Patch, anything else a FHIRPath Patch."""
        if isinstance(body, list):
            headers = {"content_type": JSON_PATCH, **headers}
        return self.send("PATCH", path, body, **headers)

    def new(self, resource: dict) -> "Stored":
        """Create it, and check that it was."""
        answer = self.post(resource["resourceType"], resource)
        assert answer.status_code == 201, answer.text
        return stored(answer)

    def alive(self) -> bool:
        return self.http.get(f"{self.server.url}/health/ready").status_code == 200


class Stored(NamedTuple):
    """What a write answered. path: Type/id."""

    path: str
    id: str
    version: str
    value: dict

    @property
    def etag(self) -> str:
        return f'W/"{self.version}"'


def scoped(server, scope: str, **claims: str) -> dict[str, str]:
    """Header of a `system` token of the server with these scopes, issued without a process of its own."""
    tokens = Tokens.open(Settings(data=server.data, sandbox=True))
    token = tokens.issue("system", {"scope": scope, **claims}, now_ms=time.time_ns() // 1_000_000, random=os.urandom)
    return {"authorization": f"Bearer {token}"}


def stored(answer: httpx.Response) -> Stored:
    """What a write answered about itself."""
    type_name, id, _, version = answer.headers["location"].split("/")[-4:]
    return Stored(f"{type_name}/{id}", id, version, answer.json() if answer.content else {})


def encoded(body: object) -> object:
    """Values as JSON; bytes and streams of bytes as they are."""
    return dumped(body) if isinstance(body, (dict, list)) else body


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def issue(answer: httpx.Response) -> tuple[str, str]:
    """(severity, code) of the first issue of an OperationOutcome."""
    first = issues(answer)[0]
    return first["severity"], first["code"]


def issues(answer: httpx.Response) -> list[dict]:
    """Issues of an OperationOutcome, each with words."""
    assert answer.headers["content-type"] == f"{FHIR_JSON}; charset=utf-8", answer.headers
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome", outcome
    assert all(issue["diagnostics"] for issue in outcome["issue"])
    return outcome["issue"]


def places(answer: httpx.Response) -> list[str]:
    """Where the faults are, in order."""
    return [place for issue in issues(answer) for place in issue.get("expression", [])]


def refused(answer: httpx.Response) -> tuple[int, str]:
    """(status, issue code) of a refusal."""
    return answer.status_code, issue(answer)[1]


def unique(prefix: str = "h") -> str:
    """A value nobody else uses."""
    return f"{prefix}{os.getpid()}-{next(_numbers)}-{os.urandom(4).hex()}"


def patient(family: str = "QUATREMERE", **fields: object) -> dict:
    return {"resourceType": "Patient", "name": [{"family": family, "given": ["Solange"]}], "gender": "female", **fields}


def basic(**fields: object) -> dict:
    """The resource with the fewest demands."""
    return {"resourceType": "Basic", "code": {"text": "note"}, **fields}


def observation(subject: str | None = None, **fields: object) -> dict:
    about = {} if subject is None else {"subject": {"reference": subject}}
    code = {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]}
    return {"resourceType": "Observation", "status": "final", "code": code, **about, **fields}


def identified(type_name: str, value: str, **fields: object) -> dict:
    """A resource with an identifier of one's own."""
    made = {"Patient": patient, "Observation": observation, "Basic": basic}[type_name](**fields)
    return {**made, "identifier": [{"system": "urn:x-test", "value": value}]}


def entry(method: str, url: str, resource: dict | None = None, full_url: str | None = None, **request: str) -> dict:
    """An entry of a batch or transaction. request: e.g. ifNoneExist, ifMatch."""
    made: dict = {} if full_url is None else {"fullUrl": full_url}
    if resource is not None:
        made["resource"] = resource
    return {**made, "request": {"method": method, "url": url, **request}}


def bundle(kind: str, *entries: dict) -> dict:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def statuses(answer: httpx.Response) -> list[str]:
    """Status of each entry of a response Bundle: its number alone."""
    assert answer.status_code == 200, answer.text
    return [entry["response"]["status"][:3] for entry in answer.json().get("entry", [])]


def located(answer: httpx.Response) -> list[str]:
    """Type/id of each entry of a response Bundle, "" where it tells none."""
    found = []
    for entry in answer.json()["entry"]:
        location = entry["response"].get("location", "")
        found.append("/".join(location.split("/")[-4:-2]) if location else "")
    return found
