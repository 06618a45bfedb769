"""Lists of documents within a history: each names what its author sees, of which another is shown a part, and changes what he is shown.

access-rules 6: what is left out of a List for somebody is not there, whatever he does with the List; contract 4, PATCH of a List
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fhir_dmp.dmp.documents import IS_ARCHIVED
from tests.worlds import people
from tests.worlds.deeds import Deed, drawn
from tests.worlds.hosting import Call

if TYPE_CHECKING:
    from tests.worlds.asking import Asked
    from tests.worlds.histories import Play

AUTHORS = ("traitant", "hospital", "team", "consented", "colleague", "elsewhere", "holder")
NAMED, PLACES = 3, 3
JSON_PATCH = {"content-type": "application/json-patch+json"}
RETIRED = {"op": "replace", "path": "/status", "value": "retired"}
ARCHIVED = {"op": "add", "path": "/extension", "value": [{"url": IS_ARCHIVED, "valueBoolean": True}]}

lot = drawn("lot", AUTHORS, NAMED)


def changes(place: int, reference: str) -> list[list | dict]:
    """Patches of one entry of a List, by its place or by what it names; none but those of the status and of isArchived is ever done."""
    entry = f"/entry/{place}"
    item = f"List.entry.where(item.reference = '{reference}')"
    return [
        [{"op": "test", "path": f"{entry}/item/reference", "value": reference}, ARCHIVED],
        [{"op": "test", "path": f"{entry}/item", "value": {"reference": reference}}, RETIRED],
        [{"op": "replace", "path": f"{entry}/item/reference", "value": reference}],
        [{"op": "remove", "path": entry}],
        [{"op": "move", "from": entry, "path": "/entry/0"}],
        [{"op": "copy", "from": f"{entry}/item/reference", "path": "/title"}],
        [{"op": "add", "path": f"/entry/{place + 1}", "value": {"item": {"reference": reference}}}],
        fhirpath("delete", f"List.entry[{place}]"),
        fhirpath("delete", item),
        fhirpath("replace", f"List.entry[{place}].item.reference", valueString=reference),
        fhirpath("move", "List.entry", source=place, destination=0),
        fhirpath("replace", "List.status", valueCode="retired"),
    ]


def fhirpath(kind: str, path: str, **more: object) -> dict:
    """FHIRPath Patch of one operation."""
    parts = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    for name, value in more.items():
        parts.append({"name": name, "valueInteger": value} if isinstance(value, int) else {"name": "value", name: value})
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


class Lots:
    """Deeds of a Play."""

    async def _lot(self: "Play", deed: Deed, number: int) -> None:
        """A List of up to three documents that its author sees, first any of them."""
        by, there = self.cast[deed.by], await self.shown_to(deed.by)
        if self.story.sealed or not there:  # its seal is over all that it names
            return
        first = deed.on % len(there)
        named = (there[first:] + there[:first])[: deed.how + 1]

        def call(hidden: frozenset[int] = frozenset()) -> Call:
            entries = [{"item": {"reference": one.address}} for one in named if one.lineage not in hidden]
            value = {"resourceType": "List", "status": "current", "mode": "working", "title": f"choix {number}"}
            return self.call(by.name, "POST", "List", {**value, "subject": {"reference": self.here.path}, "entry": entries})

        reply = await self.act(by.name, "lot", call(), leads=frozenset(one.lineage for one in named), without=call)
        if reply.status == 201:
            self.lists.append(reply.value()["id"])

    async def _turn(self: "Play", deed: Deed, number: int) -> None:
        """The asker himself changes a List: what others may change of it goes by what they see, which may be hidden from him."""
        lists = [*self.lists, *(one.listed for one in self.documents if one.listed)]
        if lists:
            address = f"List/{lists[deed.on % len(lists)]}"
            named = self.documents[(deed.on + deed.how) % len(self.documents)].address
            every = changes(deed.how % PLACES, named)
            body = every[deed.how % len(every)]
            kind = JSON_PATCH["content-type"] if isinstance(body, list) else "application/fhir+json"
            await self.act(self.asker.name, "turn", self.call(self.asker.name, "PATCH", address, body, content_type=kind))


turn = drawn("turn", ("asker",), len(changes(0, "")))


def questions(asked: "Asked", play: "Play") -> Iterator[Call]:
    """Changes of Lists, which may succeed: whether they do must not go by what is named in them and not seen."""
    patient, named = play.dossiers[0].living.id, [one.address for one in play.documents[:4]]
    for id in dict.fromkeys([*(one.listed for one in play.documents[:6] if one.listed), *play.lists[:4]]):
        address = f"List/{id}"
        for path in (address, f"{address}/_history", f"{address}/$verify", f"List?patient={patient}&_id={id}&_include=List:item"):
            yield asked.get(path)
        for number, reference in enumerate(named):
            for change in changes(number % PLACES, reference):
                yield _patch(asked, address, change)
        for place in range(PLACES):
            yield _patch(asked, address, [{"op": "test", "path": f"/entry/{place}/item/reference", "value": named[-1]}])
        yield _patch(asked, f"List?patient={patient}&item={named[0]}", [ARCHIVED])
        yield _patch(asked, f"List?patient={patient}&_id={id}", [{"op": "remove", "path": "/entry"}])
        entries = [{"item": {"reference": reference}} for reference in named]
        value = {"resourceType": "List", "id": id, "status": "current", "mode": "working", "subject": {"reference": f"Patient/{patient}"}}
        for body in (value, {**value, "entry": entries}, {**value, "entry": entries[:1]}):
            yield asked.send("PUT", address, body)
        yield asked.send("DELETE", address)
        for change in ([ARCHIVED], [RETIRED]):
            yield _patch(asked, address, change)


def _patch(asked: "Asked", path: str, change: list | dict) -> Call:
    return asked.send("PATCH", path, people.dumped(change), **(JSON_PATCH if isinstance(change, list) else {}))
