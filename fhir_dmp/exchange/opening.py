"""The store as an import sees it: opened for the source, acting as the source.

https://profiles.ihe.net/ITI/IUA/
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.consent.asking import asking
from fhir_dmp.exchange.rules import FEED, SANDBOX, Rules
from fhir_dmp.identity.actor import Actor
from fhir_dmp.identity.scopes import parse
from fhir_dmp.interactions import choices
from fhir_dmp.interactions.context import Context
from fhir_dmp.interactions.enforcement import Enforcer
from fhir_dmp.settings import Settings
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.store.ledger import Ledger
from fhir_dmp.store.resources import Store, wall_clock_ms

ADDRESS = "http://localhost/fhir"


def actor_of(rules: Rules) -> Actor:
    """Who deposits what a source sends."""
    common = {"issuer": "import", "subject": rules.source, "expires": float("inf"), "software": "fhir-dmp import"}
    if rules.kind == SANDBOX:
        return Actor(kind="system", scopes=parse("system/*.cruds"), **common)
    if rules.kind == FEED:
        return Actor(kind="feed", organization=rules.organization, **common)
    return Actor(kind="host", host=rules.source, organization=rules.organization, **common)


def context_of(store: Store, settings: Settings, rules: Rules, base_url: str = "") -> Context:
    """The context in which a source is imported into an open store. What a real source brings is sealed and judged like any deposit."""
    address = base_url or settings.base_url or ADDRESS
    return Context(
        store=store,
        actor=actor_of(rules),
        settings=settings,
        base_url=address,
        now_ms=wall_clock_ms,
        random=os.urandom,
        recorder=None if rules.plain else Recorder(store, address),
        seals=None if rules.plain else SealKeys(settings.data),
    )


def judged(context: Context, source: str = "") -> Enforcer:
    """Who asks the rules for the actor of a context, by the choices of this host. source: see consent.asking.Request."""
    return Enforcer(asking(context.actor, source=source), choices.law(context.settings))


@asynccontextmanager
async def opened(settings: Settings, rules: Rules, base_url: str = "") -> AsyncIterator[Context]:
    """The store of these settings, open as long as it is used."""
    store = await Store.open(settings.mongodb_uri, settings.database, data_dir=settings.data, sandbox=settings.sandbox or None)
    try:
        await Ledger(store).ready()
        yield context_of(store, settings, rules, base_url)
    finally:
        await store.close()
