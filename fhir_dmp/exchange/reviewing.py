"""What an operator does about the quarantine: look, say what a code means or who is meant, import again, give up.

Each is traced before it is told or done, or with it, whichever way it is asked for.
https://hl7.org/fhir/R4/conceptmap.html
"""

from collections.abc import AsyncIterator
from dataclasses import replace

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import people, sources, waiting
from fhir_dmp.exchange.engine import Engine
from fhir_dmp.exchange.foreign import DECIDED
from fhir_dmp.exchange.mapping import targets
from fhir_dmp.exchange.opening import context_of, judged
from fhir_dmp.exchange.referring import DOCUMENT, contents_of
from fhir_dmp.exchange.results import WAITS, Result
from fhir_dmp.exchange.rules import Rules, Target
from fhir_dmp.fhir import json
from fhir_dmp.identity.actor import Actor
from fhir_dmp.interactions import merged, tracing
from fhir_dmp.interactions.context import Context
from fhir_dmp.store.ledger import Ledger, Receipt, Stored
from fhir_dmp.store.naming import Hashing
from fhir_dmp.store.transaction import Transaction

# As they are named in traces.
LIST, RESOLVE = "$quarantine", "$resolve"
CONSOLE = "fhir-dmp quarantine"


def by_command(context: Context) -> Context:
    """The context of whoever is at the console of this host: an administrator, who is traced as one."""
    actor = Actor(kind="operator", role="admin", issuer="console", subject=CONSOLE, expires=float("inf"), software=CONSOLE)
    acting = replace(context, actor=actor, recorder=context.recorder or Recorder(context.store, context.base_url))
    return replace(acting, enforcer=judged(acting))


async def traced(context: Context, asked: str) -> None:
    """Trace what is about to be told or done, of no dossier. asked: in the words of the operation."""
    if context.enforcer is not None:
        await context.recorder.record([tracing.trace(context, "operation", query=asked)])


async def waiting_things(context: Context, rules: Rules) -> AsyncIterator[tuple[str, str, waiting.Held]]:
    """(key in hex, kind, what it is) of everything of a source that waits."""
    async for one in waiting.of(context.store, rules).all():
        if (held := waiting.opened(one)).body:
            yield one.key.hex(), one.kind, held


async def map_code(context: Context, source: str, element: str, local: str, code: str) -> Target:
    """Say what a code of a source means. local: "system|code". code: one of ours."""
    target = next((one for one in targets(element) if one.code == code), None) if element in sources.ELEMENTS else None
    if target is None:
        raise FhirError("invalid", f"`{code[:64]}` is no code for {element[:32]} here")
    registered = await sources.registered(context.store, source)
    await traced(context, f"{RESOLVE}?source={source}&element={element}&local={local}&code={code}")
    await sources.decide(registered, element, local, target)
    return target


async def link(context: Context, rules: Rules, key: str, patient: str) -> str:
    """Say who a Patient in quarantine is: a dossier of this host. It waits no longer. The logical id of the dossier that is meant."""
    quarantine = waiting.of(context.store, rules)
    try:
        found = await quarantine.get(bytes.fromhex(key))
    except ValueError:
        found = None
    if found is None or found.kind != waiting.IDENTITY:
        raise FhirError("not-found", f"nobody waits under `{key[:40]}`")
    held = waiting.opened(found)
    if not held.names[0].startswith("Patient/"):
        raise FhirError("business-rule", f"`{held.names[0][:80]}` is no patient: it waits for one")
    row = await context.store.load(context.store.vault.locate("Patient", patient.removeprefix("Patient/")))
    if row is None or row.deleted or row.type != "Patient":
        raise FhirError("not-found", f"there is no `Patient/{patient.removeprefix('Patient/')[:64]}` here")
    id, _ = await merged.survivor(context, context.store.vault.seal_id(row.key), row)
    hashing = Hashing.of(context.store.vault, rules.source)
    # Decided by a person: whatever version the source sends of this patient, this is who it is, as long as it says the same INS of him.
    said = hashing.number("said", people.ins(json.parse(held.body)))
    stored = Stored(hashing.number("version", DECIDED), said, row.version, hashing.number("job", DECIDED), 200)
    receipt = Receipt(tuple(map(hashing.name, held.names)), row.key, "Patient", stored)
    asked = f"{RESOLVE}?source={rules.source}&id={key}&patient=Patient/{id}"

    async def work(transaction: Transaction) -> None:
        if context.enforcer is not None:
            await transaction.write(context.recorder.changes([tracing.trace(context, "operation", patient=id, query=asked)]))
        await Ledger(context.store).link(receipt, transaction=transaction, decided=True)

    await context.store.transact(work)
    await Engine(context_of(context.store, context.settings, rules, context.base_url), rules, "").bind(receipt)
    await quarantine.remove(found.key)
    return id


async def drop(context: Context, rules: Rules, key: str) -> str:
    """Give up one thing that waits, and what waits with it; its place in what was sent. The source is asked to send it where it belongs."""
    quarantine = waiting.of(context.store, rules)
    try:
        found = await quarantine.get(bytes.fromhex(key))
    except ValueError:
        found = None
    if found is None:
        raise FhirError("not-found", f"nothing waits under `{key[:40]}`")
    held = waiting.opened(found)
    await traced(context, f"{RESOLVE}?source={rules.source}&id={key}&drop=true")
    name = Hashing.of(context.store.vault, rules.source).name
    tree = json.parse(held.body) if held.body else {}
    for content in contents_of(tree).values() if tree.get("resourceType") == DOCUMENT else ():
        await quarantine.remove(name(content))
    await quarantine.remove(found.key)
    return held.place


async def replay(context: Context, rules: Rules, job: str) -> AsyncIterator[Result]:
    """Import again what waits; what is taken waits no longer."""
    acting = context_of(context.store, context.settings, rules, context.base_url)
    quarantine = waiting.of(context.store, rules)
    kinds = {one.key: one.kind async for one in quarantine.all()}
    # Contents after the documents that point to them.
    for key in sorted(kinds, key=lambda key: kinds[key] == waiting.CONTENT):
        found = await quarantine.get(key)
        if found is None:
            continue
        held = waiting.opened(found)
        if not held.body:
            if await Ledger(context.store).known({key}):  # its document is there, and it may come as any content does
                await quarantine.remove(key)
            continue
        engine = Engine(acting, rules, job)
        engine.foreign.received_ms = found.at_ms
        (results,) = await engine.run([held.item], last=True)
        if all(result.accepted for result in results):
            await quarantine.remove(key)
        for result in (*results, *engine.brought):
            yield result if result.status != WAITS else result._replace(place=held.place)
