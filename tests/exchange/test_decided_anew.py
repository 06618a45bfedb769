"""What an operator says of who is meant, when the source says something else of him later, and it is decided again."""

from pymongo import MongoClient

from fhir_dmp.errors import FhirError
from fhir_dmp.exchange import waiting
from fhir_dmp.exchange.engine import Engine
from tests.exchange.test_other_person import held, opened
from tests.exchange.test_sources import DATABASE, Sender, command, load, server, world  # noqa: F401  fixtures

SOURCE = ("--source", "pilot-alsace")


def decided(command, dossier) -> None:  # noqa: F811
    """Whoever waits is this one."""
    (line,) = [line for line in command("quarantine", "list", *SOURCE)[1].splitlines() if "who is this?" in line]
    assert command("quarantine", "link", *SOURCE, line.split()[0], dossier.path)[0] == 0
    command("quarantine", "replay", *SOURCE)


def test_what_is_decided_anew_holds_and_nothing_that_was_said_before(load, command, world):  # noqa: F811
    first, second = opened(world, "ALPHAND"), opened(world, "BERTHELOT")
    sender = Sender(world, first)
    assert load(sender.patient(), sender.practitioner())[0] == 0
    other = Sender(world, second).patient(id=sender.patient()["id"])
    for name, said, dossier in (("b", other, second), ("c", sender.patient(), first), ("d", other, second)):
        told = load(said, sender.document(name, description=name), sender.binary(name), name=f"{name}.ndjson")[1]
        assert [line["status"] for line in told] == [202, 202, 202], told
        decided(command, dossier)
        # Sent again he waits no more.
        assert load(said, name=f"{name}-again.ndjson")[0] == 0
    assert (held(world, first), held(world, second)) == (["c"], ["b", "d"])


def test_who_takes_his_word_back_in_the_same_words_is_who_he_was(load, command, world):  # noqa: F811
    first, second = opened(world, "ALPHAND"), opened(world, "BERTHELOT")
    sender = Sender(world, first)
    assert load(sender.patient(), sender.practitioner())[0] == 0
    assert load(sender.patient(identifier=second.patient["identifier"]), name="w.ndjson")[0] == 3
    code, told, _ = load(sender.patient(), sender.document("a", description="a"), sender.binary("a"), name="r.ndjson")
    assert code == 0, told
    assert held(world, first) == ["a"] and "who is this?" not in command("quarantine", "list", *SOURCE)[1]


def test_what_waits_for_somebody_goes_with_his_dossier_also_after_a_kill(load, server, world, monkeypatch):  # noqa: F811
    first, second = opened(world, "ALPHAND"), opened(world, "BERTHELOT")
    sender = Sender(world, first)
    assert load(sender.patient(), sender.practitioner())[0] == 0
    with MongoClient(server.uri) as client:
        waiting = client[DATABASE]["quarantine"]
        before = [one["_id"] for one in waiting.find()]
        wrong = sender.patient(identifier=second.patient["identifier"])
        assert load(wrong, sender.document("a"), sender.binary("a"), name="w.ndjson")[0] == 3
        with monkeypatch.context() as killed:

            async def cut(self, receipt):
                raise FhirError("throttled", "cut off")

            killed.setattr(Engine, "bind", cut)
            load(sender.patient(active=True), name="k.ndjson")
        assert load(sender.patient(active=True), name="k.ndjson")[0] == 0
        left = list(waiting.find({"_id": {"$nin": before}}))
        assert len(left) == 2 and all(one.get("d") for one in left)


def test_of_what_waits_no_more_is_opened_than_what_names_who_is_found(load, world, monkeypatch):  # noqa: F811
    opens, first = [], opened(world, "ALPHAND")
    senders = [Sender(world, first) for _ in range(4)]
    said = {"identifier": opened(world, "BERTHELOT").patient["identifier"]}
    for place, one in enumerate(senders):
        assert load(one.patient(**said), one.practitioner(), one.document("a"), one.binary("a"), name=f"{place}.ndjson")[0] == 3
    real = waiting.opened
    monkeypatch.setattr(waiting, "opened", lambda one: opens.append(one.key) or real(one))
    assert load(senders[0].patient(), name="f.ndjson")[0] == 0
    assert len(opens) == 1
