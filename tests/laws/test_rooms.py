"""The rooms and who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fhir_dmp"

# room -> rooms it may import, besides itself
ALLOWED = {
    "errors": set(),
    "settings": set(),
    "fhir": {"errors"},
    "dmp": {"errors", "fhir", "identity"},
    "search": {"errors", "fhir"},
    "identity": {"errors", "fhir", "settings"},
    "consent": {"errors", "fhir", "dmp", "search", "identity"},
    "audit": {"errors", "fhir", "dmp", "search", "identity", "consent"},
    "store": {"errors", "fhir", "dmp", "search", "consent", "audit", "identity"},
    "signing": {"errors", "settings", "identity"},
    "interactions": {"signing", "errors", "settings", "fhir", "dmp", "search", "identity", "consent", "audit", "store"},
    "exchange": {"signing", "errors", "settings", "fhir", "dmp", "search", "identity", "consent", "audit", "store", "interactions"},
    "guide": {"errors", "settings", "fhir", "dmp", "search", "consent", "interactions"},
    "http": {
        "signing",
        "errors",
        "settings",
        "fhir",
        "dmp",
        "search",
        "identity",
        "consent",
        "audit",
        "store",
        "interactions",
        "exchange",
        "guide",
    },
}
# Of the audit room: below the store are values and proofs, above it whoever reads and writes the journal.
ABOVE_STORE = {"recorder", "merger", "verify", "verify_rows"}
TOP = {"app", "cli", "__main__", "commands", "bench", "demo"}
PURE = ("fhir", "search", "dmp", "consent")
DRIVER = {"pymongo", "bson", "gridfs", "mongomotor", "mongoengine", "motor"}
FRAMEWORK = {"fastapi", "starlette", "granian"}
CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("os", "urandom")}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """Modules a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_the_rooms_it_may(path):
    room = room_of(path)
    if room in TOP | {"__init__"}:
        return
    named = [name for name in imports(path) if name.startswith("fhir_dmp.")]
    own = {name.split(".")[1] for name in named} - {room, "__version__"}
    if room == "audit" and path.stem in ABOVE_STORE:
        own -= {"store"}
    assert own <= ALLOWED[room], f"{room} imports {sorted(own - ALLOWED[room])}"
    if room == "store":
        assert not {name.split(".")[2] for name in named if name.startswith("fhir_dmp.audit.")} & ABOVE_STORE


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_store_knows_the_driver_and_only_http_the_framework(path):
    room, outside = room_of(path), {name.split(".")[0] for name in imports(path)}
    if room != "store":
        assert not outside & DRIVER
    # The floors of the benchmark are what the server does when nothing else is done.
    if room not in ("http", "app", "commands") and path.relative_to(PACKAGE).as_posix() != "bench/floors.py":
        assert not outside & FRAMEWORK


@pytest.mark.parametrize("path", [p for p in files() if room_of(p) in PURE], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_pure_room_reads_no_clock_and_draws_no_chance(path):
    tree = ast.parse(path.read_text("utf-8"))
    used = {
        (node.value.id if isinstance(node.value, ast.Name) else node.value.attr, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute)
    }
    assert not used & CLOCKS
    assert not {name.split(".")[0] for name in imports(path)} & {"random", "secrets", "socket", "asyncio"}


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_opens_with_what_it_is(path):
    said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert said and said.splitlines()[0].endswith((".", ":"))


def test_fhir_resources_is_imported_in_one_place():
    users = [path for path in files() if any(name.split(".")[:2] == ["fhir", "resources"] for name in imports(path))]
    assert users == [PACKAGE / "fhir" / "models.py"]
