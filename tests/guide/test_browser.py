"""The guide as its readers meet it: a real browser, served by the real server. Console, search, languages, themes, accessibility.

https://www.w3.org/TR/WCAG22/ , checked by axe-core.
"""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files as packaged
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright

from fhir_dmp.http.guide import CACHED, POLICY
from tests.guide.conftest import BROWSER
from tests.serving import serving

AXE = (packaged("axe_playwright_python") / "axe.min.js").read_text("utf-8")
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}}
# Of long tables and listings the first rows tell as much as all; a thousand more would take minutes.
SHORTEN = "document.querySelectorAll('tbody tr:nth-child(n+6), pre code span:nth-child(n+40)').forEach(one => one.remove())"
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
OPEN = """async ([names, width]) => {
  const found = [];
  const one = name => new Promise(done => {
    const frame = document.createElement("iframe");
    frame.width = width;
    frame.height = 740;
    frame.onload = () => {
      const seen = frame.contentDocument;
      found.push([name, seen.title, seen.documentElement.scrollWidth > frame.contentWindow.innerWidth + 1]);
      frame.remove();
      done();
    };
    frame.src = name;
    document.body.append(frame);
  });
  const left = [...names].reverse();
  await Promise.all([1, 2, 3, 4].map(async () => { while (left.length) await one(left.pop()); }));
  return found;
}"""
TOP = b'<!doctype html><title>frames</title><link rel="icon" href="data:,"><body>'
# What differs in the dark are colours: pages that show all of them.
DARK = ["index.html", "masking.html", "td2.html", "access.html", "types.html", "artefacts/StructureDefinition-dmp-document-reference.html"]
PATIENCE_MS = 180_000
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1300, "height": 900}


@pytest.fixture(scope="module")
def server(guide, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("guide")) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # The sandbox of the browser needs rights that a container does not give; what it opens here is our own.
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def tab(browser, server):
    """A page of a fresh visitor that notes what goes wrong."""
    context = browser.new_context(viewport=DESK, base_url=f"{server.url}/ig/")
    context.set_default_timeout(PATIENCE_MS)
    made = context.new_page()
    made.faults = []
    watch(made, server.url)
    yield made
    context.close()
    assert made.faults == []


def watch(page, url):
    page.on("console", lambda said: page.faults.append((page.url, said.text)) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.faults.append((page.url, str(error))))
    page.on("request", lambda asked: page.faults.append((page.url, asked.url)) if not asked.url.startswith(url) else None)
    page.on("response", lambda came: page.faults.append((came.url, came.status)) if came.status >= 400 else None)


def violations(page, rules):
    """What axe finds: (rule, elements)."""
    page.evaluate(SHORTEN)
    page.evaluate(AXE)
    found = page.evaluate("rules => axe.run(document, rules)", rules)
    return [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found["violations"]]


def written(pages, language="fr"):
    """Pages of a language that people wrote, and one of each kind of artefact."""
    kinds = {}
    for name in (name for name in pages if name.startswith("en/") == (language == "en")):
        folder, _, last = name.rpartition("/")
        kinds.setdefault((folder, last.partition("-")[0]) if "artefacts" in folder or "decisions" in folder else name, name)
    return sorted(kinds.values())


class Framed(SimpleHTTPRequestHandler):
    """The guide with its policy, less the one word that forbids frames."""

    protocol_version = "HTTP/1.1"

    def end_headers(self):
        self.send_header("Content-Security-Policy", "" if self.path == "/" else POLICY.replace("; frame-ancestors 'none'", ""))
        self.send_header("Cache-Control", CACHED)
        super().end_headers()

    def do_GET(self):
        self.path = self.path.removeprefix("/ig")
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(TOP)))
        self.end_headers()
        self.wfile.write(TOP)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def chosen(request, pages):
    """Every page; in the ordinary run, of the English pages those that people wrote: the others are made as the French ones are."""
    everything = request.config.getoption("--laws")
    return [name for name in pages if everything or not name.startswith("en/")] + ([] if everything else written(pages, "en"))


@pytest.fixture(scope="module")
def opened(browser, guide, chosen):
    """The pages, opened at the width of a phone: (name -> (title, whether it is wider than the phone), what went wrong).

    In frames of one page, which the server forbids: a navigation of its own for each costs three times as much.
    """
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Framed, directory=str(guide))) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        made = browser.new_page(viewport=DESK)
        made.faults = []
        watch(made, f"http://127.0.0.1:{files.server_port}/")
        made.goto(f"http://127.0.0.1:{files.server_port}/ig/")
        found = made.evaluate(OPEN, [chosen, PHONE["width"]])
        made.close()
        files.shutdown()
    return {name: (title, wide) for name, title, wide in found}, made.faults


