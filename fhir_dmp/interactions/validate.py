"""FHIR operation $validate: whether a resource would be accepted, with every fault at once; nothing is stored.

https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from collections.abc import Awaitable

from fhir_dmp.errors import FhirError, Issue, outcome
from fhir_dmp.fhir import json, profiles, schema
from fhir_dmp.fhir.bundle import Url
from fhir_dmp.fhir.french import in_french
from fhir_dmp.fhir.parameters import Given, Parameter
from fhir_dmp.interactions import read, shown
from fhir_dmp.interactions.context import Answer, Context, admit
from fhir_dmp.interactions.prepare import Checked, check_body_id, check_value, place_of
from fhir_dmp.interactions.search_sight import UNRESTRICTED, Sight
from fhir_dmp.store.rows import Row

PARAMETERS = (Parameter("resource", "Resource"), Parameter("mode", "code"), Parameter("profile", "uri"))
LETTERS = {"create": "c", "update": "u", "delete": "d"}


async def run(context: Context, url: Url, given: Given, sight: Sight = UNRESTRICTED) -> Answer:
    """An OperationOutcome with status 200, whether or not the resource is valid, in the language the client prefers.

    mode create or update: as the interaction would judge it, with the profile that a deposit of this kind must follow. mode profile, or no
    mode: by the profile that is named and those the resource claims. Without a resource, mode profile judges the one that is stored.
    """
    mode, profile = given.one("mode"), given.one("profile")
    if mode not in (None, "profile", *LETTERS):
        raise FhirError("invalid", f"parameter `mode`: `{(mode or '')[:40]}` is none of create, update, delete, profile")
    admit(context, url.type, LETTERS.get(mode or "", "r"))
    if mode in ("update", "delete") and not url.id:
        raise FhirError("invalid", f"mode `{mode}` is asked of one resource: `{url.type}/[id]/$validate`")
    if mode == "profile" and profile is None:
        raise FhirError("invalid", "mode `profile` needs the parameter `profile`")
    if profile is not None and not profiles.known(profile) and not profiles.is_base(profile, url.type):
        raise FhirError("not-supported", f"this server cannot validate against `{profile[:200]}`")
    if mode == "delete":
        return _answer(context, await _faults(_existing(context, url, sight)))
    if "resource" in given.resources:
        value, body = given.resources["resource"]
        refused = [] if mode == "profile" else await _faults(_acceptable(context, url, mode, value, body, sight))
    elif mode == "profile" and url.id:
        value, refused = await _stored(context, url, sight), []
    else:
        raise FhirError("invalid", "there is no resource to validate: send it as the body, or as parameter `resource`")
    if refused and value.get("resourceType") != url.type:
        return _answer(context, refused)
    return _answer(context, [*schema.validate(value, type=url.type), *refused, *_of_profiles(context, value, mode, profile)])


def _of_profiles(context: Context, value: dict, mode: str | None, profile: str | None) -> list[Issue]:
    """What the resource breaks of the profile asked for, of those it claims, and of the one a deposit must follow."""
    wanted = [profile] if profile is not None and profiles.known(profile) else []
    wanted += profiles.claimed(value)
    plain = dict.fromkeys(url.partition("|")[0] for url in wanted)
    found = [issue for url in plain for issue in profiles.validate_profile(value, url, language=context.language)]
    if mode in ("create", "update"):
        strict = context.settings.strict_metadata
        found += profiles.deposit_issues(value, context.actor.kind, language=context.language, strict=strict)
    return found


async def _stored(context: Context, url: Url, sight: Sight) -> dict:
    """The resource as the asker sees it."""
    row = await _existing(context, url, sight)
    (row,) = await shown.rows(context, sight, [row])
    return json.parse(row.body)


async def _acceptable(context: Context, url: Url, mode: str | None, value: dict, body: bytes, sight: Sight) -> None:
    """Refused as the interaction would be."""
    checked: Checked = check_value(context, body, value, url.type)
    if mode == "update":
        check_body_id(checked, url.id)
        row = await _existing(context, url, sight, must=not context.sandbox)
        place_of(context, checked, url.id)
        if row is not None and not context.sandbox and row.dossier != place_of(context, checked, url.id).dossier:
            raise FhirError("business-rule", "a resource cannot move to the dossier of another patient", url.type)
    elif mode == "create":
        place_of(context, checked, None)


async def _existing(context: Context, url: Url, sight: Sight, *, must: bool = True) -> Row | None:
    row = await read.current(context, url.type, url.id, opening=sight.sees)
    if row is not None and not row.deleted and row.body is not None and sight.sees(row):
        return row
    if must:
        raise read.absent()
    return None


async def _faults(check: Awaitable[object]) -> list[Issue]:
    """What the check refuses for, [] when it does not."""
    try:
        await check
    except FhirError as error:
        if error.status >= 500:
            raise
        return list(error.issues)
    return []


def _answer(context: Context, issues: list[Issue]) -> Answer:
    """Each fault once, the errors first."""
    listed = sorted(dict.fromkeys(issues), key=lambda issue: issue.severity not in ("fatal", "error"))
    listed = listed or [Issue("information", "informational", "no fault was found")]
    return Answer(200, outcome(map(in_french, listed) if context.language == "fr" else listed))
