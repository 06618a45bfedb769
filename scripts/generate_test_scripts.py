#!/usr/bin/env python3
"""Write profiles/TestScript-*.json: what a server must do for each DMP transaction, for scripts/conformance.py and other engines.

https://hl7.org/fhir/R4/testscript.html ; .venv/bin/python scripts/generate_test_scripts.py
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.test_script_parts import (  # noqa: E402
    ARCHIVED,
    DEPOSIT,
    DOCTOR,
    FIND,
    HOLDER,
    IDNPS,
    INS,
    JSON_PATCH,
    LOCATED,
    MINE,
    STRANGER,
    SUBMISSION,
    VISIBILITY,
    ask,
    carried,
    concept,
    consent,
    document,
    holds,
    is_,
    parameters,
    patch,
    script,
    status,
    submission,
)

PROFILES = ROOT / "profiles"


def scripts() -> list[dict]:
    """All of them, in the order in which they are played: the first one opens the dossier, the last one closes it and opens it again."""
    patient = {
        "resourceType": "Patient",
        "identifier": [{"use": "official", "system": "urn:${ins-urn}", "value": "${ins}"}],
        "name": [{"use": "official", "family": "ESSAI", "given": ["Camille"]}],
        "gender": "female",
        "birthDate": "1979-03-15",
        "generalPractitioner": [{"identifier": {"system": IDNPS, "value": "${idnps1}"}}],
    }
    opening = parameters(patient={"resource": patient}, evidence={"valueCode": "carte-vitale"})
    mask = patch({"op": "add", "path": "/securityLabel/-", "value": concept(VISIBILITY, "MASQUE_PS")})
    unlabel = patch({"op": "remove", "path": "/securityLabel/1"})
    allow_stranger = consent("access", "permit", "${idnps3}", "TREAT")
    search = "?patient=${patient}&_sort=-date"
    document_at = "/${document}"
    return [
        script(
            "01-opening",
            "TD0.2, TD1.1: existence and opening",
            "TD0.2, TD1.1 : existence et ouverture",
            (
                "The button says whether there is a dossier; one is opened when there is none.",
                "Le bouton dit s'il y a un dossier ; on l'ouvre s'il n'y en a pas.",
            ),
            [
                (
                    "without a token",
                    ask("a search without a token", 0, "search", "Patient", f"?identifier={INS}"),
                    status(401),
                    is_("an OperationOutcome", "OperationOutcome.issue.first().severity", "error"),
                ),
                (
                    "opening",
                    ask("a dossier is opened, or is open already", DOCTOR, "create", "Patient", "/$open", source="opening", method="post"),
                    status(201, 409),
                ),
                (
                    "existence",
                    FIND,
                    status(200),
                    is_("one dossier", "Bundle.total", "1"),
                    holds("it is active", "Bundle.entry[0].resource.active = true"),
                    holds("reduced to id, identifier, active", "Bundle.entry[0].resource.name.empty()"),
                ),
                (
                    "existence, for a stranger",
                    ask("the same question", STRANGER, "search", "Patient", f"?identifier={INS}"),
                    status(200),
                    is_("the same answer", "Bundle.total", "1"),
                ),
                (
                    "twice",
                    ask("the same dossier again", DOCTOR, "create", "Patient", "/$open", source="opening", method="post"),
                    status(409),
                ),
            ],
            fixtures={"opening": opening},
            setup=(),
        ),
        script(
            "02-deposit",
            "TD2, TD3.1a, TD3.1b, TD3.2: ITI-65, 66, 67, 68",
            "TD2, TD3.1a, TD3.1b, TD3.2 : ITI-65, 66, 67, 68",
            ("A submission is deposited, listed, found and read.", "Un lot est déposé, listé, retrouvé et lu."),
            [
                (
                    "ITI-65",
                    ask("the submission", DOCTOR, "transaction", source="submission", response="deposited"),
                    status(200),
                    is_("a response", "Bundle.type", "transaction-response"),
                    is_("one entry each", "Bundle.entry.count()", "3"),
                    holds("all created", "Bundle.entry.response.status.all($this.startsWith('201'))"),
                ),
                (
                    "ITI-67",
                    ask(
                        "the list", DOCTOR, "search", "DocumentReference", search + "&status=current" + MINE + "deposit", response="listed"
                    ),
                    status(200),
                    is_("the document", "Bundle.total", "1"),
                    holds("current", "Bundle.entry[0].resource.status = 'current'"),
                ),
                (
                    "ITI-67 without status",
                    ask("the list", DOCTOR, "search", "DocumentReference", f"?patient.identifier={INS}{MINE}deposit"),
                    status(200),
                    is_("status is current by itself", "Bundle.total", "1"),
                ),
                (
                    "ITI-66",
                    ask(
                        "the submissions",
                        DOCTOR,
                        "search",
                        "List",
                        f"?patient=${{patient}}&code={SUBMISSION}|submissionset&status=current{MINE}deposit-set",
                    ),
                    status(200),
                    is_("the submission", "Bundle.total", "1"),
                ),
                (
                    "ITI-68",
                    ask("the content as it is", DOCTOR, "read", "", "/${content}", accept="text/plain"),
                    status(200),
                    {"assert": {"description": "its own format", "contentType": "text/plain", "operator": "equals", "warningOnly": False}},
                ),
                (
                    "ITI-68 as a resource",
                    ask("the content as a Binary", DOCTOR, "read", "", "/${content}"),
                    status(200),
                    {"assert": {"description": "a Binary", "resource": "Binary", "operator": "equals", "warningOnly": False}},
                ),
                ("a stranger", ask("the list", STRANGER, "search", "DocumentReference", search), status(403)),
                ("a stranger reads", ask("the content", STRANGER, "read", "", "/${content}"), status(404)),
            ],
            fixtures={"submission": submission("deposit")},
            variables=({"name": "content", "expression": "Bundle.entry[0].resource.content[0].attachment.url", "sourceId": "listed"},),
        ),
        script(
            "03-simplified",
            "TD2 by ITI-105",
            "TD2 par ITI-105",
            (
                "One resource carries its content; sending it again makes nothing new.",
                "Une ressource porte son contenu ; la renvoyer ne crée rien.",
            ),
            [
                (
                    "ITI-105",
                    *DEPOSIT,
                    holds("the content is apart", "DocumentReference.content.attachment.data.empty()"),
                    holds("at an address", "DocumentReference.content.attachment.url.exists()"),
                ),
                (
                    "no double entry",
                    {
                        "operation": {
                            **ask("the same again", DOCTOR, "create", "DocumentReference", source="document")["operation"],
                            "requestHeader": [
                                {"field": "Authorization", "value": "Bearer ${token1}"},
                                {"field": "If-None-Exist", "value": "identifier=urn:ietf:rfc:3986|urn:uuid:${run}-simple"},
                            ],
                        }
                    },
                    status(200),
                    is_("the first one", "DocumentReference.id", "${document}"),
                ),
            ],
            fixtures={"document": document("simple")},
            variables=(LOCATED,),
        ),
        script(
            "04-replace",
            "TD2.1: replacement",
            "TD2.1 : remplacement",
            (
                "A new document replaces an old one, which becomes superseded.",
                "Un nouveau document en remplace un ancien, qui devient superseded.",
            ),
            [
                (
                    "replacement",
                    *DEPOSIT,
                    ask("its replacement", DOCTOR, "transaction", source="replacement"),
                    status(200),
                    ask("the old one", DOCTOR, "read", "DocumentReference", document_at),
                    status(200),
                    is_("superseded", "DocumentReference.status", "superseded"),
                ),
                (
                    "no PUT",
                    ask("a document is not modified", DOCTOR, "update", "DocumentReference", document_at, source="document"),
                    status(405),
                ),
            ],
            fixtures={"document": document("old"), "replacement": submission("new", "DocumentReference/${document}")},
            variables=(LOCATED,),
        ),
        script(
            "05-access",
            "TD0.3: authorise, block",
            "TD0.3 : autoriser, bloquer",
            ("The holder opens and closes the dossier to a professional.", "Le titulaire ouvre et ferme son dossier à un professionnel."),
            [
                (
                    "authorise",
                    ask("the holder authorises", HOLDER, "create", "Consent", source="allow", response="allowed"),
                    status(201),
                    ask("he reads", STRANGER, "search", "DocumentReference", search),
                    status(200),
                ),
                (
                    "revoke",
                    ask("the right as it is", HOLDER, "read", "Consent", "/${right}"),
                    status(200),
                    ask("no DELETE", HOLDER, "delete", "Consent", "/${right}"),
                    status(405),
                    ask("the holder withdraws it", HOLDER, "patch", "Consent", "/${right}", source="inactive", content=JSON_PATCH),
                    status(200),
                    ask("he reads no more", STRANGER, "search", "DocumentReference", search),
                    status(403),
                ),
                (
                    "who may",
                    ask("a stranger authorises himself without evidence", STRANGER, "create", "Consent", source="allow"),
                    status(403, 422),
                ),
            ],
            fixtures={"allow": allow_stranger, "inactive": patch({"op": "replace", "path": "/status", "value": "inactive"})},
            variables=({"name": "right", "expression": "Consent.id", "sourceId": "allowed"},),
        ),
        script(
            "06-masking",
            "TD3.3a: mask, unmask",
            "TD3.3a : masquer, démasquer",
            (
                "A masked document answers professionals like one that never was.",
                "Un document masqué répond aux professionnels comme s'il n'avait jamais existé.",
            ),
            [
                (
                    "mask",
                    ask("the holder authorises the second physician", HOLDER, "create", "Consent", source="allow", response="allowed"),
                    status(201),
                    *DEPOSIT,
                    ask("he sees it", STRANGER, "read", "DocumentReference", document_at),
                    status(200),
                    ask("the holder masks it", HOLDER, "patch", "DocumentReference", document_at, source="mask", content=JSON_PATCH),
                    status(200),
                    ask("he sees it no more", STRANGER, "read", "DocumentReference", document_at, response="hidden"),
                    status(404),
                    ask(
                        "an address that never was", STRANGER, "read", "DocumentReference", "/aaaaaaaaaaaaaaaaaaaaaaaaaa", response="absent"
                    ),
                    status(404),
                    {
                        "assert": {
                            "description": "the same answer",
                            "sourceId": "hidden",
                            "expression": "OperationOutcome",
                            "operator": "equals",
                            "compareToSourceId": "absent",
                            "compareToSourceExpression": "OperationOutcome",
                            "warningOnly": False,
                        }
                    },
                    ask("nor in a list", STRANGER, "search", "DocumentReference", search + MINE + "masked"),
                    is_("nothing", "Bundle.total", "0"),
                ),
                ("the author", ask("the author reads it", DOCTOR, "read", "DocumentReference", document_at), status(200)),
                (
                    "unmask",
                    ask("the holder unmasks it", HOLDER, "patch", "DocumentReference", document_at, source="unmask", content=JSON_PATCH),
                    status(200),
                    ask("he sees it again", STRANGER, "read", "DocumentReference", document_at),
                    status(200),
                    ask("the right is withdrawn", HOLDER, "patch", "Consent", "/${right}", source="inactive", content=JSON_PATCH),
                    status(200),
                ),
            ],
            fixtures={
                "allow": allow_stranger,
                "document": document("masked"),
                "mask": mask,
                "unmask": unlabel,
                "inactive": patch({"op": "replace", "path": "/status", "value": "inactive"}),
            },
            variables=(LOCATED, {"name": "right", "expression": "Consent.id", "sourceId": "allowed"}),
        ),
        script(
            "07-invisible",
            "TD3.3b: invisible to the patient",
            "TD3.3b : invisible au patient",
            ("The holder does not see the document before it is announced.", "Le titulaire ne voit pas le document avant l'annonce."),
            [
                (
                    "invisible",
                    *DEPOSIT,
                    ask("the holder looks", HOLDER, "read", "DocumentReference", document_at),
                    status(404),
                    ask("the author reads, warned", DOCTOR, "read", "DocumentReference", document_at),
                    status(200),
                ),
                (
                    "announced",
                    ask("the author announces", DOCTOR, "patch", "DocumentReference", document_at, source="announce", content=JSON_PATCH),
                    status(200),
                    ask("the holder looks again", HOLDER, "read", "DocumentReference", document_at),
                    status(200),
                ),
                ("not both", ask("masked and invisible at once", DOCTOR, "create", "DocumentReference", source="both"), status(422)),
            ],
            fixtures={
                "document": document("invisible", ("INVISIBLE_PATIENT",)),
                "announce": unlabel,
                "both": document("both", ("MASQUE_PS", "INVISIBLE_PATIENT")),
            },
            variables=(LOCATED,),
        ),
        script(
            "08-withdraw",
            "TD3.3c: withdrawal",
            "TD3.3c : retrait",
            ("The author withdraws; nothing is deleted.", "L'auteur retire ; rien n'est supprimé."),
            [
                (
                    "withdraw",
                    *DEPOSIT,
                    ask("no DELETE", DOCTOR, "delete", "DocumentReference", document_at),
                    status(405),
                    ask(
                        "the holder does not withdraw",
                        HOLDER,
                        "patch",
                        "DocumentReference",
                        document_at,
                        source="withdraw",
                        content=JSON_PATCH,
                    ),
                    status(403),
                    ask("the author does", DOCTOR, "patch", "DocumentReference", document_at, source="withdraw", content=JSON_PATCH),
                    status(200),
                    ask("in no list", HOLDER, "search", "DocumentReference", search + MINE + "withdrawn&status=entered-in-error"),
                    is_("nothing", "Bundle.total", "0"),
                    ask("the holder reads it by its address", HOLDER, "read", "DocumentReference", document_at),
                    status(200),
                ),
            ],
            fixtures={
                "document": document("withdrawn"),
                "withdraw": patch({"op": "replace", "path": "/status", "value": "entered-in-error"}),
            },
            variables=(LOCATED,),
        ),
        script(
            "09-archive",
            "TD3.3d: archiving",
            "TD3.3d : archivage",
            ("A document is archived; other elements are not touched by PATCH.", "Un document est archivé ; PATCH ne touche rien d'autre."),
            [
                (
                    "archive",
                    *DEPOSIT,
                    ask("the holder archives", HOLDER, "patch", "DocumentReference", document_at, source="archive", content=JSON_PATCH),
                    status(200),
                    ask(
                        "what is archived", HOLDER, "search", "DocumentReference", "?patient=${patient}&isArchived=true" + MINE + "archived"
                    ),
                    is_("the document", "Bundle.total", "1"),
                ),
                (
                    "nothing else",
                    ask("another element", DOCTOR, "patch", "DocumentReference", document_at, source="other", content=JSON_PATCH),
                    status(405),
                ),
            ],
            fixtures={
                "document": document("archived"),
                "archive": patch({"op": "add", "path": "/extension", "value": [{"url": ARCHIVED, "valueBoolean": True}]}),
                "other": patch({"op": "replace", "path": "/description", "value": "autre"}),
            },
            variables=(LOCATED,),
        ),
        script(
            "10-break-glass",
            "Break-glass",
            "Bris de glace",
            (
                "A physician without any relationship breaks the glass; a block ends it.",
                "Un médecin sans relation brise la glace ; un blocage y met fin.",
            ),
            [
                (
                    "before",
                    ask("he looks", STRANGER, "search", "DocumentReference", search),
                    status(403),
                    ask("no justification", STRANGER, "create", "Patient", "/${patient}/$break-glass", source="blank", method="post"),
                    status(400, 422),
                ),
                (
                    "break",
                    ask("he says why", STRANGER, "create", "Patient", "/${patient}/$break-glass", source="why", method="post"),
                    status(200),
                    holds("until when", "Parameters.parameter.where(name = 'expires').exists()"),
                    ask("he reads", STRANGER, "search", "DocumentReference", search),
                    status(200),
                ),
                (
                    "block",
                    ask("the holder blocks him", HOLDER, "create", "Consent", source="block", response="blocked"),
                    status(201),
                    ask("he reads no more", STRANGER, "search", "DocumentReference", search),
                    status(403),
                    ask("the block is lifted", HOLDER, "patch", "Consent", "/${right}", source="inactive", content=JSON_PATCH),
                    status(200),
                ),
            ],
            fixtures={
                "blank": {"resourceType": "Parameters"},
                "why": parameters(justification={"valueString": "Essai de conformité : patient inconscient."}),
                "block": consent("block", "deny", "${idnps3}"),
                "inactive": patch({"op": "replace", "path": "/status", "value": "inactive"}),
            },
            variables=({"name": "right", "expression": "Consent.id", "sourceId": "blocked"},),
        ),
        script(
            "11-traces",
            "Traces",
            "Traces",
            ("The holder reads who has read; a stranger reads nothing.", "Le titulaire lit qui a lu ; un inconnu ne lit rien."),
            [
                (
                    "traces",
                    *DEPOSIT,
                    ask("the document is read", DOCTOR, "read", "DocumentReference", document_at),
                    status(200),
                    ask(
                        "the holder reads the traces",
                        HOLDER,
                        "search",
                        "AuditEvent",
                        "?patient=${patient}&entity=DocumentReference/${document}",
                    ),
                    status(200),
                    holds("the reading is there", "Bundle.entry.resource.where(action = 'R').exists()"),
                    ask("a stranger reads them", STRANGER, "search", "AuditEvent", "?patient=${patient}"),
                    status(403),
                ),
                ("they stay", ask("no DELETE", HOLDER, "delete", "AuditEvent", "/aaaaaaaaaaaaaaaaaaaaaaaaaa"), status(405)),
            ],
            fixtures={"document": document("traced")},
            variables=(LOCATED,),
        ),
        script(
            "12-refusals",
            "Refusals",
            "Refus",
            (
                "Every refusal is an OperationOutcome with the status of its cause.",
                "Chaque refus est une OperationOutcome au statut de sa cause.",
            ),
            [
                (
                    "unknown parameter",
                    ask("a parameter that is none", DOCTOR, "search", "DocumentReference", "?patient=${patient}&nonsense=1"),
                    status(400),
                    holds("told", "OperationOutcome.issue.diagnostics.exists()"),
                ),
                ("no patient", ask("a list of nobody", DOCTOR, "search", "DocumentReference", "?status=current"), status(403)),
                (
                    "XML",
                    ask("another format", DOCTOR, "search", "DocumentReference", "?patient=${patient}", accept="application/fhir+xml"),
                    status(406),
                ),
                (
                    "a bad resource",
                    ask("no status, no content", DOCTOR, "create", "DocumentReference", source="bad"),
                    status(400, 422),
                    holds("all faults", "OperationOutcome.issue.count() > 1"),
                ),
            ],
            fixtures={"bad": carried({"resourceType": "DocumentReference", "subject": {"reference": "Patient/${patient}"}})},
        ),
        script(
            "13-closing",
            "TD1: closing and reopening",
            "TD1 : fermeture et réouverture",
            ("The holder closes the dossier, and opens it again.", "Le titulaire ferme son dossier, puis le rouvre."),
            [
                (
                    "close",
                    ask("a stranger closes", STRANGER, "create", "Patient", "/${patient}/$close", source="reason", method="post"),
                    status(403),
                    ask("the holder closes", HOLDER, "create", "Patient", "/${patient}/$close", source="reason", method="post"),
                    status(200),
                    ask("nobody reads", DOCTOR, "search", "DocumentReference", search),
                    status(403),
                ),
                (
                    "reopen",
                    ask("the holder reopens", HOLDER, "create", "Patient", "/${patient}/$reactivate", source="reason", method="post"),
                    status(200),
                    FIND,
                    holds("active again", "Bundle.entry[0].resource.active = true"),
                ),
            ],
            fixtures={"reason": parameters(reason={"valueCode": "holder-request"})},
        ),
    ]


def files() -> dict[str, str]:
    """File name -> text."""
    return {f"TestScript-{one['id']}.json": json.dumps(one, ensure_ascii=False, indent=1) + "\n" for one in scripts()}


def main() -> None:
    for name, text in files().items():
        (PROFILES / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
