"""Examples of rights: Consents of every category, representatives, care teams; of proofs and notices.

https://profiles.ihe.net/ITI/PCF/
"""

from typing import Any

from fhir_dmp.consent.directives import SHAPES
from scripts.profile_sources.examples.parts import FINESS, HOST, IDNST, ME, NOON, POLICY, RPPS, Resource, known, patient, ref, resource
from scripts.profile_sources.making import CANONICAL
from scripts.profile_sources.systems import (
    ACT_REASON,
    CATEGORY,
    CONSENT_SCOPE,
    CUSTODIAN,
    DCM,
    LOINC,
    NOTICE,
    PARTICIPATION,
    PROOF_LEVEL,
    ROLE_CODE,
    SIGNATURE_TYPE,
    TRE_A03,
    coding,
    concept,
)

RECIPIENT = concept(PARTICIPATION, "IRCP", "information recipient")
SACHA = {"role": RECIPIENT, "reference": known("Practitioner", RPPS, "10009999037", "Dr Sacha PATRON")}
HOSPITAL = {"role": RECIPIENT, "reference": known("Organization", FINESS, "350000025", "Centre hospitalier de l'Essai")}
BROTHER = {"role": RECIPIENT, "reference": ref("RelatedPerson/mandataire-essai")}
YEAR = {"start": "2026-11-20", "end": "2027-11-19"}


def consent(id: str, category: str, kind: str = "permit", **provision: Any) -> Resource:
    purposes = [coding(ACT_REASON, code) for code in sorted(SHAPES[category].purposes)]
    return resource(
        "Consent",
        id,
        f"dmp-consent-{category}",
        status="active",
        scope=concept(CONSENT_SCOPE, "patient-privacy"),
        category=[concept(LOINC, "59284-0"), concept(CATEGORY, category)],
        patient=ME,
        dateTime=NOON,
        performer=[ME],
        organization=[known("Organization", IDNST, HOST, "Hébergeur de l'Essai")],
        policy=[{"uri": POLICY}],
        provision={"type": kind, **provision, **({"purpose": purposes} if purposes else {})},
    )


def consents() -> tuple[Resource, ...]:
    attested = consent("acces-atteste", "access", actor=[SACHA], period=YEAR)
    attested["extension"] = [{"url": CANONICAL + "StructureDefinition/consent-evidence", "valueCode": "oral"}]
    attested["performer"] = [known("Practitioner", RPPS, "10009999037", "Dr Sacha PATRON")]
    closed = consent("ouverture-fermee", "opening") | {"status": "inactive"}
    return (
        consent("ouverture", "opening"),
        closed,
        consent("acces", "access", actor=[SACHA], period=YEAR),
        consent("acces-structure", "access", actor=[HOSPITAL], period=YEAR),
        attested,
        consent("administrateur", "administrator", actor=[SACHA]),
        consent("blocage", "block", "deny", actor=[SACHA]),
        consent("samu", "emergency-regulation"),
        consent("samu-refuse", "emergency-regulation", "deny"),
        consent("bris-de-glace", "emergency-break-glass"),
        consent("masques-en-urgence", "emergency-masked", "deny"),
        consent("masque-par-type", "mask", "deny", code=[concept(LOINC, "11488-4")]),
        consent(
            "masque-par-classe",
            "mask",
            "deny",
            **{"class": [coding(TRE_A03, "42")]},
            dataPeriod={"start": "2020-01-01", "end": "2020-12-31"},
        ),
        consent(
            "masque-par-auteur",
            "mask",
            "deny",
            data=[{"meaning": "authoredby", "reference": known("Practitioner", RPPS, "10009999037")}],
        ),
        consent("mandat", "mandate", actor=[BROTHER], period=YEAR),
        consent("remboursements", "reimbursement"),
        consent("reprise", "takeover"),
        consent("alimentation", "feed", "deny"),
        will("don-d-organes", "Opposition au don d'organes"),
        will("directives-anticipees", "Directives anticipées"),
    )


def will(id: str, said: str) -> Resource:
    return resource(
        "Consent",
        id,
        "dmp-consent-will",
        status="active",
        scope=concept(CONSENT_SCOPE, "adr"),
        category=[concept(LOINC, "59284-0") | {"text": said}],
        patient=ME,
        dateTime=NOON,
        policy=[{"uri": POLICY}],
        sourceReference=ref("DocumentReference/directives"),
    )


