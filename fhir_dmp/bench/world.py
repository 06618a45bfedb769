"""A host under measurement as requests are made of it: who asks, what is stored, how a request looks on the wire.

https://www.rfc-editor.org/rfc/rfc9112
"""

import json
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from fhir_dmp.bench import data
from fhir_dmp.bench.asking import Reply
from fhir_dmp.bench.driver import FRESH
from fhir_dmp.bench.host import Host
from fhir_dmp.dmp.identity import RPPS

FHIR_JSON = "application/fhir+json"

Ask = Callable[[bytes], Reply]


class Asked(NamedTuple):
    """One complete request. check(reply, ask): what is wrong with the answer, empty when it is right; ask sends another request."""

    request: bytes
    check: Callable[[Reply, Ask], str]


class World:
    """A host and what is stored in it, as requests are made of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.patients = host.loaded.ids("patients")
        self.documents = host.loaded.ids("documents")
        self.practitioners = host.loaded.ids("practitioners")
        # Numbers of patients, and the documents that were added to their dossiers; see deposits.large.
        self.large: dict[int, list[dict]] = {}

    @property
    def ruled(self) -> bool:
        """Whether who asks meets the rules."""
        return not self.host.mode.sandbox

    def get(self, path: str, accept: str = FHIR_JSON, *, colleague: bool = False) -> bytes:
        """GET below [base]. colleague: by the one from whom documents are masked."""
        return self._head("GET", path, f"Accept: {accept}\r\n", self.host.colleague if colleague else self.host.token)

    def post(self, path: str, body: bytes, media_type: str = FHIR_JSON, *, token: str = "") -> bytes:
        """POST below [base]. token: of somebody else than usual."""
        return self._head("POST", path, f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n", token) + body

    def _head(self, method: str, path: str, more: str, token: str = "") -> bytes:
        target = f"/fhir/{path}" if path else "/fhir"
        always = f"Host: {self.host.address}\r\nAuthorization: Bearer {token or self.host.token}\r\n"
        return f"{method} {target} HTTP/1.1\r\n{always}{more}\r\n".encode("ascii")

    def popular(self, chance: Random, count: int) -> int:
        """One of `count` numbers; the r-th most wanted is wanted 1/r as often as the first (Zipf), and the wanted ones lie scattered."""
        return _scattered(int((count + 1) ** chance.random()) - 1, count)

    def unwanted(self, place: int) -> int:
        """A patient whose dossier hardly anybody reads, so that what is added to it changes nothing elsewhere. place: 0 is the last."""
        return _scattered(len(self.patients) - 1 - place, len(self.patients))

    def new_document(self, chance: Random, number: int, subject: str | None = None) -> dict:
        """A document that is not stored yet, whenever it is sent. subject: reference, None for a stored patient."""
        # Of all patients alike: the dossiers that are read most would be other ones at the end than at the beginning.
        patient = chance.randrange(len(self.patients))
        author = f"Practitioner/{self.practitioners[number % len(self.practitioners)]}"
        document = data.document(patient, data.DOCUMENTS + number, subject or f"Patient/{self.patients[patient]}", author)
        document["masterIdentifier"]["value"] = document["masterIdentifier"]["value"][: -len(FRESH)] + FRESH
        # Where the rules hold, who deposits is an author.
        return {**document, "author": [{"identifier": {"system": RPPS, "value": data.DOCTOR[1:]}}]} if self.ruled else document


def encoded(resource: dict) -> bytes:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()


def address_of(location: str) -> str:
    """Address below [base] of what an answer says it created, without its version.

    >>> address_of("http://127.0.0.1/fhir/Binary/b1/_history/v1"), address_of("Binary/b1/_history/v1")
    ('Binary/b1', 'Binary/b1')
    """
    return location.rpartition("/fhir/")[2].partition("/_history/")[0]


def _scattered(rank: int, count: int) -> int:
    return rank * 2_654_435_761 % count
