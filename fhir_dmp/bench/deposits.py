"""Deposits of several resources at once, and of large contents: W5 and W9, and the dossiers that are filled up for W4 and W10.

https://hl7.org/fhir/R4/http.html#transaction ; under the rules each is IHE MHD Provide Document Bundle [ITI-65]
"""

import json
from base64 import b64encode
from collections.abc import Sequence
from functools import partial
from random import Random

from fhir_dmp.bench import data
from fhir_dmp.bench.asking import Asker, Reply
from fhir_dmp.bench.world import Ask, Asked, World, address_of, encoded
from fhir_dmp.commands import Failed

# Resources of a dossier that was filled up, and how many there are; how many others take what W5 deposits.
FULL, LARGE, TAKING = 500, 8, 16
MEGABYTE = 1 << 20
PDF, TEXT = "application/pdf", "text/plain; charset=utf-8"
SETS = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"

Entries = list[tuple[str, dict]]


def transaction(world: World, entries: Entries) -> bytes:
    """A request that creates all of these: (fullUrl, resource)."""
    listed = [
        {"fullUrl": url, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}} for url, resource in entries
    ]
    return world.post("", encoded({"resourceType": "Bundle", "type": "transaction", "entry": listed}))


def urn(chance: Random) -> str:
    """An address for the time of a transaction."""
    return f"urn:uuid:{data.uuid(f'{chance.getrandbits(128):032x}')}"


# ITI-65


def provided(chance: Random, documents: Sequence[dict], contents: Sequence[tuple[str, bytes]] = ()) -> Entries:
    """Entries of a deposit: a submission set, its documents, which belong to one dossier, and their contents: (media type, octets).

    Documents without a content of their own keep the address that they have.
    """
    lot, listed, items = urn(chance), [], []
    for number, document in enumerate(documents):
        items.append({"item": {"reference": urn(chance)}})
        if number < len(contents):
            media_type, octets = contents[number]
            content = urn(chance)
            attachment = {**document["content"][0]["attachment"], "url": content, "size": len(octets), "contentType": media_type}
            document = {**document, "content": [{**document["content"][0], "attachment": attachment}]}
            binary = {"resourceType": "Binary", "contentType": media_type, "data": b64encode(octets).decode()}
            listed += [(items[-1]["item"]["reference"], document), (content, binary)]
        else:
            listed.append((items[-1]["item"]["reference"], document))
    submitted = {
        "resourceType": "List",
        "status": "current",
        "mode": "working",
        "code": {"coding": [{"system": SETS, "code": "submissionset"}]},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": lot}],
        "subject": documents[0]["subject"],
        "date": documents[0]["date"],
        "source": documents[0]["author"][0],
        "entry": items,
    }
    return [(lot, submitted), *listed]


def observed(number: int) -> tuple[str, bytes]:
    """A content of two kilobytes."""
    return TEXT, f"Observation simulée numéro {number}. ".encode() * 60


def depositing(world: World, entries: Entries, content: tuple[str, bytes]) -> Asked:
    """The deposit of these. content: that of the last of them."""
    return Asked(transaction(world, entries), partial(is_deposited, world, len(entries), content))


def is_deposited(world: World, entries: int, content: tuple[str, bytes], reply: Reply, ask: Ask) -> str:
    """Everything was created, and the last content is read as it was sent."""
    media_type, octets = content
    return is_processed(entries, reply, ask) or is_content(octets, ask(world.get(last_created(reply), media_type.partition(";")[0])), ask)


def last_created(reply: Reply) -> str:
    """Address below [base] of what the last entry of a transaction created."""
    return address_of(json.loads(reply.body)["entry"][-1]["response"]["location"])


def is_processed(entries: int, reply: Reply, ask: Ask) -> str:
    """Everything was created."""
    if reply.status != 200:
        return f"transaction answered {reply.status}"
    found = [entry["response"]["status"][:3] for entry in json.loads(reply.body)["entry"]]
    return "" if found == ["201"] * entries else "transaction created something else than was sent"


# Dossiers that are larger than others