def around() -> tuple[Resource, ...]:
    """Existence of a DMP, people around the holder, care teams."""

    def related(id: str, code: str, text: str, family: str, given: str, **more: Any) -> Resource:
        # HL7 displays its own codes in English only.
        display = {"MTH": "mother", "GUARD": "guardian", "BRO": "brother"}[code]
        return resource(
            "RelatedPerson",
            id,
            "dmp-related-person",
            active=True,
            **{"patient": ref("Patient/leo-essai"), **more},
            relationship=[concept(ROLE_CODE, code, display) | {"text": text}],
            name=[{"family": family, "given": [given]}],
        )

    def existence(id: str, active: bool) -> Resource:
        identifier = patient("x", "2790351215189", "x", "x", "female", "1979-03-15")["identifier"]
        return resource("Patient", id, "dmp-patient-existence", identifier=identifier, active=active)

    gp = known("Practitioner", RPPS, "10009999011", "Dr Alix MODÈLE")
    nurse = known("Practitioner", RPPS, "10009999045", "Dominique SOIN")
    return (
        existence("dmp-ouvert", True),
        existence("dmp-ferme", False),
        related("mere-essai", "MTH", "Mère", "ESSAI", "Claude", birthDate="1985-01-09"),
        related("tuteur-essai", "GUARD", "Tuteur", "GARDIEN", "Ange", period={"start": "2025-02-01", "end": "2030-01-31"}),
        related("mandataire-essai", "BRO", "Frère", "ESSAI", "Noé", patient=ME, telecom=[{"system": "email", "value": "noe@example.org"}]),
        resource(
            "CareTeam",
            "equipe",
            "dmp-care-team",
            status="active",
            subject=ME,
            participant=[{"member": gp}, {"member": nurse, "period": YEAR}],
        ),
        resource(
            "CareTeam",
            "equipe-passee",
            "dmp-care-team",
            status="inactive",
            subject=ME,
            participant=[{"member": ref("Practitioner/alix-modele")}],
        ),
        resource(
            "PractitionerRole",
            "alix-au-cabinet",
            "dmp-practitioner-role",
            active=True,
            practitioner=ref("Practitioner/alix-modele"),
            organization=ref("Organization/cabinet-essai"),
            specialty=[
                concept(
                    "https://mos.esante.gouv.fr/NOS/TRE_A02-ProfessionSavFaire-CISIS/FHIR/TRE-A02-ProfessionSavFaire-CISIS", "G15_10/SM54"
                )
            ],
        ),
        resource(
            "PractitionerRole",
            "charlie-a-l-hopital",
            "dmp-practitioner-role",
            identifier=[{"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "3350000025/4242"}],
            organization=ref("Organization/hopital-essai"),
        ),
    )


def proof(id: str, level: str, role: str, who: Resource, code: str) -> Resource:
    return resource(
        "Provenance",
        id,
        f"dmp-provenance-{level}",
        target=[ref("DocumentReference/consultation/_history/1")],
        recorded="2026-11-20T11:00:00.000Z",
        activity=concept(PROOF_LEVEL, level),
        agent=[{"type": concept(DCM if role.isdigit() else CUSTODIAN, role), "who": who}],
        signature=[
            {
                "type": [coding(SIGNATURE_TYPE, code)],
                "when": "2026-11-20T11:00:00.000Z",
                "who": who,
                "targetFormat": "application/fhir+json",
                "sigFormat": "application/jose",
                "data": "ZXhlbXBsZQ==",
            }
        ],
    )


def notice(id: str, code: str, text: str, **more: Any) -> Resource:
    return resource(
        "Communication",
        id,
        "dmp-notice",
        status="completed",
        category=[concept(NOTICE, code)],
        subject=ME,
        recipient=[ME],
        sent=NOON,
        payload=[{"contentString": text}],
        **more,
    )


def examples() -> tuple[Resource, ...]:
    host = known("Organization", IDNST, HOST, "Hébergeur de l'Essai")
    gp = known("Practitioner", RPPS, "10009999011", "Dr Alix MODÈLE")
    return (
        *consents(),
        *around(),
        proof("cachet", "seal", "custodian", host, "1.2.840.10065.1.12.1.14"),
        proof("cachet-message", "message", "110153", gp, "1.2.840.10065.1.12.1.7"),
        proof("signature-auteur", "author", "author", gp, "1.2.840.10065.1.12.1.1"),
        notice(
            "avis-urgence", "emergency-access", "Le Dr Sacha PATRON a accédé à votre DMP en urgence.", about=[ref("Consent/bris-de-glace")]
        ),
        notice("avis-annonce", "announcement", "Un document attend une consultation d'annonce."),
        notice(
            "avis-autorisation",
            "authorisation",
            "Le Dr Sacha PATRON s'est autorisé avec votre accord.",
            about=[ref("Consent/acces-atteste")],
        ),
    )
