// Menu, theme, search, tabs, copying, filters. No library, nothing from elsewhere; without it every page can still be read.
"use strict";

const root = document.documentElement;
const french = root.lang === "fr";
const plain = (text) => text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
const make = (name, attributes = {}, text = "") => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
};

// Menu of a narrow screen.
const menuButton = document.querySelector("button.menu");
menuButton.addEventListener("click", () => {
  const open = menuButton.getAttribute("aria-expanded") !== "true";
  menuButton.setAttribute("aria-expanded", String(open));
  document.body.classList.toggle("menu-open", open);
});

// Light, dark.
document.querySelector("button.theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

// Search: every word must begin a word of the page; titles count most, then headings, then the text.
const field = document.getElementById("search");
const list = document.getElementById("found");
let pages = null;
let chosen = -1;

async function index() {
  if (!pages) {
    const given = await (await fetch(document.body.dataset.index)).json();
    pages = given.map((page) => ({
      ...page,
      title: " " + plain(page.t),
      heads: page.h.map(([anchor, text]) => ({ anchor, text, plain: " " + plain(text) })),
      words: " " + plain(page.w),
    }));
  }
  return pages;
}

const begins = (text, word) => {
  let at = -1;
  while ((at = text.indexOf(word, at + 1)) >= 0) if (!/[a-z0-9]/.test(text[at - 1] ?? " ")) return at;
  return -1;
};

function scored(page, asked) {
  let score = 0;
  let anchor = "";
  for (const word of asked) {
    const inTitle = begins(page.title, word) >= 0;
    const head = page.heads.find((each) => begins(each.plain, word) >= 0);
    const inText = begins(page.words, word) >= 0;
    if (!inTitle && !head && !inText) return null;
    score += (inTitle ? 10 : 0) + (head ? 4 : 0) + (inText ? 1 : 0);
    if (head && !inTitle) anchor = "#" + head.anchor;
  }
  return { page, score, anchor };
}

function excerpt(page, word) {
  const at = Math.max(0, begins(page.words, word) - 40);
  return (at ? "…" : "") + page.w.slice(at, at + 120) + "…";
}

async function look() {
  const asked = plain(field.value).split(/[^a-z0-9$_.-]+/).filter(Boolean);
  const known = await index();
  list.replaceChildren();
  chosen = -1;
  const open = asked.length > 0;
  list.hidden = !open;
  field.setAttribute("aria-expanded", String(open));
  field.removeAttribute("aria-activedescendant");
  if (!open) return;
  const found = known.map((page) => scored(page, asked)).filter(Boolean).sort((a, b) => b.score - a.score).slice(0, 10);
  found.forEach(({ page, anchor }, number) => {
    const item = make("li", { role: "option", id: `found-${number}`, "aria-selected": "false" });
    item.dataset.href = document.body.dataset.pages + page.u + anchor;
    item.append(make("strong", {}, page.t), make("span", {}, excerpt(page, asked[0])));
    item.addEventListener("click", () => (location.href = item.dataset.href));
    list.append(item);
  });
  if (!found.length) list.append(make("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, french ? "Rien trouvé" : "Nothing found"));
}

field.addEventListener("focus", index, { once: true });
field.addEventListener("input", look);
field.addEventListener("keydown", (event) => {
  const items = [...list.querySelectorAll("[data-href]")];
  if (event.key === "Escape") {
    field.value = "";
    look();
  } else if (event.key === "Enter" && items.length) {
    location.href = items[Math.max(chosen, 0)].dataset.href;
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && items.length) {
    event.preventDefault();
    chosen = (chosen + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length;
    items.forEach((item, number) => item.setAttribute("aria-selected", String(number === chosen)));
    field.setAttribute("aria-activedescendant", items[chosen].id);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    field.focus();
  }
});
document.addEventListener("click", (event) => {
  if (!event.target.closest(".search")) list.hidden = true;
});

// One tab at a time; the choice of a language holds for the whole guide.
const groups = [...document.querySelectorAll("[data-tabs]")];
function show(title) {
  for (const group of groups) {
    const tabs = [...group.querySelectorAll("[role=tab]")];
    if (!tabs.some((tab) => tab.textContent === title)) continue;
    for (const tab of tabs) {
      const on = tab.textContent === title;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
    }
  }
}
groups.forEach((group, number) => {
  const bar = make("div", { role: "tablist", "aria-label": french ? "Écrit en" : "Written in" });
  const panels = [...group.children];
  panels.forEach((panel, place) => {
    panel.id = `panel-${number}-${place}`;
    panel.setAttribute("role", "tabpanel");
    panel.querySelector(".tab-title").hidden = true;
    const tab = make("button", { type: "button", role: "tab", id: `tab-${number}-${place}`, "aria-controls": panel.id }, panel.dataset.title);
    panel.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => {
      localStorage.setItem("tab", panel.dataset.title);
      show(panel.dataset.title);
    });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: panels.length - 1 }[event.key];
      if (step) bar.children[(place + step) % panels.length].focus();
    });
    bar.append(tab);
  });
  group.prepend(bar);
});
show("HTTP");
if (localStorage.getItem("tab")) show(localStorage.getItem("tab"));

// Copying.
for (const code of document.querySelectorAll("pre.code")) {
  const button = make("button", { type: "button", class: "copy" }, french ? "Copier" : "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.querySelector("code").textContent);
    button.textContent = french ? "Copié" : "Copied";
    setTimeout(() => (button.textContent = french ? "Copier" : "Copy"), 1500);
  });
  const frame = make("div", { class: "frame" });
  code.replaceWith(frame);
  frame.append(code, button);
}

// Filters of a table: words, and choices that keep one value of a column (data-NAME of a row) or one column.
for (const form of document.querySelectorAll("[data-filters]")) {
  const table = document.getElementById(form.dataset.filters);
  const rows = [...table.tBodies[0].rows];
  const texts = rows.map((row) => " " + plain(row.textContent));
  const count = form.querySelector("output");
  const apply = () => {
    const asked = plain(form.querySelector("input[type=search]")?.value ?? "").split(/\s+/).filter(Boolean);
    const choices = [...form.querySelectorAll("select[data-row]")].filter((each) => each.value);
    let shown = 0;
    rows.forEach((row, number) => {
      const kept = asked.every((word) => texts[number].includes(word)) && choices.every((each) => row.dataset[each.dataset.row] === each.value);
      row.hidden = !kept;
      shown += kept;
    });
    const column = form.querySelector("select[data-column]")?.value;
    for (const cell of table.querySelectorAll("[data-c]")) cell.hidden = Boolean(column) && cell.dataset.c !== column;
    count.textContent = french ? `${shown} sur ${rows.length}` : `${shown} of ${rows.length}`;
  };
  form.addEventListener("input", apply);
  apply();
}
