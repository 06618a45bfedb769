"""Hosts in one process, and random dossiers that go from one to another."""

import asyncio
import io
import os
from base64 import b64decode
from dataclasses import replace
from functools import partial

from hypothesis import strategies as st

from fhir_dmp.audit import chain, checkpoint
from fhir_dmp.audit.verify import Report
from fhir_dmp.audit.verify_rows import rows
from fhir_dmp.consent.acts import ACTS
from fhir_dmp.consent.asking import asking
from fhir_dmp.exchange import hosts, package_export, package_import, sources, transfer
from fhir_dmp.exchange.opening import context_of
from fhir_dmp.exchange.package_facts import Names
from fhir_dmp.exchange.rules import Rules
from fhir_dmp.fhir import json
from fhir_dmp.interactions import enforcement, origins, seal_reading
from fhir_dmp.interactions.enforcement import Enforcer
from fhir_dmp.interactions.origins import translated
from fhir_dmp.interactions.reindex import facts_said
from fhir_dmp.interactions.verify_seals import seals
from fhir_dmp.settings import Settings
from fhir_dmp.signing.keys import SealKeys
from fhir_dmp.store.reading import Moment
from fhir_dmp.store.resources import Store
from fhir_dmp.store.takeover import versions
from fhir_dmp.store.vault import dossier_in
from tests.access.world import GENERALIST, VISIBILITY, care_team, consent, day, document

