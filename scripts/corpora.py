"""What real sources bring of a folder of real material, counted: taken, in quarantine, refused with the reason, nothing lost.

    .venv/bin/python scripts/corpora.py ../shared/corpora [--write]

Each sub-folder is sent by each kind of registered source into a store for real use of its own. Before that the dossiers of all whom the
folder calls a Patient are opened, with a qualified INS, the numbers that the source knows them by, and the consent that it needs.
"""

import argparse
import asyncio
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

from fhir_dmp.bench import data, report
from fhir_dmp.consent.dossier import Dossier, Permit
from fhir_dmp.dmp.identity import INS_SYSTEMS, RELIABILITY
from fhir_dmp.exchange import sources
from fhir_dmp.exchange.importer import Importer
from fhir_dmp.exchange.inputs import Item, inputs, items
from fhir_dmp.exchange.opening import ADDRESS, context_of
from fhir_dmp.exchange.pool import Here
from fhir_dmp.exchange.results import ACCEPTED, KNOWN, QUARANTINED, REFUSED, Result
from fhir_dmp.exchange.rules import CARE_RECORD, CONSENTS, EXPERIMENT, HOST, Rules
from fhir_dmp.fhir import json
from fhir_dmp.interactions.prepare import check, stamp
from fhir_dmp.settings import Settings
from fhir_dmp.store.embedded import Embedded
from fhir_dmp.store.ledger import Ledger
from fhir_dmp.store.resources import Store, Transaction

NAME = "corpora"
WORSE = (KNOWN, ACCEPTED, QUARANTINED, REFUSED)
KINDS = {"pilot-alsace": EXPERIMENT, "cabinet": CARE_RECORD, "autre-hebergeur": HOST}
QUALIFIED = [{"url": RELIABILITY, "extension": [{"url": "identityStatus", "valueCoding": {"code": "QUAL"}}]}]
# What differs from one refusal to the next and is not its reason.
PARTICULAR = re.compile(r"`[^`]*`|\d+|(?<=this )[A-Z]\w+|(?<=nearest to …: ).*")


class Sent(NamedTuple):
    """One folder from one source. states: of its entries. reasons: of those refused or in quarantine."""

    folder: str
    source: str
    entries: int
    states: Counter[str]
    reasons: Counter[tuple[str, str]]

    @property
    def lost(self) -> int:
        """Entries of which nothing was said."""
        return self.entries - self.states.total()


async def main(folders: list[Path]) -> list[Sent]:
    """Every folder from every source."""
    place, found = Path(tempfile.mkdtemp(prefix="fhir-dmp-")), []
    mongod = Embedded.start(place)
    try:
        for part in folders:
            for source, kind in KINDS.items():
                found.append(await sent(mongod.uri, place, part, source, kind))
                print(line(found[-1]), flush=True)
        return found
    finally:
        mongod.stop()
        shutil.rmtree(place)


async def sent(uri: str, place: Path, folder: Path, source: str, kind: str) -> Sent:
    """Import a folder from one source into an empty store."""
    store = await Store.open(uri, f"{folder.name}-{source}".replace(".", "-"), data_dir=place)
    try:
        await Ledger(store).ready()
        listed = [item for one in inputs([str(folder)]) for item in items(one)]
        people = list(patients(listed))
        systems = {one["system"] for person in people for one in person.get("identifier", ()) if one.get("system")}
        await sources.register(store, source, name=source, kind=kind, systems={f"N{k}": one for k, one in enumerate(sorted(systems))})
        rules = await sources.rules_of(store, source)
        await open_dossiers(store, place, people, rules)
        context, told = context_of(store, Settings(data=place), rules, ADDRESS), []
        pool = Here(context, rules, "corpora")
        await Importer(pool, told.append, lambda size: None, people_first=True).run(lambda: iter(listed))
        return counted(folder.name, source, listed, told)
    finally:
        await store.close()


def patients(listed: list[Item]) -> Iterator[dict]:
    """Everybody whom the files call a Patient, once."""
    seen = set()
    for item in listed:
        tree = json.parse(item.body, max_depth=100) if item.fault is None and item.body[:1] == b"{" else {}
        inside = (one.get("resource") for one in tree.get("entry") or ()) if tree.get("resourceType") == "Bundle" else (tree,)
        for one in inside:
            if isinstance(one, dict) and one.get("resourceType") == "Patient":
                key = json.dump([one.get("identifier"), one.get("name"), one.get("birthDate")])
                if key not in seen:
                    seen.add(key)
                    yield one