def large(world: World) -> dict[int, list[dict]]:
    """Patients whose dossiers have FULL resources, and the documents that were added. Made when first asked for."""
    if not world.large:
        asker = Asker(world.host.address)
        for place in range(LARGE):
            number = world.unwanted(place)
            chance, subject = Random(f"large {number}"), f"Patient/{world.patients[number]}"
            # The others: the Patient, the documents that were there, the submission set.
            documents = [world.new_document(chance, more, subject) for more in range(FULL - data.DOCUMENTS - 2)]
            reply = asker.ask(transaction(world, provided(chance, documents)))
            if wrong := is_processed(len(documents) + 1, reply, asker.ask):
                raise Failed(f"a large dossier: {wrong}")
            world.large[number] = documents
        asker.close()
    return world.large


# W5


def submissions(world: World) -> list[Asked]:
    """W5x3: a document with its content and its submission set."""
    chance = Random("W5x3")
    made = []
    for number in range(500):
        content = observed(number)
        made.append(depositing(world, provided(chance, [world.new_document(chance, number)], [content]), content))
    return made


def large_submissions(world: World, entries: int) -> list[Asked]:
    """W5xN under the rules: half as many documents of one dossier, with their contents, and their submission set."""
    chance = Random(f"W5x{entries}")
    made = []
    for number in range(max(4, 4000 // entries)):
        subject = f"Patient/{world.patients[world.unwanted(LARGE + number % TAKING)]}"
        documents = [world.new_document(chance, one, subject) for one in range(entries // 2)]
        contents = [observed(one) for one in range(len(documents))]
        made.append(depositing(world, provided(chance, documents, contents), contents[-1]))
    return made


def dossiers(world: World, entries: int) -> list[Asked]:
    """W5xN in a sandbox: patients, each followed by seven documents of theirs."""
    chance = Random(f"W5x{entries}")
    made = []
    for number in range(max(4, 4000 // entries)):
        listed: Entries = []
        while len(listed) < entries:
            holder = urn(chance)
            person = number * entries + len(listed)
            listed.append((holder, data.patient(500_000 + person)))
            listed += [(urn(chance), world.new_document(chance, k, holder)) for k in range(data.DOCUMENTS)]
        made.append(Asked(transaction(world, listed[:entries]), partial(is_processed, entries)))
    return made


# W9


def octets(number: int) -> bytes:
    """A content of one megabyte."""
    return Random(f"W9 {number}").randbytes(MEGABYTE)


def write_binary(world: World) -> list[Asked]:
    """W9 write in a sandbox: a Binary of one megabyte, sent as itself."""
    made = []
    for number in range(4):
        body = octets(number)
        made.append(Asked(world.post("Binary", body, PDF), partial(is_stored, world, body)))
    return made


def is_stored(world: World, body: bytes, reply: Reply, ask: Ask) -> str:
    """201, and the same octets when it is read."""
    if reply.status != 201:
        return f"create of a Binary answered {reply.status}"
    return is_content(body, ask(world.get(address_of(reply.header("location")), PDF)), ask)


def write_document(world: World) -> list[Asked]:
    """W9 write under the rules, where a Binary comes with its document alone: a deposit with a content of one megabyte."""
    chance = Random("W9")
    made = []
    for number in range(4):
        content = (PDF, octets(number))
        made.append(depositing(world, provided(chance, [world.new_document(chance, number)], [content]), content))
    return made


def read_binary(world: World) -> list[Asked]:
    """W9 read: a Binary of one megabyte, as itself."""
    asker, made = Asker(world.host.address), []
    for one in write_document(world) if world.ruled else write_binary(world):
        reply = asker.ask(one.request)
        if wrong := one.check(reply, asker.ask):
            raise Failed(f"a content for W9: {wrong}")
        path = last_created(reply) if world.ruled else address_of(reply.header("location"))
        made.append(Asked(world.get(path, PDF), partial(is_content, octets(len(made)))))
    asker.close()
    return made


def is_content(body: bytes, reply: Reply, ask: Ask) -> str:
    """Those octets."""
    if reply.status != 200:
        return f"read of a Binary answered {reply.status}"
    return "" if reply.body == body else "a Binary reads otherwise than it was written"
