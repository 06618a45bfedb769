"""Settings: one table; command line, else environment `FHIR_DMP_<NAME>`, else `fhir-dmp.toml`, else the default.

Values are read once at start and never change while the server runs.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import make_dataclass, replace
from pathlib import Path
from typing import NamedTuple

MIB = 1024 * 1024
FILE = "fhir-dmp.toml"
PREFIX = "FHIR_DMP_"
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0", "")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOGIN_SENDERS = ("", "none", "terminal", "smtp")


class Setting(NamedTuple):
    """One row of the table.

    type: str, int, float, bool, Path, or tuple (comma-separated texts). least, most: bounds of a number. secret: never printed.
    """

    name: str
    default: object
    type: type
    help: str
    least: float | None = None
    most: float | None = None
    secret: bool = False


class SettingError(ValueError):
    """A setting that cannot be used; the message names it and where it came from."""


SETTINGS = (
    Setting("host", "127.0.0.1", str, "address to listen on"),
    Setting("port", 8080, int, "port to listen on; 0 picks a free one", 0, 65535),
    Setting("data", Path("data"), Path, "folder of the embedded MongoDB, the keys and temporary files, readable by its owner only"),
    Setting("workers", 0, int, "server processes; 0: half the cores of the machine", 0, 256),
    Setting("mongodb_uri", "", str, "replica set or sharded cluster to use instead of the embedded MongoDB", secret=True),
    Setting("database", "fhir_dmp", str, "name of the MongoDB database"),
    Setting("sandbox", False, bool, "accept `system` tokens, for conformance suites; a store is a sandbox or not for life"),
    Setting("issuers", None, Path, "JSON file of the trusted token issuers"),
    Setting("message_signers", None, Path, "JSON file of whose seals on messages are trusted: signer, jwks, algorithms, organizations"),
    Setting("message_seal_required", (), tuple, "kinds of senders whose messages must be sealed, e.g. structure,host"),
    Setting("authorities", None, Path, "folder of certificates (PEM) of the authorities that authors' signatures are verified against"),
    Setting("base_url", "", str, "address clients use, e.g. https://dmp.example.org/fhir; empty: host and port"),
    Setting("cors_origins", (), tuple, "web origins that may call from a browser, or *; empty: none"),
    Setting("log_level", "info", str, "debug, info (one line a request), warning or error"),
    Setting("max_body_bytes", 64 * MIB, int, "largest request body, also once decompressed", 1024, 1024 * MIB),
    Setting("max_resource_bytes", 64 * MIB, int, "largest single resource as JSON; beyond 1 MiB kept as a sealed content", 1024, 256 * MIB),
    Setting("max_binary_bytes", 256 * MIB, int, "largest Binary content sent as itself", 1024, 16 * 1024 * MIB),
    Setting("max_reading_bytes", 512 * MIB, int, "memory for bodies one worker is receiving; more large ones wait outside with 503", MIB),
    Setting("max_bundle_entries", 20_000, int, "most entries in one batch or transaction", 1, 1_000_000),
    Setting("max_depth", 64, int, "deepest nesting of a JSON body", 8, 190),
    Setting("max_url_bytes", 16_384, int, "longest request address with its query", 256, 60_000),
    Setting("max_header_bytes", 32_768, int, "largest request head", 8192, 1024 * 1024),
    Setting("max_in_flight", 1000, int, "requests one worker answers at a time; more wait outside with 503", 1, 100_000),
    Setting("max_connections", 4096, int, "connections one worker holds at a time; more wait in the queue", 16, 100_000),
    Setting("default_count", 50, int, "entries of a page when `_count` is absent", 1, 1000),
    Setting("max_count", 1000, int, "most entries of a page, whatever `_count` asks", 1, 10_000),
    Setting("max_candidates", 20_000, int, "rows a search may examine when its index cannot decide alone", 100, 10_000_000),
    Setting("header_seconds", 15, int, "time a client has to send the head of a request", 1, 600),
    Setting("body_seconds", 30, int, "longest silence while a request body is being sent", 1, 600),
    Setting("store_seconds", 30, int, "longest wait for one answer of MongoDB", 1, 600),
    Setting("stop_seconds", 10, int, "time running requests have to finish when the server stops", 1, 600),
    Setting("token_seconds", 3600, int, "lifetime of tokens of the host's own issuer", 1, 366 * 86_400),
    Setting("token_skew_seconds", 60, int, "clock difference tolerated in tokens", 0, 60),
    Setting("session_seconds", 900, int, "lifetime of tokens given at /auth, by patient login or for an assertion", 60, 3600),
    Setting("login_seconds", 300, int, "time between password and one-time code of a login", 30, 3600),
    Setting("login_failures", 5, int, "wrong passwords or codes after which an identifier is locked", 2, 100),
    Setting("login_lock_seconds", 900, int, "how long an identifier stays locked", 1, 86_400),
    Setting("login_attempts", 20, int, "login requests for one identifier in login_window_seconds; more are told to wait", 1, 100_000),
    Setting("login_address_attempts", 100, int, "the same for one network address, an IPv6 network of 64 bits being one", 1, 1_000_000),
    Setting("login_window_seconds", 300, int, "span over which login requests are counted", 1, 86_400),
    Setting("login_sender", "", str, "who brings one-time codes: smtp, terminal, none; empty: terminal in a sandbox, else none"),
    Setting("habilitations", None, Path, "JSON file of a habilitation matrix, in place of profiles/habilitations.json"),
    Setting("in_charge_sees_masked", True, bool, "colleagues in charge of the depositing establishment see what is masked"),
    Setting("emergency_professions", ("G15|10",), tuple, "who may break the glass or regulate, e.g. G15|10"),
    Setting("break_glass_minutes", 60, int, "how long a break-glass grant lasts", 1, 1440),
    Setting("strict_metadata", False, bool, "refuse deposits that leave out metadata PDSm asks for; else only what the rules need"),
    Setting("masked_and_invisible", False, bool, "one request may set MASQUE_PS and INVISIBLE_PATIENT together"),
    Setting("self_authorisation_days", 365, int, "longest Consent a professional writes for himself", 1, 365),
    Setting("reimbursement_months", 24, int, "how far back reimbursements are fed, and shown to professionals", 1, 120),
    Setting("never_served_sectors", ("SA23", "SA24", "SA44", "SA48"), tuple, "sectors of insurers and employers"),
    Setting("occupational_specialties", ("SM25", "C41", "CAPA11"), tuple, "specialties that need the holder's express Consent"),
    Setting("occupational_sectors", ("SA13", "SA47", "SA66", "SA68"), tuple, "sectors that need the holder's express Consent"),
    Setting("care_purposes", ("TREAT", "ETREAT", "BTG"), tuple, "purposes that a professional may claim"),
    Setting("notice_sender", "", str, "who brings notices to holders: smtp, terminal (for development), none; empty: as login_sender"),
    Setting("notice_seconds", 5, int, "time between two looks for notices that wait to be sent", 1, 3600),
    Setting("smtp_url", "", str, "mail server: smtps://USER:PASSWORD@HOST, or smtp:// with STARTTLS, plain on this machine", secret=True),
    Setting("smtp_from", "", str, "address that mail is sent from"),
    Setting("trusted_proxies", (), tuple, "addresses of reverse proxies whose X-Forwarded-For names the client; empty: none is believed"),
    Setting("jwks_seconds", 600, int, "how long keys fetched from an issuer are kept before they are fetched again", 10, 86_400),
    Setting("build_guide", True, bool, "build the implementation guide in the background when it is missing"),
    Setting("journal_seconds", 5, int, "time between two signed heads of the journal of traces", 1, 3600),
    Setting("mongod_cache_gb", 1.0, float, "cache of the embedded MongoDB, in gigabytes", 0.25, 10_000),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}

Settings = make_dataclass("Settings", [(s.name, s.type, s.default) for s in SETTINGS], frozen=True, slots=True)
Settings.__module__ = __name__
Settings.__doc__ = "Every setting of the table as a frozen value: settings.port, settings.data, ..."


class Loaded(NamedTuple):
    """settings: Settings. origins: name -> where its value came from, in words."""

    settings: Settings
    origins: dict[str, str]


def load(command_line: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Loaded:
    """Settings from all sources.

    command_line: name -> value, None or absent when not given. folder: where `fhir-dmp.toml` is looked for, default the current one.
    """
    environ = os.environ if environ is None else environ
    path = (folder or Path()) / FILE
    sources = (
        ("command line", {k: v for k, v in (command_line or {}).items() if v is not None}),
        ("environment", {s.name: environ[PREFIX + s.name.upper()] for s in SETTINGS if PREFIX + s.name.upper() in environ}),
        (FILE, read_file(path)),
    )
    values, origins = {}, {}
    for setting in SETTINGS:
        values[setting.name], origins[setting.name] = setting.default, "default"
        for origin, given in sources:
            if setting.name in given:
                values[setting.name], origins[setting.name] = check(setting, given[setting.name], origin), origin
                break
    settings = Settings(**values)
    if settings.default_count > settings.max_count:
        raise SettingError("setting `default_count` is larger than `max_count`")
    if settings.log_level not in LOG_LEVELS:
        raise SettingError(f"setting `log_level` must be one of {', '.join(LOG_LEVELS)}")
    if settings.login_sender not in LOGIN_SENDERS:
        raise SettingError(f"setting `login_sender` must be one of {', '.join(LOGIN_SENDERS[1:])}")
    if settings.notice_sender not in LOGIN_SENDERS:
        raise SettingError(f"setting `notice_sender` must be one of {', '.join(LOGIN_SENDERS[1:])}")
    return Loaded(replace(settings, data=settings.data.expanduser().absolute()), origins)


def read_file(path: Path) -> dict[str, object]:
    """Settings of a TOML file, {} when there is none; a name that is not in the table is refused."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is not TOML: {error}") from None
    if unknown := sorted(set(given) - set(BY_NAME)):
        raise SettingError(f"{path} has no such setting: {', '.join(f'`{name}`' for name in unknown)}; `fhir-dmp settings` lists them")
    return given


