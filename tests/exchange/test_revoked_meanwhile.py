"""A Consent that is taken back while an import runs: what was decided by it and is not stored yet is decided once more."""

from fhir_dmp.exchange import engine
from tests.exchange.test_sources import Sender, command, issues, load, sender, server, world  # noqa: F401  fixtures


def test_nothing_is_stored_by_a_consent_that_was_taken_back(load, world, sender, monkeypatch):  # noqa: F811
    dossier, holder = sender.dossier, world.holder(sender.dossier)
    left = [world.consent(dossier, "takeover")]
    assert load(sender.patient(), sender.practitioner(), sender.document("a"), name="a.ndjson")[0] == 0

    def reached(name: str) -> None:
        if name == "before-commit" and left:
            world.revoke(holder, left.pop())

    monkeypatch.setattr(engine, "reached", reached)
    code, told, _ = load(sender.document("b"), sender.binary("b"), name="b.ndjson")
    assert not left and code == 3 and [line["status"] for line in told] == [403, 404], told
    assert "takeover" in issues(told[0])
    assert holder.get(f"DocumentReference?patient={dossier.id}").json()["total"] == 1


def test_what_another_right_changes_is_stored_all_the_same(load, world, sender, monkeypatch):  # noqa: F811
    dossier, holder = sender.dossier, world.holder(sender.dossier)
    world.consent(dossier, "takeover")
    left = [world.professional()]

    def reached(name: str) -> None:
        if name == "before-commit" and left:
            world.consent(dossier, "block", left.pop())

    monkeypatch.setattr(engine, "reached", reached)
    sent = (sender.patient(), sender.practitioner(), *(sender.document(id) for id in "abc"), *(sender.binary(id) for id in "abc"))
    code, told, said = load(*sent)
    assert code == 0 and not left, (told, said)
    assert holder.get(f"DocumentReference?patient={dossier.id}").json()["total"] == 3
