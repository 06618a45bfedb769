"""Building the guide: hold the conversations, write the pages, add the artefacts and the package, put the folder in place.

https://hl7.org/fhir/R4/implementationguide.html
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from fhir_dmp import __version__
from fhir_dmp.guide import artefacts, exchanges, holding, package, records, sources, tables
from fhir_dmp.guide.conversations import Broken
from fhir_dmp.guide.holding import Held
from fhir_dmp.guide.site import LANGUAGES, Site, replace_folder
from fhir_dmp.guide.writing import Blocks, coloured

Say = Callable[[str], None]


def build(place: Path, say: Say = lambda _: None) -> Path:
    """The whole guide at this folder. Raises Broken, and leaves nothing, when anything in it is false."""
    begun = time.monotonic()
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".making-", dir=place.parent))
    try:
        say("holding the conversations with a server of its own")
        with holding.server() as running:
            held = holding.hold(running, sources.CONVERSATIONS)
        say(f"{len(held)} exchanges held, writing the pages")
        site = written(held)
        site.write(folder)
        seconds = time.monotonic() - begun
        facts = {
            "version": __version__,
            "digest": sources.digest(),
            "pages": len(site.pages),
            "exchanges": len(held),
            "seconds": round(seconds, 1),
        }
        (folder / sources.DONE).write_text(json.dumps(facts), "utf-8")
        folder.chmod(0o755)
        replace_folder(folder, place)
        say(f"{len(site.pages)} pages in French and English, {len(held)} exchanges, {seconds:.0f} s")
        return place
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def written(held: dict[str, Held]) -> Site:
    """The site in memory."""
    site = Site(json.loads((sources.PAGES / "menu.json").read_text("utf-8")))
    site.files["package.tgz"] = package.archive()
    site.files["conversations.json"] = json.dumps(
        {name: each.as_json() for name, each in held.items()}, ensure_ascii=False, indent=1
    ).encode()
    for path in sorted(sources.CONVERSATIONS.iterdir()):
        site.files[f"conversations/{path.name}"] = path.read_bytes()
    prose(site, held)
    artefacts.add(site)
    records.add(site)
    return site


def prose(site: Site, held: dict[str, Held]) -> None:
    """The pages people wrote, from ig/pages/LANGUAGE/NAME.md."""
    section_of = {name: section["name"] for section in site.menu for name in section["pages"]}
    names = {language: names_of(sources.PAGES / language) for language in LANGUAGES}
    if names["fr"] != names["en"]:
        raise Broken(f"pages in one language only: {', '.join(sorted(names['fr'] ^ names['en']))}")
    for name in sorted(names["fr"]):
        texts, used = {}, set[str]()
        for language in LANGUAGES:
            blocks = Blocks()
            directives = Environment(undefined=StrictUndefined).from_string((sources.PAGES / language / f"{name}.md").read_text("utf-8"))
            texts[language] = directives.render(**given(site, held, language, blocks, used)), blocks
        site.add(name, section_of.get(name, ""), texts, wide=name in WIDE)
        for exchange in used:
            site.shown.setdefault(exchange, (name, held[exchange].asked))
    if unused := set(held) - set(site.shown) - {name for name, each in held.items() if not each.asked.title}:
        raise Broken(f"exchanges with a title that no page shows: {', '.join(sorted(unused))}")


WIDE = {"access", "matrix", "types", "search-parameters"}


def names_of(folder: Path) -> set[str]:
    """Names of the pages below a folder."""
    return {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.md")}


def given(site: Site, held: dict[str, Held], language: str, blocks: Blocks, used: set[str]) -> dict:
    """What a page may ask for between double braces."""

    def exchange(name: str) -> str:
        if name not in held:
            raise Broken(f"no conversation has an exchange named {name}")
        used.add(name)
        return blocks.keep(exchanges.html(held[name], language, site.templates))

    def source(name: str) -> str:
        site.files[name] = (sources.ROOT / "ig" / name).read_bytes()
        link = f'<p><a href="file:{name}">{name}</a></p>'
        return blocks.keep(link + coloured(site.files[name].decode(), "python"))

    def proven() -> str:
        return blocks.keep(coloured(proof_checked(held["trace"], held["proof"]), ""))

    made = {name: table_for(function, language, blocks) for name, function in tables.TABLES.items()}
    made |= {name: table_for(function, language, blocks) for name, function in (artefacts.LISTS | records.TABLES).items()}
    return {"exchange": exchange, "source": source, "proven": proven, "version": __version__, **made}


def proof_checked(trace: Held, proof: Held) -> str:
    """What ig/check_proof.py says of a trace and its proof."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "trace.json", Path(folder) / "proof.json"]
        for path, one in zip(files, (trace, proof), strict=True):
            path.write_text(one.answer.body, "utf-8")
        command = [sys.executable, str(sources.ROOT / "ig" / "check_proof.py"), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Broken(f"the proof of a trace does not hold: {done.stderr.strip()[-600:]}")
    return "$ python3 check_proof.py trace.json proof.json\n" + done.stdout.strip()


def table_for(function: Callable[..., str], language: str, blocks: Blocks) -> Callable[..., str]:
    """A table as a page asks for it."""
    return lambda *arguments: blocks.keep(function(language, *arguments))
