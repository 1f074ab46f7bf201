// The explorer's page. Every text from a run reaches it as text (textContent, setAttribute), never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; a child that is no element becomes text. */
function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

// ---------------------------------------------------------------- what is chosen, kept in the address

const LISTS = ["model", "category", "check", "open"];
const DEFAULTS = { outcome: "any", sort: "", page: "1", y: "latency_s", a: "", b: "", two: "", show: "" };
let chosen = readAddress();
let number = 0; // of the reading that the row numbers belong to

function readAddress() {
  const address = new URLSearchParams(location.search);
  const found = {};
  for (const name of LISTS) found[name] = address.getAll(name);
  for (const [name, value] of Object.entries(DEFAULTS)) found[name] = address.get(name) || value;
  return found;
}

/** The chosen values as a query; `names` limits it to some of them. */
function query(names = [...LISTS, ...Object.keys(DEFAULTS)]) {
  const found = new URLSearchParams();
  for (const name of names) {
    if (LISTS.includes(name)) chosen[name].forEach((value) => found.append(name, value));
    else if (chosen[name] !== DEFAULTS[name]) found.append(name, chosen[name]);
  }
  return found;
}

const FILTERS = ["model", "category", "check", "outcome"];

/** Change what is chosen and note it in the address; a change of the filters is a step that Back undoes. */
function choose(changes, step = false) {
  Object.assign(chosen, changes);
  const address = query().toString();
  history[step ? "pushState" : "replaceState"](null, "", address ? `?${address}` : location.pathname);
}

function chooseResults(changes) {
  choose({ page: "1", open: [], ...changes }, true);
  showFilters();
  showResults();
}

/** Ask the server; a mistake becomes an Error with the server's own words. */
async function ask(path, parameters = new URLSearchParams()) {
  if (number && path !== "state" && path !== "read" && path !== "about") parameters.set("number", number);
  let answer;
  try {
    answer = await fetch(`/api/${path}?${parameters}`);
  } catch {
    throw new Error("The explorer has ended. Start it again: benchkit explore RUN");
  }
  const value = await answer.json();
  if (answer.status === 409) start();
  if (!answer.ok) throw new Error(value.error);
  return value;
}

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

/** Run something that asks the server; what goes wrong is said at the top of the page. */
async function attempt(work) {
  try {
    return await work();
  } catch (problem) {
    say(problem.message);
  }
}

// ---------------------------------------------------------------- the reading, the runs, the filters

async function start() {
  const state = await attempt(() => ask("state"));
  if (!state) return;
  const bar = byId("progress");
  bar.hidden = !state.reading;
  byId("read-again").disabled = state.reading;
  bar.firstElementChild.max = state.total || 1;
  bar.firstElementChild.value = state.done;
  bar.lastElementChild.textContent =
    state.done < state.total
      ? `reading ${state.done.toLocaleString("en")} of ${state.total.toLocaleString("en")} results`
      : "working out the tables";
  if (state.message && !state.reading) say(state.message);
  if (state.number && state.number !== number) await showRuns();
  if (state.reading) setTimeout(start, 400);
}

async function readAgain() {
  say("");
  await attempt(() => ask("read"));
  start();
}

async function showRuns() {
  const about = await attempt(() => ask("about"));
  if (!about) return;
  if (number) choose({ open: [], a: "", b: "", two: "", show: "" }); // rows have other numbers now
  number = about.number;
  byId("n-all").textContent = `${about.n.toLocaleString("en")} results`;
  byId("verdicts").replaceChildren(...about.runs.map((run) => verdict(run, about.runs.length > 1)));
  showProblems(about.problems);
  byId("terms").replaceChildren(
    ...about.terms.flatMap((term) => [make("dt", {}, term.name), make("dd", {}, term.formula)]),
  );
  const series = new Map(about.models.map((model, i) => [model.name, i]));
  facet("models", "model", about.models, (one) => mark(series.get(one.name)));
  facet("categories", "category", about.categories);
  facet("checks", "check", about.checks, undefined, (one) => `${one.n_failed} of ${one.n} ✗`);
  const measures = about.measures.map((one) => make("option", { value: one.column }, one.name));
  byId("measure").replaceChildren(...measures);
  byId("columns").hidden = false;
  showFilters();
  await showResults();
  showTray();
  if (chosen.two) showTwo();
  else if (chosen.show) showOne(chosen.show);
}