NAMES = ("host-a", "host-b", "host-c")
PEOPLE = ("anna", "bruno", "carla", "nurse")
LABELS = ("MASQUE_PS", "INVISIBLE_PATIENT", "INVISIBLE_REPRESENTANTS_LEGAUX")
acts = st.lists(
    st.one_of(
        st.tuples(st.just("deposit"), st.sampled_from(PEOPLE), st.sampled_from([(), *[(label,) for label in LABELS[:2]]])),
        st.tuples(st.just("consent"), st.sampled_from(("access", "block", "mask")), st.sampled_from(PEOPLE[1:])),
        st.tuples(
            st.just("emergency"), st.sampled_from(("emergency-regulation", "emergency-break-glass", "emergency-masked")), st.booleans()
        ),
        st.tuples(st.just("mask"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("replace"), st.integers(0, 5), st.just(None)),
        st.tuples(st.just("withdraw"), st.integers(0, 5), st.just(None)),
        st.tuples(st.just("team"), st.sampled_from(PEOPLE[1:]), st.just(None)),
        st.tuples(st.just("break_glass"), st.just("carla"), st.just(None)),
    ),
    min_size=3,
    max_size=9,
)


class Played:
    """One dossier on the first host, and those who ask about it."""

    def __init__(self, world, story):
        self.world = world
        self.anna, self.bruno, self.carla = (world.professional(specialty=GENERALIST) for _ in range(3))
        self.nurse = world.professional(profession="60")
        self.dossier = world.open(traitant=self.anna, people=("MTH",))
        self.holder = world.holder(self.dossier)
        self.mother = self.dossier.people["MTH"]
        mandated = {"reference": f"RelatedPerson/{self.mother}"}
        world.consent(self.dossier, "mandate", mandated, period={"start": day(days=-1), "end": day(days=90)})
        self.reports = []
        self.acts = {act for act, _, _ in story}
        for act, first, second in story:
            getattr(self, act)(first, second)

    def deposit(self, who, labels):
        by = getattr(self, who)
        answer = by.post("DocumentReference", self.world_document(by, labels))
        if answer.status_code == 201:
            self.reports.append((by, answer.json()["id"]))

    def world_document(self, by, labels, **fields):
        return document(self.dossier, by, labels=labels, **fields)

    def consent(self, category, who):
        actors = () if category == "mask" else (getattr(self, who),)
        more = {"class": [{"system": "urn:oid:1.2.250.1.213.1.1.4.1", "code": "11"}]} if category == "mask" else {}
        self.holder.post("Consent", consent(self.dossier, category, *actors, **more))

    def emergency(self, category, permits):
        self.holder.post("Consent", consent(self.dossier, category, permit=permits))

    def _report(self, place):
        return self.reports[place % len(self.reports)] if self.reports else (None, None)

    def mask(self, place, on):
        _, id = self._report(place)
        if id and on:
            change = [{"op": "add", "path": "/securityLabel/-", "value": {"coding": [{"system": VISIBILITY, "code": "MASQUE_PS"}]}}]
            self.holder.patch(f"DocumentReference/{id}", change)

    def replace(self, place, _):
        by, id = self._report(place)
        if id:
            related = [{"code": "replaces", "target": {"reference": f"DocumentReference/{id}"}}]
            answer = by.post("DocumentReference", self.world_document(by, (), relatesTo=related))
            if answer.status_code == 201:
                self.reports.append((by, answer.json()["id"]))

    def withdraw(self, place, _):
        by, id = self._report(place)
        if id:
            by.patch(f"DocumentReference/{id}", [{"op": "replace", "path": "/status", "value": "entered-in-error"}])

    def team(self, who, _):
        self.holder.post("CareTeam", care_team(self.dossier, getattr(self, who)))

    def break_glass(self, who, _):
        getattr(self, who).run(f"{self.dossier.path}/$break-glass", justification="urgence")

    def askers(self, patient=""):
        """Everybody who may ask, of every kind there is, by name: (kind, claims). patient: of another dossier of that host."""
        world, patient = self.world, patient or self.dossier.id
        regulation = world.professional(self.carla.rpps, purpose="ETREAT", regulation=True, organization=self.carla.organization)
        relative = {"sub": "mother", "patient": patient, "related_person": self.mother}
        others = (world.structure(), world.host(), world.feed(), world.support(), world.operator(), world.operator("physician", "T1"))
        found = {name: ("professional", getattr(self, name).claims) for name in PEOPLE}
        return {
            **found,
            "unrelated": ("professional", world.again(self.carla, SubjectNameID="810009998887").claims),
            "regulation": ("professional", regulation.claims),
            "insurer": ("professional", world.professional(self.bruno.rpps, sector="SA23").claims),
            "holder": ("patient", {"sub": "holder", "patient": patient}),
            "mother": ("representative", relative),
            "mandataire": ("mandataire", relative),
            **{f"{number} {one.kind}": (one.kind, one.claims) for number, one in enumerate(others)},
        }


class Two:
    """Hosts in this process: the rows of a server, and a store of its own for each other one; most dossiers go between the first two."""

    def __init__(self, world, database, uri, folder):
        self.runner, self.world = asyncio.Runner(), world
        base = {"mongodb_uri": uri, "sandbox": False}
        self.a = Settings(data=world.server.data, database=database, base_url=world.server.fhir, **base)
        self.b = Settings(data=folder, database=f"taking_{os.getpid()}", base_url="http://other.test/fhir", **base)
        third = folder / "third"
        third.mkdir(exist_ok=True)
        self.c = Settings(data=third, database=f"third_{os.getpid()}", base_url="http://third.test/fhir", **base)
        self.settings = self.a, self.b, self.c
        self.stores = self.runner.run(self._open())

    async def _open(self):
        # Records of hosts and keys are those of the store that was opened last: of the server's.
        opened = {place: await self._store(place) for place in (1, 2, 0)}
        for place, name in enumerate(NAMES):
            await hosts.register(opened[place], name, hosts.own(opened[place], self.settings[place].data, name))
        return [opened[place] for place in range(len(NAMES))]

    async def _store(self, place):
        one = self.settings[place]
        return await Store.open(one.mongodb_uri, one.database, data_dir=one.data)

    def close(self):
        async def closed():
            for store in self.stores:
                await store.close()

        self.runner.run(closed())
        self.runner.close()

    def plain(self, host):
        context = context_of(self.stores[host], self.settings[host], Rules(source="x", kind="host"))
        return replace(context, enforcer=None, seals=SealKeys(self.settings[host].data))

    async def snapshot(self, host, number, askers):
        """Everything of a dossier at one host, in words that do not depend on the host: rows by (key, version), decisions by (asker, key)
        and by (asker, act). askers: with ids of the first host.
        """
        store, context = self.stores[host], self.plain(host)
        read = [one async for one in versions(store, number, Moment())]
        ids = {store.vault.seal_id(one.row.key): one.row.key.hex()[-26:].rjust(26, "k") for one in read}
        values = [json.parse(one.row.body) for one in read if one.row.body is not None]
        names = Names(store.vault.hash64, values, {f"{one.row.type}/{store.vault.seal_id(one.row.key)}" for one in read})
        rows, decisions = {}, {}
        for one in read:
            row = one.row
            octets = await store.contents.read_all(row.content.id, 10**9) if row.content else None
            body = translated(row.body, ids) if row.body is not None else None
            facts = row.visible
            if isinstance(facts, dict):
                facts = {**names.clear(facts, row.type), "rt": translated(names.clear(facts, row.type)["rt"].encode(), ids)}
            rows[row.key, row.version] = (row.type, body, octets, row.deleted, row.updated_ms, row.method, one.current, facts)
        for name, (kind, told) in askers.items():
            claims = {one: self._here(host, number, value) for one, value in told.items()}
            patient = claims.get("patient", "")
            actor = await self.world.tokens.verify(self.world.token(kind, claims), context.now_ms())
            asked = replace(context, enforcer=Enforcer(asking(actor, patient=patient if kind == "patient" else "")))
            met = await enforcement.known(asked, number)
            for act in ACTS:
                decisions[name, act] = met.decide(act)[:2]
            for one in read:
                if one.current and not one.row.deleted:
                    decision = met.reading(one.row)
                    decisions[name, one.row.key] = (one.row.type, decision.effect, decision.rule, met.sees(one.row))
        return rows, decisions

    def _here(self, host, number, value):
        """An id of the first host as it is at another."""
        key = self.stores[0].vault.open_id(value) if isinstance(value, str) else None
        return self.stores[host].vault.seal_id(key) if key is not None and dossier_in(key) == number else value

    async def unproved(self, giver, taker, number):
        """Traces of the giver's journal that the taker cannot prove to be in it."""
        there = await origins.load(self.stores[taker], number, self.stores[giver].record.identity)
        head = hosts.own(self.stores[giver], self.settings[giver].data).journal
        faults = []
        async for one in versions(self.stores[giver], number):
            if not one.journal or not one.current:
                continue
            row, id = one.row, self.stores[taker].vault.seal_id(one.row.key)
            proof = there.proofs.get(f"AuditEvent/{id}") if there is not None else None
            if proof is None:
                faults.append((id, "has no proof"))
                continue
            position = chain.Position(b64decode(proof["chain"]), proof["number"], row.key)
            leaf = chain.leaf_hash(chain.leaf_data(position, chain.commitment(b64decode(proof["salt"]), row.body)))
            signed = checkpoint.opened(proof["checkpoint"], head["origin"], b64decode(head["key"]))
            path = [b64decode(part) for part in proof["path"]]
            if signed is None or not chain.is_included(leaf, proof["index"], signed.size, path, signed.root):
                faults.append((id, "is proved by another thing"))
        return faults

    async def give(self, giver, taker, patient):
        """The octets of a package."""
        context, file = self.giving(giver, taker), io.BytesIO()
        await package_export.write(context, context.store.vault.dossier_of_patient(patient), NAMES[taker], file)
        return file.getvalue()

    async def take(self, taker, giver, package):
        """What became of a package."""
        rules = await sources.rules_of(self.stores[taker], NAMES[giver])
        return await package_import.read(self.plain(taker), rules, io.BytesIO(package))

    async def settle(self, giver, taker, receipt):
        """The giver closes what the taker acknowledged."""
        await transfer.settled(self.giving(giver, taker), receipt, NAMES[taker])

    def giving(self, giver, taker):
        return transfer.as_host(self.plain(giver), self.settings[giver].data, NAMES[taker])

    async def move(self, giver, taker, patient):
        """Give, take twice, acknowledge; the id of the Patient at the taker."""
        package = await self.give(giver, taker, patient)
        done = await self.take(taker, giver, package)
        again = await self.take(taker, giver, package)
        assert (again.patient, again.new) == (done.patient, 0)
        await self.settle(giver, taker, done.receipt)
        return done.patient

    async def sealed(self, host):
        """What does not hold of the seals, rows and facts of a host's store."""
        report = Report()
        context = self.plain(host)
        await seals(context.store, report, [context.seals, *await seal_reading.foreign()])
        await rows(context.store, report, facts=partial(facts_said, context.store))
        return report.faults