def test_every_page_opens_without_a_word_in_the_console(opened, chosen):
    found, faults = opened
    assert faults == [] and sorted(found) == sorted(chosen) and all(title for title, _ in found.values())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(tab, pages, scheme, histories):
    tab.emulate_media(color_scheme=scheme)
    found = {}
    # One written page in ten, all of them with --laws.
    for name in written(pages)[:: histories(10, 1)] + ["en/index.html", "en/masking.html"] if scheme == "light" else DARK:
        tab.goto(name)
        if faults := violations(tab, RULES if scheme == "light" else CONTRAST):
            found[name] = faults
    assert found == {}


@pytest.mark.parametrize(("start", "asked", "wanted"), [("", "masquer", "masking.html"), ("en/", "break glass", "en/break-glass.html")])
def test_search_finds(tab, start, asked, wanted):
    tab.goto(start)
    tab.keyboard.press("/")
    tab.get_by_role("combobox").first.press_sequentially(asked)
    tab.get_by_role("option").first.wait_for()
    hrefs = tab.eval_on_selector_all("#found [data-href]", "all => all.map(one => new URL(one.dataset.href, location).pathname)")
    assert f"/ig/{wanted}" in hrefs[:3]
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    tab.wait_for_url(lambda url: urlsplit(url).path == hrefs[0])


def test_search_finds_codes_profiles_and_words_without_their_accents(tab):
    tab.goto("")
    for asked in ("34112-3", "dmp-document-reference", "urgence medecin", "$break-glass"):
        tab.get_by_role("combobox").first.fill(asked)
        tab.locator("#found [data-href]").first.wait_for()
    tab.get_by_role("combobox").first.fill("zzzzqqq")
    tab.get_by_text("Rien trouvé").wait_for()


def test_the_language_switch_leads_to_the_same_page_and_back(tab, pages):
    for name in ("index.html", "masking.html", "artefacts/StructureDefinition-dmp-document-reference.html", "decisions/0003-search.html"):
        assert name in pages
        tab.goto(name)
        tab.locator("a.language").click()
        tab.wait_for_url(f"**/ig/en/{name}")
        assert tab.locator("html").get_attribute("lang") == "en"
        tab.locator("a.language").click()
        tab.wait_for_url(f"**/ig/{name}")


def test_light_and_dark_by_the_system_and_by_choice(tab):
    back = "getComputedStyle(document.body).backgroundColor"
    tab.emulate_media(color_scheme="dark")
    tab.goto("")
    dark = tab.evaluate(back)
    tab.locator("button.theme").click()
    light = tab.evaluate(back)
    assert dark != light
    tab.goto("masking.html")
    assert tab.evaluate(back) == light
    tab.locator("button.theme").click()
    assert tab.evaluate(back) == dark


def test_a_phone_reads_without_scrolling_sideways_and_opens_the_menu(tab, opened):
    assert [name for name, (_, wide) in opened[0].items() if wide] == []
    tab.set_viewport_size(PHONE)
    tab.goto("")
    assert not tab.locator("#menu").is_visible()
    tab.locator("button.menu").click()
    assert tab.locator("#menu").is_visible() and tab.locator("button.menu").get_attribute("aria-expanded") == "true"


def test_tabs_show_one_language_at_a_time_and_remember_it(tab):
    tab.goto("td0-2.html")
    panels = tab.locator("[role=tabpanel]:visible")
    assert {panel.get_attribute("data-title") for panel in panels.all()} == {"HTTP"}
    tab.get_by_role("tab", name="Python").first.click()
    assert {panel.get_attribute("data-title") for panel in panels.all()} == {"Python"}
    tab.goto("td3-2.html")
    assert {panel.get_attribute("data-title") for panel in panels.all()} == {"Python"}


def test_filters_narrow_a_table(tab):
    tab.goto("types.html")
    rows = tab.locator("tbody tr:visible")
    everything = rows.count()
    tab.locator(".filters input").fill("vaccin")
    assert 0 < rows.count() < everything
    tab.locator(".filters input").fill("")
    tab.locator(".filters select").first.select_option("imagerie")
    assert 0 < rows.count() < 10
    tab.goto("matrix.html")
    before = tab.locator("#table-1 thead th:visible, main table thead th:visible").count()
    tab.locator(".filters select").first.select_option("G15|60")
    assert tab.locator("main table >> nth=0 >> thead th:visible").count() == 3 < before


def test_an_unknown_address_says_so_kindly(browser, server):
    page = browser.new_page(base_url=f"{server.url}/ig/")
    answer = page.goto("en/deep/nothing.html")
    assert answer.status == 404 and page.locator("h1").inner_text() == "There is no such page"
    assert page.evaluate("getComputedStyle(document.querySelector('header')).position") == "sticky"
    page.close()