function verdict(run, several) {
  const { tone, sign, state, reasons, notes } = run.verdict;
  const rest = [
    ...reasons,
    ...(run.growing ? ["it is still being measured: “Read again” shows what came since"] : []),
  ];
  const more = notes.length ? ` · ${notes.length} ${notes.length === 1 ? "note" : "notes"}` : "";
  return make(
    "details",
    { class: `verdict ${tone}`, open: rest.length > 0 },
    make(
      "summary",
      {},
      make("span", { class: `state ${tone}` }, `${sign} ${state}`),
      several ? make("strong", {}, `${run.run} `) : "",
      make("span", { class: "soft small" }, `${run.n.toLocaleString("en")} results in ${run.folder}${more}`),
    ),
    rest.length ? make("ul", {}, ...rest.map((text) => make("li", {}, text))) : "",
    notes.length ? make("ul", { class: "small" }, ...notes.map((text) => make("li", {}, text))) : "",
    rest.length + notes.length ? "" : make("p", { class: "small" }, "Nothing speaks against these numbers."),
  );
}

function showProblems(problems) {
  const box = byId("problems");
  box.hidden = problems.n === 0;
  const are = problems.n === 1 ? "artifact cannot be read and is" : "artifacts cannot be read and are";
  box.firstElementChild.textContent = `${problems.n.toLocaleString("en")} ${are} left out`;
  const left = problems.n - problems.listed.length;
  const rest = left ? [`… and ${left.toLocaleString("en")} more`] : [];
  box.lastElementChild.replaceChildren(...[...problems.listed, ...rest].map((text) => make("li", {}, text)));
}

/** One group of filters: a box to tick for each name, with how many results have it. */
function facet(id, name, choices, before = () => "", count = (one) => one.n.toLocaleString("en")) {
  const box = byId(id);
  const rows = choices.map((one) =>
    make(
      "label",
      {},
      make("input", { type: "checkbox", name, value: one.name }),
      before(one),
      make("span", {}, one.name),
      make("span", { class: "soft" }, count(one)),
    ),
  );
  box.replaceChildren(
    box.firstElementChild,
    make("div", { class: choices.length > 12 ? "many" : "" }, ...rows),
  );
  box.hidden = choices.length === 0;
}

function showFilters() {
  for (const input of byId("filters").querySelectorAll("input[type=checkbox]")) {
    input.checked = chosen[input.name].includes(input.value);
  }
  for (const input of byId("filters").querySelectorAll("input[type=radio]"))
    input.checked = input.value === chosen.outcome;
  const n = chosen.model.length + chosen.category.length + chosen.check.length + (chosen.outcome !== "any");
  byId("n-chosen").textContent = n ? `(${n} chosen)` : "";
  byId("clear").disabled = n === 0;
  byId("measure").value = chosen.y;
}

function filtersChanged() {
  const form = new FormData(byId("filters"));
  chooseResults({
    model: form.getAll("model"),
    category: form.getAll("category"),
    check: form.getAll("check"),
    outcome: form.get("outcome"),
  });
}

// ---------------------------------------------------------------- summary, charts and table follow

let latest = 0;

async function showResults() {
  const turn = ++latest;
  const current = () => turn === latest;
  say("");
  await Promise.all(
    [showTable(current), showSummary(current), showPoints(current)].map((shown) => attempt(() => shown)),
  );
}

