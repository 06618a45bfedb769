"""$statistics: the figures of the experimentation of 2006, from traces, for the operator alone; few are masked."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from fhir_dmp.audit.event import Disclosed, Server, encode
from fhir_dmp.audit.figures import Figures
from fhir_dmp.audit.recorder import Recorder
from fhir_dmp.errors import FhirError
from fhir_dmp.fhir import schema
from fhir_dmp.fhir.bundle import parse_url
from fhir_dmp.fhir.instants import from_instant
from fhir_dmp.fhir.parameters import Given
from fhir_dmp.interactions import statistics
from fhir_dmp.interactions.context import Context
from fhir_dmp.settings import Settings
from fhir_dmp.store.resources import Store
from fhir_dmp.store.vault import dossier_row
from tests.audit.making import DOCTOR, new_patient, read_of
from tests.store.making import new_row

ADMIN = replace(DOCTOR, kind="operator", role="admin", subject_name_id="", roles=(), organization="")
HOLDER = replace(DOCTOR, kind="patient", subject_name_id="", roles=(), specialties=(), organization="")
JUNE, JULY = from_instant("2026-06-15T12:00:00Z"), from_instant("2026-07-15T12:00:00Z")
REPORT = {"system": "http://loinc.org", "code": "11502-2"}


def asked(store: Store, actor=ADMIN, **given: str) -> dict:
    context = Context(store, actor, Settings(), "http://localhost/fhir", store.clock, store.random)
    return statistics.run(context, parse_url("$statistics"), Given(tuple(given.items())))


async def figures(store: Store, **given: str) -> dict:
    """name -> value, "masked" or list of parts."""
    answer = json.loads((await asked(store, **given)).body, parse_float=Decimal)
    assert schema.validate(answer) == []
    found: dict = {}
    for one in answer["parameter"]:
        if "part" in one:
            code, *others = one["part"]
            found.setdefault(one["name"], {})[code["valueCode"]] = value_of(others[-1] if one["name"] != "patientActions" else others[0])
        else:
            found[one["name"]] = value_of(one)
    return found


def value_of(one: dict):
    if any(name.startswith("_value") for name in one):
        return "masked"
    return next(value for name, value in one.items() if name.startswith("value"))


async def document(store: Store, patient: str) -> str:
    """Id of a stored laboratory report of a patient."""
    row = new_row(store, "DocumentReference", dossier=store.vault.dossier_of_patient(patient))
    id = store.vault.seal_id(row.key)
    body = {"resourceType": "DocumentReference", "id": id, "type": {"coding": [REPORT]}}
    await store.create(row._replace(body=json.dumps(body).encode()))
    return id


@pytest.fixture
async def host(store):
    """Seven dossiers: six with two documents, read by one doctor each and by a second in one; five patients look, one twice."""
    recorder, traces = Recorder(store), []
    for number in range(7):
        patient = await new_patient(store)
        if number == 6:
            continue
        one, two = await document(store, patient), await document(store, patient)
        shown = (Disclosed("DocumentReference", one, "v"), Disclosed("DocumentReference", two, "v"))
        traces.append(read_of(patient, kind="search", at_ms=JUNE, disclosed=shown))
        if number == 0:
            other = replace(DOCTOR, subject_name_id="810007654321")
            traces.append(read_of(patient, actor=other, at_ms=JULY, disclosed=shown[:1]))
        if number < 5:
            for session in ("a", "b") if number == 0 else ("a",):
                holder = replace(
                    DOCTOR, kind="patient", subject_name_id="", roles=(), organization="", patient=patient, jti=session + patient
                )
                traces.append(read_of(patient, actor=holder, at_ms=JULY, disclosed=shown[:1]))
        traces.append(read_of(patient, kind="refusal", outcome="4", at_ms=JULY))
    await recorder.record(traces)
    return store


async def test_the_figures_of_a_host(host):
    found = await figures(host)
    assert found == {
        "dossiersOpen": 7,
        "dossiersClosed": "masked",
        "dossiersFed": 6,
        "dossiersActive": 6,
        "documentsPerDossier": Decimal("2.0"),
        "professionalsPerDossier": Decimal("1.17"),
        "dossiersReadByProfessionals": 6,
        "dossiersFedByProfessionals": "masked",
        "patientsWhoConsulted": Decimal("71.4"),
        "connectionsPerPatient": Decimal("1.2"),
        "reads": {"DocumentReference": 19},
        "documentReads": {"11502-2": 19},
        "patientActions": {
            "document-read": 6,
            "document-added": "masked",
            "traces-viewed": "masked",
            "personal-data-changed": "masked",
            "rights-changed": "masked",
        },
    }


async def test_the_period_concerns_the_traces(host):
    june = await figures(host, start="2026-06-01", end="2026-06-30")
    assert june["period"] == {"start": "2026-06-01", "end": "2026-06-30"}
    assert (june["reads"], june["professionalsPerDossier"], june["connectionsPerPatient"]) == (
        {"DocumentReference": 12},
        Decimal("1.0"),
        "masked",
    )
    july = await figures(host, start="2026-07-01")
    assert july["reads"] == {"DocumentReference": 7}
    assert july["professionalsPerDossier"] == "masked"
    with pytest.raises(FhirError) as error:
        await asked(host, start="2026-07-01", end="2026-06-01")
    assert error.value.status == 400


async def test_closed_and_erased_dossiers(host):
    rows = host.connection.database["resources"]
    dossiers = [row.dossier async for row in host.scan(types=["Patient"])]

    for dossier in dossiers[:2]:
        await rows.update_one({"_id": dossier_row(dossier)}, {"$set": {"q": JUNE}})
    assert (await figures(host))["dossiersOpen"] == 5
    await host.destroy_dossier(dossiers[2])
    assert (await figures(host))["dossiersOpen"] == "masked"


async def test_an_empty_host_tells_nothing(store):
    found = await figures(store)
    assert {value for value in found.values() if not isinstance(value, dict)} == {"masked"}
    assert "reads" not in found


@pytest.mark.parametrize(
    "who", [{"role": "physician"}, {"kind": "professional"}, {"kind": "patient"}, {"kind": "host"}, {"kind": "feed"}, {"kind": "system"}]
)
async def test_it_is_for_the_administrators_of_the_host(store, who):
    with pytest.raises(FhirError) as error:
        await asked(store, actor=replace(ADMIN, **{"role": "", **who}))
    assert error.value.status == 403


def test_a_sandbox_serves_it_over_http(fhir):
    answer = fhir.get("$statistics?start=2026-01-01")
    assert answer.status_code == 200, answer.text
    assert {one["name"] for one in answer.json()["parameter"]} >= {"dossiersOpen", "patientsWhoConsulted", "connectionsPerPatient"}
    assert fhir.get("Patient/$statistics").status_code == 404


@pytest.mark.parametrize(("kind", "read", "fed"), [("batch", 1, 0), ("transaction", 1, 0), ("search", 1, 0), ("create", 0, 1)])
def test_what_a_bundle_shows_is_read_and_what_it_writes_is_told_by_its_parts(kind, read, fed):
    trace = read_of("p", kind=kind, disclosed=(Disclosed("DocumentReference", "d", "v"),))
    found = Figures()
    found.add(1, json.loads(encode(trace, id="a", version_id="v", server=Server("urn:x"))))
    assert (found.reads["DocumentReference"], len(found.read_by), len(found.fed_by), len(found.active)) == (read, read, fed, 1)