async def open_dossiers(store: Store, place: Path, people: list[dict], rules: Rules) -> None:
    """Dossiers with the traits and numbers of these people, an INS of the test system where they have none, and the consent of each."""
    context = context_of(store, Settings(data=place), rules, ADDRESS)
    for number, one in enumerate(people):
        told = [each for each in one.get("identifier", ()) if each.get("system") and each.get("value")]
        if not any(each["system"] in INS_SYSTEMS for each in told):
            told.insert(0, {"use": "official", "system": data.INS_TEST, "value": data.ins(number, number % 2, date(1980, 1, 1))})
        kept = {name: one[name] for name in ("name", "gender", "birthDate") if name in one}
        value = {"resourceType": "Patient", "extension": QUALIFIED, "identifier": told, **kept}
        stamped = stamp(context, check(context, json.dump(value), "Patient"), method="POST")
        await store.create(stamped.row)
        permits = (Permit(CONSENTS[rules.kind]),) if CONSENTS[rules.kind] else ()
        policy = Dossier(patient=stamped.id, birth_date=one.get("birthDate", "1980-01-01"), epoch=1, permits=permits)

        async def work(transaction: Transaction, policy: Dossier = policy) -> None:
            await transaction.set_policy(store.vault.dossier_of_patient(policy.patient), policy, at_ms=1)

        await store.transact(work)


def counted(folder: str, source: str, listed: list[Item], told: list[Result]) -> Sent:
    """Each entry counts: all of a transaction that is refused as a whole."""
    inside = {item.place: entries_of(item) for item in listed}
    states, reasons = Counter(), Counter()
    # Of one resource that becomes several, such as a document, what went worst.
    worst: dict[str, Result] = {}
    for result in told:
        whole = result.place.partition(" entry[")[0]
        place = whole if inside.get(whole) == 1 else result.place
        if place not in worst or WORSE.index(result.state) > WORSE.index(worst[place].state):
            worst[place] = result._replace(place=place)
    for result in worst.values():
        weight = inside.get(result.place, 1)
        states[result.state] += weight
        if not result.accepted:
            issue = result.issues[0]
            reasons[result.state, f"{result.status} {PARTICULAR.sub('…', issue.diagnostics)}"] += weight
    return Sent(folder, source, sum(inside.values()), states, reasons)


def entries_of(item: Item) -> int:
    """Resources in an item: entries of a Bundle whose entries are taken one by one or all together, else one."""
    tree = json.parse(item.body, max_depth=100) if item.fault is None and item.body[:1] == b"{" else {}
    if tree.get("resourceType") != "Bundle" or tree.get("type") not in ("transaction", "batch", "collection", "searchset", "history"):
        return 1
    return sum(1 for one in tree.get("entry") or () if ("resource" in one or "request" in one) and not _outcome(one))


def _outcome(entry: dict) -> bool:
    return (entry.get("search") or {}).get("mode") == "outcome"


HEADS = ("folder", "source", "kind", "entries", "taken", "in quarantine", "refused", "lost")


def row(one: Sent) -> tuple[str, ...]:
    """Cells of one line of the table."""
    taken = one.states[ACCEPTED] + one.states[KNOWN]
    numbers = (one.entries, taken, one.states[QUARANTINED], one.states[REFUSED], one.lost)
    return (one.folder, one.source, KINDS[one.source], *map(str, numbers))


def line(one: Sent) -> str:
    """For people who wait."""
    return "  ".join(f"{head} {cell}" for head, cell in zip(HEADS, row(one), strict=True))


def written(found: list[Sent]) -> str:
    """The table, and under it why."""
    lines = [report.markdown_table([HEADS, *map(row, found)]), ""]
    said: dict[tuple[str, frozenset], list[str]] = {}
    for one in found:
        said.setdefault((one.folder, frozenset(one.reasons.items())), []).append(one.source)
    for (folder, reasons), by in said.items():
        if reasons:
            lines.append(f"- {folder} from {', '.join(by)}:")
        lines += [f"  - {count} {state}: {reason}" for (state, reason), count in sorted(reasons, key=lambda pair: (-pair[1], pair[0]))]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into ig/performance.md")
    asked = parser.parse_args()
    results = asyncio.run(main(sorted(one for one in asked.folder.iterdir() if one.is_dir())))
    print(written(results))
    if asked.write:
        report.put(Path("ig") / report.PAGE, NAME, written(results))
    if any(one.lost for one in results):
        raise SystemExit(1)