def check(setting: Setting, given: object, origin: str) -> object:
    """The value in its own type, or a SettingError that says what is wrong."""
    try:
        value = convert(setting, given)
    except (TypeError, ValueError):
        raise SettingError(f"setting `{setting.name}` ({origin}) must be {words(setting)}, not `{given}`") from None
    for bound, wrong in ((setting.least, "at least"), (setting.most, "at most")):
        if bound is not None and (value < bound if wrong == "at least" else value > bound):
            raise SettingError(f"setting `{setting.name}` ({origin}) must be {wrong} {bound}")
    return value


def convert(setting: Setting, given: object) -> object:
    """One given value in the type of its setting.

    >>> convert(BY_NAME["cors_origins"], "https://a.example, https://b.example")
    ('https://a.example', 'https://b.example')
    >>> convert(BY_NAME["sandbox"], "yes")
    True
    """
    kind = setting.type
    if kind is bool:
        text = str(given).strip().lower()
        if text not in YES + NO:
            raise ValueError
        return text in YES
    if isinstance(given, bool):
        raise TypeError
    if kind is tuple:
        return tuple(part.strip() for part in (given.split(",") if isinstance(given, str) else given) if part.strip())
    if kind is Path:
        return Path(given) if given else setting.default
    if kind is int and isinstance(given, float):
        raise TypeError
    return kind(given)


def words(setting: Setting) -> str:
    """The type of a setting in plain words."""
    return {int: "a whole number", float: "a number", bool: "yes or no", tuple: "a list", Path: "a path"}.get(setting.type, "a text")


def shown(setting: Setting, value: object) -> str:
    """A value as printed by `fhir-dmp settings`: secrets hidden."""
    if setting.secret:
        return "(set)" if value else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
