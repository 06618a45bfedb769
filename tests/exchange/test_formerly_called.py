"""Documents of practice software that were stored, or came to wait, when a person in them was called by his numbers alone."""

import hashlib

import pytest

from fhir_dmp.exchange.described import Described
from tests.access.world import number
from tests.exchange.test_documents import document as cda
from tests.exchange.test_sources import CARE, DATABASE, command, server, world  # noqa: F401  fixtures


def by_numbers(described: Described) -> dict:
    """The Patient as he was called then."""
    said = "\0".join(sorted(f"{system}|{value}" for system, value in described.identifiers))
    return NOW(described) | {"id": f"p-{hashlib.sha256(said.encode()).hexdigest()[:40]}"}


NOW = Described._patient


@pytest.mark.parametrize("opened", [True, False])
def test_a_document_of_then_is_known_when_it_is_sent_again(command, world, tmp_path, monkeypatch, opened):  # noqa: F811
    dossier = world.open()
    world.consent(dossier, "feed")
    ins = dossier.ins if opened else str(number())
    (tmp_path / "a.xml").write_bytes(cda(str(number()), ins=ins, birth=dossier.patient["birthDate"].replace("-", "")))
    told = ("import", tmp_path / "a.xml", "--source", CARE, "--report")
    with monkeypatch.context() as then:
        then.setattr(Described, "_patient", by_numbers)
        assert command(*told, tmp_path / "then.txt")[0] == (0 if opened else 3)
    code, _ = command(*told, tmp_path / "now.txt")
    said = (tmp_path / "now.txt").read_text("utf-8")
    assert code == (0 if opened else 3) and '"status":409' not in said.replace(" ", ""), said
    assert world.holder(dossier).get(f"DocumentReference?patient={dossier.id}").json()["total"] == int(opened)