async function showSummary(current) {
  byId("summary").classList.add("busy");
  const found = await ask("summary", query(FILTERS));
  if (!current()) return;
  const heads = found.heads.map((head) =>
    make("th", { scope: "col" }, head.name, head.unit ? make("span", { class: "range" }, head.unit) : ""),
  );
  const rows = found.rows.map((row) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, mark(row.series), row.model),
      ...row.cells.map((cell, i) => {
        const name = [found.heads[i].name, found.heads[i].unit].filter(Boolean).join(", ");
        const range = cell.range ? make("span", { class: "range" }, cell.range) : "";
        return make("td", { "data-name": name }, cell.value, range);
      }),
    ),
  );
  byId("summary").tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, "model"), ...heads));
  byId("summary").tBodies[0].replaceChildren(...rows);
  byId("summary").classList.toggle("busy", found.working > 0);
  byId("summary-note").textContent = found.working
    ? `Working out ${found.working} more …`
    : (found.rows.length ? "With each value its 95 % interval over prompts. " : "No result is left. ") +
      (chosen.outcome !== "any"
        ? `These are only the results that ${chosen.outcome}: they tell nothing about how often that happens.`
        : "");
  showTradeoff(found.tradeoff);
  if (found.working) setTimeout(() => current() && attempt(() => showSummary(current)), 400);
}

const COLUMNS = [
  ["prompt", "prompt", "w-prompt"],
  ["model", "model", "w-model"],
  ["category", "category", "w-category"],
  ["trial", "trial", "w-trial number"],
  ["correct", "checks", "w-said"],
  ["latency_s", "latency (s)", "w-num number"],
  ["ttft_ms", "TTFT (ms)", "w-num number"],
  ["decode_tokens_per_s", "decode (tok/s)", "w-num number"],
  ["n_output_tokens", "tokens", "w-num number"],
];

async function showTable(current) {
  byId("table").classList.add("busy");
  const found = await ask("results", query([...FILTERS, "sort", "page"]));
  if (!current()) return;
  byId("table").classList.remove("busy");
  byId("results-title").textContent =
    `${found.n.toLocaleString("en")} ${found.n === 1 ? "result" : "results"}`;
  showHead();
  const nothing = make(
    "tr",
    {},
    make("td", { colspan: COLUMNS.length + 1 }, "No result is left. Tick less, or “Show all”."),
  );
  byId("table").tBodies[0].replaceChildren(...(found.rows.length ? found.rows.map(line) : [nothing]));
  byId("page").textContent = `page ${found.page} of ${found.n_pages}`;
  byId("before").disabled = found.page <= 1;
  byId("next").disabled = found.page >= found.n_pages;
  choose({ page: String(found.page) });
  byId("results").querySelector(".pager").hidden = found.n_pages < 2;
  const which = query([...FILTERS, "sort"]);
  which.set("number", number);
  byId("csv").href = `/download.csv?${which}`;
  byId("excel").href = `/download.xlsx?${which}`;
  byId("excel").hidden = !found.excel;
  byId("no-excel").hidden = found.excel;
  for (const row of chosen.open) {
    const opener = byId(`open-${row}`);
    if (opener) await toggle(opener, Number(row));
  }
}

function showHead() {
  const direction = chosen.sort.startsWith("-") ? "descending" : "ascending";
  const sorted = chosen.sort.replace(/^-/, "");
  const heads = COLUMNS.map(([key, name, css]) =>
    make(
      "th",
      { scope: "col", class: css, "aria-sort": key === sorted ? direction : false },
      make(
        "button",
        { type: "button", id: `sort-${key}`, click: () => sortBy(key) },
        name,
        key === sorted ? (direction === "ascending" ? " ▲" : " ▼") : "",
      ),
    ),
  );
  const last = make("th", { scope: "col", class: "plain pick" }, make("span", {}, "compare"));
  const widths = make(
    "colgroup",
    {},
    ...COLUMNS.map(([, , css]) => make("col", { class: css.split(" ")[0] })),
    make("col", { class: "w-pick" }),
  );
  const table = byId("table");
  table.querySelector("colgroup")?.remove();
  table.prepend(widths);
  table.tHead.replaceChildren(make("tr", {}, ...heads, last));
}

function sortBy(key) {
  const sort = chosen.sort === key ? `-${key}` : chosen.sort === `-${key}` ? "" : key;
  choose({ sort, page: "1", open: [] });
  attempt(async () => {
    await showTable(() => true);
    byId(`sort-${key}`).focus();
  });
}

