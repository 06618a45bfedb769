"""What a host chooses: settings of the law, and the command that explains. Access rules, decided"""

import json

import pytest
from pymongo import MongoClient

from fhir_dmp.dmp.habilitation import PROFILES
from fhir_dmp.fhir.instants import from_instant
from fhir_dmp.interactions import choices
from fhir_dmp.settings import SettingError, load
from tests import serving as servers
from tests.access.conftest import DATABASE
from tests.access.test_break_glass import breaks
from tests.access.test_consents import reads
from tests.access.world import NURSE, World, consent, day, refused
from tests.serving import serving


def test_without_settings_the_law_is_that_of_the_project():
    law = choices.law(load({}, {}).settings)
    assert law.break_glass_minutes == 60 and law.emergency_professions == frozenset({"G15|10"}) and law.matrix.rows


def test_a_matrix_that_is_none_is_told(tmp_path):
    path = tmp_path / "matrix.json"
    for text in ("{}", "nothing", '{"rules": [{"id": "r"}]}'):
        path.write_text(text)
        with pytest.raises(SettingError, match="habilitations"):
            choices.law(load({"habilitations": str(path)}, {"FHIR_DMP_BREAK_GLASS_MINUTES": str(10 + len(text))}).settings)


@pytest.fixture(scope="module")
def other(mongod, tmp_path_factory):
    """A host that chose otherwise: nurses break the glass, for five minutes; no nurse reads a report; no long self-authorisation."""
    folder = tmp_path_factory.mktemp("choices")
    matrix = json.loads((PROFILES / "habilitations.json").read_bytes())
    name = next(name for name, value in matrix.items() if isinstance(value, list) and value and "effect" in value[0])
    matrix[name].append(
        {"id": "own", "professions": [f"G15|{NURSE}"], "action": "read", "target": {"types": ["11488-4"]}, "effect": "deny"}
    )
    (folder / "matrix.json").write_text(json.dumps(matrix))
    environment = {
        "FHIR_DMP_DATABASE": f"{DATABASE}_choices",
        "FHIR_DMP_HABILITATIONS": str(folder / "matrix.json"),
        "FHIR_DMP_EMERGENCY_PROFESSIONS": f"G15|10,G15|{NURSE}",
        "FHIR_DMP_BREAK_GLASS_MINUTES": "5",
        "FHIR_DMP_SELF_AUTHORISATION_DAYS": "10",
        "FHIR_DMP_IN_CHARGE_SEES_MASKED": "no",
    }
    with serving(folder, "--mongodb-uri", mongod.uri, "--workers", "1", environment=environment, sandbox=False) as running:
        yield World(running)
    with MongoClient(mongod.uri) as client:
        client.drop_database(f"{DATABASE}_choices")


def test_who_breaks_the_glass_and_for_how_long(other):
    nurse, dossier = other.professional(profession=NURSE), other.open()
    answer = breaks(nurse, dossier)
    assert answer.status_code == 200
    sent = from_instant(other.holder(dossier).get(f"Communication?patient={dossier.id}").json()["entry"][0]["resource"]["sent"])
    assert abs(from_instant(answer.json()["parameter"][0]["valueInstant"]) - sent - 300_000) < 1000


def test_the_matrix_of_the_host_is_the_one_in_force(other, world):
    for host, number in ((other, 0), (world, 1)):
        traitant, nurse = host.professional(), host.professional(profession=NURSE)
        dossier = host.open(traitant=traitant)
        host.consent(dossier, "access", nurse)
        host.deposit(dossier, traitant)
        assert nurse.get(f"DocumentReference?patient={dossier.id}").json()["total"] == number


def test_how_long_a_professional_authorises_himself(other):
    anna, dossier = other.professional(), other.open()
    long = consent(dossier, "access", anna, evidence="oral", period={"start": day(), "end": day(days=30)})
    assert anna.post("Consent", long).status_code == 422
    other.consent(dossier, "access", anna, by=anna, evidence="oral", period={"start": day(), "end": day(days=8)})
    assert reads(anna, dossier)


def test_colleagues_in_charge(other, world):
    for host, status in ((other, 404), (world, 200)):
        author = host.professional(organization="750000777")
        colleague = host.professional(organization="750000777")
        dossier = host.open(traitant=author)
        host.consent(dossier, "access", colleague)
        masked = host.deposit(dossier, author, labels=("MASQUE_PS",))
        assert colleague.get(f"DocumentReference/{masked['id']}").status_code == status


# ---- the command


def told(mongod, world, *arguments):
    where = ("--data", str(world.server.data), "--mongodb-uri", mongod.uri)
    return servers.run("explain", *arguments, *where, environment={"FHIR_DMP_DATABASE": DATABASE})


def test_the_command_says_why(mongod, world):
    traitant, anna = world.professional(), world.professional()
    dossier = world.open(traitant=traitant)
    world.consent(dossier, "access", anna)
    masked = world.deposit(dossier, traitant, labels=("MASQUE_PS",))
    done = told(mongod, world, dossier.id, "--document", masked["id"], "--rpps", anna.rpps, "--profession", "10")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "hide",
        "masked",
        "Caché : Le document est masqué aux professionnels.",
        "Hidden: The document is masked from professionals.",
    ]
    assert told(mongod, world, dossier.id, "--holder", "--document", masked["id"]).stdout.splitlines()[:2] == ["permit", "holder"]
    stranger = told(mongod, world, dossier.id, "--rpps", "19999999999", "--profession", "10")
    assert stranger.stdout.splitlines()[:2] == ["refuse", "unrelated"]
    assert told(mongod, world, dossier.id, "--holder", "--action", "block").stdout.splitlines()[:2] == ["permit", "gestionnaire"]


def test_the_command_says_what_is_wrong(mongod, world):
    assert told(mongod, world, "nobody", "--holder").returncode == 1
    assert told(mongod, world, world.open().id).returncode == 2
    assert refused(world.professional().get("Patient/nobody"))
