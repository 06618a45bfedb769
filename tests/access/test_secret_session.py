"""A minor's secret session: what a professional is given in it, he has; the representatives are told of nothing.

Code de la santé publique L1111-5, R1111-53
"""

from tests.access.world import RPPS, day

JUSTIFICATION = "inconscient"


def test_what_was_given_in_a_secret_session_is_told_to_no_representative(world):
    traitant = world.professional()
    dossier = world.open(age=15, traitant=traitant, people=("MTH",))
    mother, child = world.representative(dossier, dossier.people["MTH"]), world.holder(dossier, beside=traitant)
    given, broken, author = (world.professional(secret_session=True) for _ in range(3))
    plain = world.professional()
    world.deposit(dossier, author)

    def told(asker) -> list:
        paths = [f"{dossier.path}/$access-list", f"Consent?patient={dossier.id}", f"{dossier.path}/$everything?_type=Consent"]
        paths += [f"Consent?patient={dossier.id}&_summary=count", f"Patient?_id={dossier.id}&_revinclude=Consent:patient&_summary=true"]
        found = [asker.get(path).json() for path in paths]
        for one in found:
            for name in ("id", "meta", "link"):  # of the Bundle that is answered
                one.pop(name, None)
        return found

    def why(asker, who) -> dict:
        return asker.run(f"{dossier.path}/$explain-access", professional=f"{RPPS}|{who.rpps}").json()

    before = told(mother)
    consent = world.consent(dossier, "access", given, by=given, evidence="oral", period={"start": day(days=-1), "end": day(days=30)})
    assert broken.run(f"{dossier.path}/$break-glass", justification=JUSTIFICATION).status_code == 200
    assert told(mother) == before and mother.get(f"Consent/{consent['id']}").status_code == 404
    assert why(mother, given) == why(mother, broken) == why(mother, author) == why(mother, plain)
    for one in (given, broken):
        assert one.get(f"DocumentReference?patient={dossier.id}").status_code == 200
    assert consent["id"] in child.get(f"Consent?patient={dossier.id}").text
    # He ends it, and it is told of no more than before.
    world.revoke(given, given.get(f"Consent/{consent['id']}").json())
    assert told(mother) == before and given.get(f"DocumentReference?patient={dossier.id}").status_code == 403
