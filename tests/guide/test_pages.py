"""Every page as text: links hold, languages agree, nothing comes from elsewhere, the search index is whole."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from fhir_dmp.cli import cli
from fhir_dmp.guide import sources

VOID = {"meta", "link", "img", "input", "br", "hr", "wbr"}
LOADING = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("use", "href"), ("image", "href")}
WORK = re.compile(r"lorem|todo|fixme|tbd\b|\{\{|\{%|\]\(", re.IGNORECASE)


class Page(HTMLParser):
    """What a page holds. links: (element, attribute, address). anchors: ids. faults: tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.faults, self.open, self.language, self.headings, self.words = [], [], [], [], "", [], []
        self.inline = []
        self.feed(text)
        self.faults += self.open

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        for name, value in attributes:
            if name in ("href", "src"):
                self.links.append((tag, name, value))
            if name == "style" or name.startswith("on"):
                self.inline.append((tag, name))
        if tag in ("script", "style") and "src" not in known:
            self.inline.append((tag, ""))
        if "id" in known:
            self.anchors.append(known["id"])
        if tag == "html":
            self.language = known.get("lang")
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.faults.append(f"/{tag}")

    def handle_data(self, data):
        if "code" not in self.open and "pre" not in self.open:
            self.words.append(data)


@pytest.fixture(scope="session")
def read(guide, pages):
    """Name -> Page."""
    return {name: Page((guide / name).read_text("utf-8")) for name in pages}


def test_there_is_a_page_in_each_language_at_the_same_name(pages):
    french = {name for name in pages if not name.startswith("en/")}
    assert french == {name.removeprefix("en/") for name in pages if name.startswith("en/")}
    assert len(french) > 100


def test_every_page_is_well_formed_and_says_its_language(read):
    assert {name: page.faults for name, page in read.items() if page.faults} == {}
    assert {name for name, page in read.items() if page.language != ("en" if name.startswith("en/") else "fr")} == set()
    assert {name for name, page in read.items() if page.headings.count(1) != 1} == set()


def test_anchors_are_unique(read):
    assert {name: page.anchors for name, page in read.items() if len(page.anchors) != len(set(page.anchors))} == {}


def test_links_hold(guide, read):
    broken = []
    for name, page in read.items():
        for _, _, address in page.links:
            split = urlsplit(urljoin(f"/ig/{name}", address))
            if split.netloc:
                continue
            target = split.path.removeprefix("/ig/")
            known = read.get(target)
            if not (guide / target).is_file() or (split.fragment and known and split.fragment not in known.anchors):
                broken.append((name, address))
    assert broken == []


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(read):
    for name, page in read.items():
        assert [address for tag, at, address in page.links if (tag, at) in LOADING and urlsplit(address).netloc] == [], name
        assert page.inline == [], name


def test_no_page_holds_what_was_left_to_do(read):
    assert [name for name, page in read.items() if WORK.search(" ".join(page.words))] == []


def test_the_search_knows_every_page(guide, pages):
    for language, start in (("fr", ""), ("en", "en/")):
        index = json.loads((guide / f"search.{language}.json").read_text("utf-8"))
        wanted = {name.removeprefix(start) for name in pages if name.startswith("en/") == bool(start)} - {"404.html"}
        assert {one["u"] for one in index} == wanted
        assert all(one["t"] and one["w"] for one in index)


def test_every_decision_is_listed_in_both_languages(read):
    for name in ("decisions.html", "en/decisions.html"):
        linked = {address for _, _, address in read[name].links}
        assert [path.stem for path in sources.DECISIONS.glob("*.md") if f"decisions/{path.stem}.html" not in linked] == []


def test_every_decision_is_told_in_a_french_sentence():
    told = json.loads((sources.DECISIONS / "fr.json").read_text("utf-8"))
    assert sorted(told) == sorted(path.stem for path in sources.DECISIONS.glob("*.md")) and all(told.values())


def test_pages_say_the_same_in_both_languages():
    """As many headings, tables and examples, in the same order."""
    mark = re.compile(r"^(#+) |(\{\{.*?\}\})|^```(\w+)", re.MULTILINE)
    for path in sorted((sources.PAGES / "fr").rglob("*.md")):
        other = sources.PAGES / "en" / path.relative_to(sources.PAGES / "fr")
        assert mark.findall(path.read_text("utf-8")) == mark.findall(other.read_text("utf-8")), path.name


def test_the_same_differences_are_told_in_both_languages():
    """Row by row: the same profile, the same codes."""
    rows = []
    for end in ("", ".fr"):
        text = (sources.ROOT / "ig" / f"profiles-differences{end}.md").read_text("utf-8")
        rows.append(
            [(line.split("|")[1].strip(), sorted(re.findall("`(.*?)`", line))) for line in text.splitlines() if line[:1] == "|"][1:]
        )
    assert rows[0] == rows[1] and len(rows[0]) > 30


def test_every_setting_is_described_in_both_languages(read):
    from fhir_dmp.settings import SETTINGS

    french = json.loads((sources.ROOT / "ig" / "settings.fr.json").read_text("utf-8"))
    assert list(french) == [one.name for one in SETTINGS]
    for name, told in (("settings.html", french.values()), ("en/settings.html", [one.help for one in SETTINGS])):
        assert [one for one in told if one not in " ".join(read[name].words)] == []


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_command_is_described(language):
    told = (sources.PAGES / language / "settings.md").read_text("utf-8")
    assert [name for name in cli.list_commands(None) if f"`fhir-dmp {name}" not in told] == []


def test_every_profile_list_and_operation_has_a_page(pages):
    kinds = ("StructureDefinition", "ValueSet", "CodeSystem", "OperationDefinition", "SearchParameter", "NamingSystem", "ConceptMap")
    made = {path.stem for kind in kinds for path in sources.PROFILES.glob(f"{kind}-*.json")}
    assert made and {name for name in made if f"artefacts/{name}.html" not in pages} == set()


TRANSACTIONS = [
    *("td0-2", "td0-3", "td1", "td2", "td2-simplified", "td2-1", "td3-1a", "td3-1b", "iti-66", "td3-2"),
    *("td3-3a", "td3-3b", "td3-3c", "td3-3d", "summary"),
]


@pytest.mark.parametrize("name", TRANSACTIONS)
@pytest.mark.parametrize("language", ["", "en/"])
def test_every_transaction_is_told_whole(guide, language, name):
    """A diagram; requests in four notations with their answers, as they were held with a server; what goes wrong."""
    told = (guide / f"{language}{name}.html").read_text("utf-8")
    shown = told.count('class="exchange"')
    assert 'class="sequence"' in told and shown and told.count('class="status good"')
    assert [told.count(f'data-title="{each}"') for each in ("HTTP", "curl", "Python", "JavaScript")] == [shown] * 4
    assert f'id="{"errors" if language else "erreurs"}"' in told


def test_every_operation_of_this_server_is_asked_for_in_a_conversation(guide):
    held = json.loads((guide / "conversations.json").read_text("utf-8")).values()
    words = {word for one in held if one["asked"]["title"] for word in re.findall(r"\$[a-z-]+", one["asked"]["path"])}
    defined = {f"${json.loads(path.read_text('utf-8'))['code']}" for path in sources.PROFILES.glob("OperationDefinition-*.json")}
    assert defined - words == set()