function line(row) {
  const opener = make(
    "button",
    {
      type: "button",
      class: "opener",
      id: `open-${row.row}`,
      "aria-expanded": "false",
      title: row.prompt,
      click: (event) => attempt(() => toggle(event.currentTarget, row.row)),
    },
    row.prompt,
  );
  const kind = row.kind ? ` (${row.kind})` : "";
  return make(
    "tr",
    { class: "line" },
    make("td", { class: "wide" }, opener, make("span", { class: "gist", title: row.gist }, row.gist)),
    make("td", { class: "wide", title: row.model }, mark(row.series), row.model),
    make("td", { "data-name": "category", title: row.category + kind }, row.category + kind),
    make("td", { "data-name": "trial", class: "number" }, row.trial),
    make("td", { class: row.tone }, row.said),
    make("td", { "data-name": "latency (s)", class: "number" }, row.latency_s),
    make("td", { "data-name": "TTFT (ms)", class: "number" }, row.ttft_ms),
    make("td", { "data-name": "decode (tok/s)", class: "number" }, row.decode_tokens_per_s),
    make("td", { "data-name": "tokens", class: "number" }, row.n_output_tokens),
    make("td", { class: "pick wide" }, picker(row)),
  );
}

async function toggle(opener, row) {
  const tr = opener.closest("tr");
  const open = opener.getAttribute("aria-expanded") === "true";
  opener.setAttribute("aria-expanded", String(!open));
  choose({ open: [...chosen.open.filter((one) => one !== String(row)), ...(open ? [] : [String(row)])] });
  if (open) return tr.nextElementSibling.remove();
  const cell = make("td", { class: "whole", colspan: COLUMNS.length + 1 }, "…");
  tr.after(make("tr", { class: "more" }, cell));
  const found = await ask("reply", new URLSearchParams({ row }));
  cell.replaceChildren(whole(found), file(found));
}

// ---------------------------------------------------------------- one result, and two

/** A whole reply with its prompt, its checks and their reasons, and its numbers. */
function whole(found) {
  return make(
    "div",
    { class: "reply" },
    make(
      "div",
      { class: "side" },
      make("h3", {}, "Reply"),
      text(found.text, "no text"),
      note(found.error, "bad"),
      note(found.cut, "unsure"),
      make("h3", {}, "Prompt"),
      text(found.asked, "no text"),
      make("h3", {}, "Numbers and settings"),
      facts(found.facts),
    ),
    make(
      "div",
      { class: "side" },
      make("h3", {}, "Checks"),
      checks(found),
      ...(found.others.length
        ? [
            make("h3", {}, "Compare with, on the same prompt"),
            make(
              "div",
              { class: "chips" },
              ...found.others.map((other) =>
                make(
                  "button",
                  { type: "button", click: () => compare(found.row, other.row) },
                  mark(other.series),
                  `${other.model} `,
                  make("span", { class: other.tone }, other.said),
                ),
              ),
            ),
          ]
        : []),
    ),
  );
}

function text(content, otherwise) {
  return content ? make("pre", { tabindex: "0" }, content) : make("p", { class: "soft" }, `(${otherwise})`);
}

function note(content, css) {
  return content ? make("p", { class: `${css} small` }, content) : "";
}

function checks(found) {
  if (!found.checks.length) return make("p", { class: "soft" }, "None was run.");
  return make(
    "ul",
    {},
    ...found.checks.map((check) =>
      make(
        "li",
        {},
        make("span", { class: check.tone }, check.sign),
        ` ${check.name}`,
        check.reason ? make("span", { class: "soft" }, ` – ${check.reason}`) : "",
      ),
    ),
  );
}

function facts(pairs) {
  return make(
    "dl",
    { class: "facts" },
    ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
}

function file(found) {
  return make(
    "p",
    { class: "path" },
    "Artifact: ",
    make("code", {}, found.artifact),
    " ",
    make("button", { type: "button", click: () => showOne(found.row) }, "Show the artifact"),
  );
}

function openWindow(title, ...content) {
  byId("window-title").textContent = title;
  byId("window-body").replaceChildren(...content);
  if (!byId("window").open) byId("window").showModal();
  byId("window").scrollTop = 0;
  byId("window-title").focus();
}

/** Where a result came from: the reply, and below it the artifact as it is on the disk. */
function showOne(row) {
  return attempt(async () => {
    const found = await ask("reply", new URLSearchParams({ row }));
    choose({ show: String(row), two: "" });
    const kept = make("div", {}, "…");
    openWindow(
      `${found.model} · ${found.prompt} · trial ${found.trial}`,
      whole(found),
      make("h3", {}, "Artifact"),
      make("p", { class: "path" }, make("code", {}, found.artifact)),
      kept,
    );
    try {
      const artifact = await ask("artifact", new URLSearchParams({ row }));
      kept.replaceChildren(text(artifact.text, "empty"), note(artifact.cut, "unsure"));
    } catch (problem) {
      kept.replaceChildren(note(problem.message, "bad"));
    }
  });
}

function compare(a, b) {
  choose({ a: String(a), b: String(b) });
  showTray();
  showTwo();
}

function showTwo() {
  return attempt(async () => {
    const found = await ask("two", new URLSearchParams({ a: chosen.a, b: chosen.b }));
    choose({ two: "1", show: "" });
    const side = (one, name, tag) =>
      make(
        "div",
        { class: "side" },
        make("h3", {}, `${name}: `, mark(one.series), one.model),
        make(
          "p",
          { class: "soft small" },
          `${one.prompt} · trial ${one.trial} · ${one.latency_s} s · ${one.n_output_tokens} tokens`,
        ),
        make("p", { class: one.tone }, one.said),
        checks(one),
        make(
          "pre",
          { tabindex: "0" },
          ...found.parts[name.toLowerCase()].map(([kind, words]) =>
            kind === "same" ? words : make(tag, {}, words),
          ),
        ),
        note(one.cut, "unsure"),
        file(one),
      );
    openWindow(
      "Two replies side by side",
      make("p", {}, found.note),
      found.same
        ? ""
        : make(
            "p",
            { class: "small" },
            "Only in A: ",
            make("del", {}, "words"),
            "; only in B: ",
            make("ins", {}, "words"),
            ".",
          ),
      make("div", { class: "two" }, side(found.a, "A", "del"), side(found.b, "B", "ins")),
      make("h3", {}, found.a.asked === found.b.asked ? "Prompt" : "Prompt of A"),
      text(found.a.asked, "no text"),
      ...(found.a.asked === found.b.asked
        ? []
        : [make("h3", {}, "Prompt of B"), text(found.b.asked, "no text")]),
    );
  });
}

function windowClosed() {
  choose({ show: "", two: "" });
  byId("window-body").replaceChildren();
}

/** The button that puts a result into the tray, and takes it out again. */
function picker(row) {
  const picked = [chosen.a, chosen.b].includes(String(row.row));
  return make(
    "button",
    {
      type: "button",
      class: "picker",
      "data-row": row.row,
      "aria-pressed": String(picked),
      "aria-label": `compare ${row.model}, ${row.prompt}, trial ${row.trial}`,
      click: () => pick(String(row.row)),
    },
    "compare",
  );
}

function pick(row) {
  const picked = [chosen.a, chosen.b].filter(Boolean);
  const [a = "", b = ""] = picked.includes(row)
    ? picked.filter((one) => one !== row)
    : [...picked, row].slice(-2);
  choose({ a, b });
  showTray();
  if (a && b) byId("tray-show").focus();
}

function showTray() {
  const n = [chosen.a, chosen.b].filter(Boolean).length;
  byId("tray").hidden = n === 0;
  byId("tray-text").textContent =
    n === 2 ? "Two replies are picked." : "One reply is picked: pick another to compare it with.";
  byId("tray-show").disabled = n < 2;
  for (const button of document.querySelectorAll(".picker")) {
    button.setAttribute("aria-pressed", String([chosen.a, chosen.b].includes(button.dataset.row)));
  }
}

// ---------------------------------------------------------------- charts

const SHAPES = [
  "M5,0A5,5,0,1,1,-5,0A5,5,0,1,1,5,0Z",
  "M-4.5,-4.5H4.5V4.5H-4.5Z",
  "M0,-5.5L5.4,4.5H-5.4Z",
  "M0,-6L6,0L0,6L-6,0Z",
  "M0,5.5L5.4,-4.5H-5.4Z",
  "M-2,-5.5H2V-2H5.5V2H2V5.5H-2V2H-5.5V-2H-2Z",
  "M-5.5,-3H5.5L3,5.5H-3Z",
  "M-5.5,3H5.5L3,-5.5H-3Z",
  "M-5.5,0L-2.5,-5H2.5L5.5,0L2.5,5H-2.5Z",
  "M0,-6L1.8,-2L6,-1.8L2.8,1.2L3.8,5.6L0,3.2L-3.8,5.6L-2.8,1.2L-6,-1.8L-1.8,-2Z",
  "M-5.4,0L4.5,-5.5V5.5Z",
];
const shape = (series) => SHAPES[series % SHAPES.length];
const colour = (series) => `s${series % 8}`;

function mark(series) {
  return draw(
    "svg",
    { class: `mark ${colour(series)}`, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
    draw("path", { d: shape(series) }),
  );
}

/** From values to pixels: logarithmic where they span more than a factor of 20. */
function scale(values, from, to) {
  const low = Math.min(...values),
    high = Math.max(...values);
  const log = low > 0 && high / low > 20;
  const step = niceStep(high / 4 || 1);
  const ends = log ? [low / 1.3, high * 1.3] : [0, Math.max(step, Math.ceil(high / step) * step)];
  const at = log ? Math.log : (value) => value;
  const place = (value) => from + ((at(value) - at(ends[0])) / (at(ends[1]) - at(ends[0]))) * (to - from);
  return { log, place, ticks: log ? logTicks(...ends) : linearTicks(ends[1], step) };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
}

function linearTicks(end, step) {
  return Array.from({ length: Math.round(end / step) + 1 }, (_, i) => i * step);
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const factors = decades > 3 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    found.push(
      ...factors.map((factor) => factor * 10 ** power).filter((value) => value >= low && value <= high),
    );
  }
  return found;
}

const shown = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
const HEIGHT = 296,
  LEFT = 50,
  RIGHT = 14,
  TOP = 28,
  BOTTOM = 44;

function canvas(box) {
  const width = Math.max(260, box.clientWidth);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "presentation" });
  box.replaceChildren(svg);
  return { svg, width };
}

function label(content, x, y, anchor = "middle", css = "") {
  return draw("text", { x, y, "text-anchor": anchor, class: css }, content);
}

function empty(box) {
  const { svg, width } = canvas(box);
  svg.append(label("nothing to draw", width / 2, HEIGHT / 2, "middle", "empty"));
}

function axes(svg, width, x, y, names) {
  for (const tick of y.ticks) {
    svg.append(
      draw("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y.place(tick), y2: y.place(tick) }),
      label(shown(tick), LEFT - 7, y.place(tick) + 4, "end"),
    );
  }
  for (const tick of x ? x.ticks : []) {
    svg.append(
      draw("line", { class: "grid", y1: TOP, y2: HEIGHT - BOTTOM, x1: x.place(tick), x2: x.place(tick) }),
      label(shown(tick), x.place(tick), HEIGHT - BOTTOM + 17),
    );
  }
  svg.append(
    label(names[1] + (y.log ? ", logarithmic" : ""), 8, 17, "start"),
    label(names[0] + (x?.log ? ", logarithmic" : ""), (LEFT + width - RIGHT) / 2, HEIGHT - 8),
  );
}

/** Points are one stop for the Tab key: arrow keys go from one to the next, Enter and a click open it. */
function reachable(box, found) {
  found.forEach(({ element, told, open }, i) => {
    fill(
      element,
      {
        tabindex: i ? "-1" : "0",
        role: "button",
        "aria-label": told,
        click: open,
        mouseenter: () => tip(element, told),
        mouseleave: () => tip(),
        focus: () => tip(element, told),
        blur: () => tip(),
      },
      [],
    );
  });
  const byValue = [...found].sort((one, other) => one.value - other.value);
  const STEPS = {
    ArrowRight: [found, 1],
    ArrowLeft: [found, -1],
    ArrowUp: [byValue, 1],
    ArrowDown: [byValue, -1],
  };
  box.onkeydown = (event) => {
    const i = found.findIndex((one) => one.element === document.activeElement);
    if (i < 0) return;
    if (event.key === "Enter" || event.key === " ") found[i].open();
    else if (event.key in STEPS) {
      const [order, step] = STEPS[event.key];
      const next = order[order.indexOf(found[i]) + step] || found[i];
      found[i].element.setAttribute("tabindex", "-1");
      next.element.setAttribute("tabindex", "0");
      next.element.focus();
    } else return;
    event.preventDefault();
  };
}

function tip(element, told) {
  document.querySelector(".tip")?.remove();
  if (!element) return;
  const box = make("div", { class: "tip", "aria-hidden": "true" }, told);
  document.body.append(box);
  const at = element.getBoundingClientRect();
  box.style.left = `${scrollX + Math.max(4, Math.min(at.left, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${scrollY + at.top - box.offsetHeight - 6}px`;
}

const redraw = { tradeoff: () => {}, points: () => {} };

/** Draw a chart anew; if the focus was in it, it stays there. */
function inPlace(box, found, draws) {
  const focused = box.contains(document.activeElement);
  tip();
  if (found.points.length) draws(box, found);
  else empty(box);
  if (focused) box.querySelector("[tabindex='0']")?.focus({ preventScroll: true });
}

function showTradeoff(found) {
  byId("tradeoff-told").textContent = found.told;
  redraw.tradeoff = () => inPlace(byId("tradeoff"), found, drawTradeoff);
  redraw.tradeoff();
}

function drawTradeoff(box, found) {
  const { svg, width } = canvas(box);
  const ends = (axis) => found.points.flatMap((point) => point[axis].filter((value) => value !== null));
  const x = scale(ends("x"), LEFT, width - RIGHT - 8);
  const y = scale([0, 100], HEIGHT - BOTTOM, TOP + 8);
  axes(svg, width, x, y, [found.x, found.y]);
  const points = found.points.map((point) => {
    const [px, py] = [x.place(point.x[0]), y.place(point.y[0])];
    const span = (x1, x2, y1, y2) => draw("line", { class: `span ${colour(point.series)}`, x1, x2, y1, y2 });
    if (point.x[1] !== null) svg.append(span(x.place(point.x[1]), x.place(point.x[2]), py, py));
    if (point.y[1] !== null) svg.append(span(px, px, y.place(point.y[1]), y.place(point.y[2])));
    const element = draw("path", {
      class: `point ${colour(point.series)}`,
      d: shape(point.series),
      transform: `translate(${px},${py}) scale(1.25)`,
    });
    return {
      ...point,
      px,
      py,
      element,
      value: point.y[0],
      told: `show only ${point.model}`,
      open: () => chooseResults({ model: [point.model] }),
    };
  });
  svg.append(...points.map((point) => point.element));
  nameThem(svg, points, width);
  reachable(box, points);
}

/** Each point's name beside it, where it covers no other name or point. */
function nameThem(svg, points, width) {
  const taken = points.map((point) => ({
    left: point.px - 8,
    right: point.px + 8,
    top: point.py - 8,
    bottom: point.py + 8,
  }));
  for (const point of points) {
    const name = point.model.length > 34 ? `${point.model.slice(0, 33)}…` : point.model;
    const wide = 6.7 * name.length;
    const places = [
      [10, -8],
      [10, 16],
      [-10 - wide, -8],
      [-10 - wide, 16],
      [10, -24],
      [-10 - wide, -24],
      [10, 32],
      [-10 - wide, 32],
      [10, -40],
      [-10 - wide, -40],
    ];
    const boxes = places.map(([dx, dy]) => ({
      left: point.px + dx,
      right: point.px + dx + wide,
      top: point.py + dy - 11,
      bottom: point.py + dy + 3,
    }));
    const free = (one) =>
      one.left > LEFT &&
      one.right < width &&
      one.top > TOP - 12 &&
      one.bottom < HEIGHT - BOTTOM &&
      taken.every(
        (other) =>
          one.right < other.left ||
          one.left > other.right ||
          one.bottom < other.top ||
          one.top > other.bottom,
      );
    const found = boxes.find(free) || {
      left: Math.max(LEFT, Math.min(boxes[0].left, width - wide)),
      bottom: boxes[0].bottom,
    };
    taken.push(found);
    svg.append(label(name, found.left, found.bottom - 3, "start", "name"));
  }
}

async function showPoints(current) {
  const found = await ask("points", new URLSearchParams([...query(FILTERS), ["y", chosen.y]]));
  if (!current()) return;
  byId("points-told").textContent = found.told;
  redraw.points = () => inPlace(byId("points"), found, drawPoints);
  redraw.points();
}

function drawPoints(box, found) {
  const { svg, width } = canvas(box);
  const y = scale(
    found.points.map((point) => point.value),
    HEIGHT - BOTTOM,
    TOP,
  );
  const at = (place) => LEFT + 6 + ((place + 0.5) / found.n_prompts) * (width - RIGHT - LEFT - 6);
  bands(svg, found, (place) => at(place - 0.5));
  axes(svg, width, null, y, [
    (found.n_prompts === 1 ? "1 prompt" : `${found.n_prompts.toLocaleString("en")} prompts`) +
      (found.bands.length > 1 ? ", by category" : ""),
    found.y,
  ]);
  const sorted = [...found.points].sort((one, other) => one.place - other.place || one.value - other.value);
  const n_series = 1 + Math.max(...sorted.map((point) => point.series));
  const room = Math.min(0.7, (9 * n_series) / ((width - LEFT) / found.n_prompts));
  const points = sorted.map((point) => {
    const beside = n_series > 1 ? room * (point.series / (n_series - 1) - 0.5) : 0;
    const [px, py] = [at(point.place + beside).toFixed(1), y.place(point.value).toFixed(1)];
    const element = draw("path", {
      class: `point many ${colour(point.series)}${point.wrong ? " wrong" : ""}`,
      d: shape(point.series),
      transform: `translate(${px},${py}) scale(0.72)`,
    });
    return { element, value: point.value, told: point.label, open: () => showOne(point.row) };
  });
  svg.append(...points.map((point) => point.element));
  reachable(box, points);
}

function bands(svg, found, edge) {
  const bands = found.bands.length > 1 ? found.bands : []; // of one category everything is
  bands.forEach((band, i) => {
    const [left, right] = [edge(band.from), edge(band.to)];
    if (i % 2 === 0)
      svg.append(
        draw("rect", { class: "band", x: left, width: right - left, y: TOP, height: HEIGHT - BOTTOM - TOP }),
      );
    const room = Math.floor((right - left) / 7);
    const name = band.name.length > room ? `${band.name.slice(0, Math.max(0, room - 1))}…` : band.name;
    if (room > 4)
      svg.append(
        fill(label(name, (left + right) / 2, HEIGHT - BOTTOM + 17), {}, [draw("title", {}, band.name)]),
      );
  });
}

// ---------------------------------------------------------------- what the user does

byId("filters").addEventListener("change", filtersChanged);
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("reset", (event) => {
  event.preventDefault();
  chooseResults({ model: [], category: [], check: [], outcome: "any" });
});
byId("measure").addEventListener("change", (event) => {
  choose({ y: event.target.value });
  attempt(() => showPoints(() => true));
});
for (const [id, step] of [
  ["before", -1],
  ["next", 1],
]) {
  byId(id).addEventListener("click", () => {
    choose({ page: String(Number(chosen.page) + step), open: [] });
    attempt(() => showTable(() => true));
    byId("results").focus();
  });
}
byId("read-again").addEventListener("click", readAgain);
byId("tray-show").addEventListener("click", showTwo);
byId("tray-clear").addEventListener("click", () => (choose({ a: "", b: "" }), showTray()));
byId("window-close").addEventListener("click", () => byId("window").close());
byId("window").addEventListener("close", windowClosed);
addEventListener("popstate", () => {
  chosen = readAddress();
  showFilters();
  showResults();
  showTray();
});
let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => Object.values(redraw).forEach((again) => again()), 150);
});
if (matchMedia("(max-width: 60rem)").matches) byId("filters").querySelector("details").open = false;
start();
