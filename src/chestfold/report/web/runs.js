// The table of runs: search, order, columns by profile, the forest of intervals, and the choice of A and B.
const COLUMNS = {
  radiographer: ["recall", "specificity", "accuracy", "ece", "brier", "log_loss"],
  competitor: ["corrupted", "public", "private", "test_auc", "gain", "p_false", "minutes"],
};
const SMALL_FIRST = ["ece", "brier", "log_loss", "p_false", "minutes", "name", "what"];
const FIRST_ROWS = 50;
const FOREST = 190; // pixels
const ALIASES = { sensitivity: "recall", shifted: "corrupted", p: "p_false" };
const HOLDS = {
  ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "!=": (a, b) => a !== b,
  "=": (a, b) => a === b, ">": (a, b) => a > b, "<": (a, b) => a < b,
};

/** A figure of a run as [value, low, high] or [value]; null where there is none. */
function figureOf(run, key) {
  const singles = { ...run.leaderboard, minutes: run.minutes, p_false: run.p_false };
  const figure = key === "gain" ? run.gain : run.scores[key] ?? [singles[key]];
  return figure?.[0] == null ? null : figure;
}

/** The key of the figure by which runs are ranked. */
function mainKey() {
  return app.table.metric.key === "auc" ? "auc" : "competition";
}

function columnTitle(key) {
  return key === "competition" ? app.table.metric.title : t(key);
}

/** The columns of figures that any run has. */
function columns() {
  const keys = mainKey() === "auc" ? COLUMNS[app.state.profile] : ["auc", ...COLUMNS[app.state.profile]];
  return keys.filter((key) => app.table.runs.some((run) => figureOf(run, key)));
}

// Search

/** The tests that a search asks a run to pass, and what is wrong with the search. Typed in Japanese it is the same. */
function readSearch(text) {
  const plain = text.normalize("NFKC").replace(/≥|≧/g, ">=").replace(/≤|≦/g, "<=");
  const parts = plain.replace(/\s*(>=|<=|!=|=|>|<)\s*/g, "$1").toLowerCase().split(/\s+/).filter(Boolean);
  const [tests, faults] = [[], []];
  for (const part of parts) {
    const condition = part.match(/^(.+?)(>=|<=|!=|=|>|<)(.*)$/);
    if (!condition) tests.push((run) => searchText(run).includes(part));
    else readCondition(part, ...condition.slice(1), tests, faults);
  }
  return { tests, faults };
}

function searchText(run) {
  return [run.name, run.kind, run.what, ...Object.values(run.settings)].join(" ").toLowerCase();
}

function readCondition(part, name, sign, text, tests, faults) {
  const key = ALIASES[name] ?? name;
  const wanted = text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  const known = key in app.data.defaults || app.table.runs.some((run) => key in run.settings || figureOf(run, key));
  if (!known) faults.push(t("unknown_key", name));
  else if (typeof wanted === "string" && /[<>]/.test(sign)) faults.push(t("no_number", part, sign));
  else if (wanted === "") faults.push(t("no_value", part, sign));
  else tests.push((run) => holds(run, key, sign, wanted));
}

function holds(run, key, sign, wanted) {
  const value = figureOf(run, key)?.[0] ?? settingOf(run, key);
  if (value == null) return false;
  return HOLDS[sign](typeof wanted === "number" ? Number(value) : String(value).toLowerCase(), wanted);
}

/** A setting of an experiment; null where the run has none. */
function settingOf(run, key) {
  return run.kind === "experiment" ? run.settings[key] ?? app.data.defaults[key] : null;
}

function settingText(value) {
  return value == null || value === "" ? "-" : String(value);
}

// Order

/** The key that the table is sorted by, and whether the largest comes first. */
function order() {
  const { sort } = app.state;
  if (!sort) return { key: mainKey(), down: mainKey() === "auc" || app.table.metric.higher_is_better };
  return { key: sort.replace(/^-/, ""), down: sort.startsWith("-") };
}

/** Runs in order; those without a figure last, equal ones as they were. */
function sorted(runs) {
  const { key, down } = order();
  const value = (run) => (key === "name" || key === "what" ? run[key] : figureOf(run, key)?.[0]);
  const known = runs.filter((run) => value(run) !== undefined);
  known.sort((a, b) => (down ? d3.descending : d3.ascending)(value(a), value(b)));
  return [...known, ...runs.filter((run) => value(run) === undefined)];
}

function turn(key) {
  const now = order();
  const down = now.key === key ? !now.down : !SMALL_FIRST.includes(key);
  app.set({ sort: down ? `-${key}` : key });
}

// The table

/** The axis that all intervals share; what lies far below or above the others is left outside. */
function forestScale(runs) {
  const scores = runs.map((run) => figureOf(run, mainKey())).filter(Boolean);
  const quartiles = [0.25, 0.75].map((part) => d3.quantile(scores, part, ([value]) => value));
  const reach = 1.5 * (quartiles[1] - quartiles[0]) || Infinity;
  const inside = scores.filter(([value]) => value >= quartiles[0] - reach && value <= quartiles[1] + reach);
  const domain = [d3.min(inside, ([value, low]) => low ?? value), d3.max(inside, ([value, , high]) => high ?? value)];
  return d3.scaleLinear(domain, [8, FOREST - 8]).clamp(true);
}

function forestSvg(colour, ...children) {
  const attributes = { class: "forest", width: FOREST, height: 20, "aria-hidden": "true", style: `color: ${colour}` };
  return el("svg", attributes, ...children);
}

function forestAxis(scale) {
  const tick = (value) => el("g", { transform: `translate(${scale(value)}, 0)` },
    el("line", { y1: 14, y2: 20, stroke: "currentColor" }),
    el("text", { y: 10, "text-anchor": "middle" }, String(value)));
  return forestSvg("var(--soft)", scale.ticks(4).map(tick));
}

/** The interval of a run on the common axis; an arrow where it lies outside. */
function forestRow(scale, [value, low, high], colour) {
  const [start, end] = scale.domain();
  const ends = { x1: scale(low ?? value), x2: scale(high ?? value), y1: 10, y2: 10 };
  const arrow = value < start ? "M1,10l8,-5v10z" : `M${FOREST - 1},10l-8,-5v10z`;
  const isInside = value >= start && value <= end;
  const point = isInside ? el("circle", { cx: scale(value), cy: 10, r: 4.5 }) : el("path", { d: arrow });
  return forestSvg(colour, el("line", { ...ends, class: "whisker" }), point);
}

function figureText(value, key) {
  if (key === "minutes") return value.toFixed(value < 10 ? 1 : 0);
  if (key === "p_false") return value < 0.001 ? "< 0.001" : value.toFixed(3);
  return d3.format(key === "gain" ? "+.4f" : ".4f")(value);
}

function figureCell(run, key) {
  const figure = figureOf(run, key);
  if (!figure) return el("td", {}, "-");
  const [value, low, high] = figure;
  const between = key === "gain" ? ", " : "–"; // a dash beside a minus would be read as one
  const interval = low != null && `${figureText(low, key)}${between}${figureText(high, key)}`;
  return el("td", {}, figureText(value, key), interval && el("small", {}, interval));
}

function headCell(key, text) {
  const now = order();
  const sort = now.key !== key ? "none" : now.down ? "descending" : "ascending";
  const sign = { none: "", descending: " ▼", ascending: " ▲" }[sort];
  const button = el("button", { id: `sort-${key}`, type: "button", onclick: () => turn(key) }, text,
    el("span", { "aria-hidden": "true" }, sign));
  return el("th", { scope: "col", "aria-sort": sort, class: ["name", "what"].includes(key) && "text" }, button);
}

/** A remark by its kind; one of a kind without words as it is given. */
function markText({ kind, text, value }) {
  const key = `mark_${kind}`;
  return TEXT[key] ? t(key, value) : text;
}

function nameCell(run) {
  const { state } = app;
  const isOpen = state.open === run.name;
  const attributes = { id: `open-${run.name}`, type: "button", "aria-expanded": String(isOpen) };
  const button = el("button", { ...attributes, onclick: () => app.set({ open: isOpen ? "" : run.name }) }, run.name);
  const marks = run.marks.map((mark) => el("small", { class: "mark" }, markText(mark)));
  const own = run.own && el("span", { class: "badge" }, t("own"));
  return el("th", { scope: "row", class: "text" }, button, own, marks);
}

function choiceCell(run) {
  const { chosen } = app;
  const isChosen = chosen.includes(run);
  const box = el("input", { type: "checkbox", id: `choose-${run.name}`, "aria-label": t("choose", run.name),
    disabled: !isChosen && chosen.length >= LETTERS.length, onchange: () => choose(run) });
  box.checked = isChosen;
  return el("td", { class: "choose" }, box, app.letterOf(run));
}

/** Choose a run, or give its place up. */
function choose(run) {
  const names = app.chosen.map(({ name }) => name);
  const now = names.includes(run.name) ? names.filter((name) => name !== run.name) : [...names, run.name];
  app.set({ a: now[0] ?? "", b: now[1] ?? "", more: now.slice(2).join(",") });
}

function runRow(run, scale, keys) {
  const main = figureOf(run, mainKey());
  const isChosen = app.chosen.includes(run);
  const interval = main && forestRow(scale, main, isChosen ? app.colour(run) : "var(--accent)");
  return el("tr", { class: isChosen && "chosen" }, choiceCell(run), nameCell(run), figureCell(run, mainKey()),
    el("td", { class: "text" }, interval), keys.map((key) => figureCell(run, key)),
    el("td", { class: "text what" }, run.what));
}

/** What else is known of a run, in a row below it. */
function detailRow(run, width) {
  const { what, date, machine, command, commit, parent } = run;
  const facts = { what, date, machine, command, commit, parent };
  facts.members = run.members?.join(", ");
  facts.settings = Object.entries(run.settings).map(([key, value]) => `${key} ${settingText(value)}`).join(", ");
  facts.fold_scores = run.fold_scores.map((score) => score.toFixed(4)).join(", ");
  facts.confusion = run.confusion.length ? confusionTable(run.confusion) : "";
  const known = Object.entries(facts).filter(([, value]) => value);
  const list = known.map(([key, value]) => [el("dt", {}, t(key)), el("dd", {}, value)]);
  return el("tr", { class: "details" }, el("td", { class: "text", colspan: width }, el("dl", {}, list.flat())));
}

function confusionTable(counts) {
  const { classes } = app.table;
  const head = el("tr", {}, el("td"), classes.map((name) => el("th", { scope: "col" }, t("predicted", name))));
  const cell = (count, isRight) => el("td", { class: isRight && "right" }, app.number(count));
  const row = (of, truth) => el("tr", {}, el("th", { scope: "row" }, t("truly", classes[truth])),
    of.map((count, called) => cell(count, called === truth)));
  return el("table", { class: "confusion" }, head, counts.map(row));
}

function runsTable(runs) {
  const keys = columns();
  const scale = forestScale(runs);
  const head = el("tr", {}, el("td"), headCell("name", t("run")), headCell(mainKey(), columnTitle(mainKey())),
    el("td", { class: "text" }, forestAxis(scale)), keys.map((key) => headCell(key, columnTitle(key))),
    headCell("what", t("what")));
  const body = el("tbody");
  for (const run of runs) {
    body.append(runRow(run, scale, keys));
    if (run.name === app.state.open) body.append(detailRow(run, keys.length + 5));
  }
  return app.scroll(t("runs"), el("table", { class: "runs" }, el("thead", {}, head), body));
}

// The part of the page

/** The warning, the data set in numbers, and the base rate. */
function dataSetLines() {
  const { table } = app;
  const counts = Object.entries(table.counts).map(([name, count]) => t("class_count", name, count)).join(t("comma"));
  const base = table.base ? t("base_rate", table.base.class, app.percent(table.base.share)) : "";
  const black = table.black ? withoutLungs(table) : "";
  const images = t("images_patients", table.images, table.patients, counts);
  const lines = [el("p", { class: "soft" }, images, " ", base, " ", black)];
  if (!table.warning) return lines;
  return [el("div", { class: "warning" }, el("strong", {}, t("confounded")), el("p", {}, table.warning)), ...lines];
}

function withoutLungs({ metric, black }) {
  const [value, low, high] = black.score.map(d3.format(".4f"));
  return t("without_lungs", metric.title, `${value} [${low}, ${high}]`, black.name);
}

function meansNote() {
  return app.classes.length > 1 ? t("means_note") : "";
}

function searchBox() {
  const input = el("input", { type: "search", id: "search", placeholder: "mobilenet auc>0.9 epochs<=4",
    "aria-describedby": "search-help", oninput: (event) => app.set({ q: event.target.value }) });
  input.value = app.state.q;
  const help = el("small", { id: "search-help" }, t("search_help"));
  return el("div", { class: "search" }, el("label", { for: "search" }, t("search")), input, help);
}

/** The chosen ones with a button that gives each up; one may stand in another table of the same images. */
function chosenLine() {
  const place = (run) => (app.tableOf(run) === app.table ? "" : ` (${app.tableOf(run).title})`);
  const chip = (run) => el("button", { type: "button", class: "chip", onclick: () => choose(run) },
    app.letterOf(run), ` ${run.name}${place(run)} `, el("span", { "aria-label": t("remove"), role: "img" }, "×"));
  return el("p", { class: "choice" }, app.chosen.length ? t("chosen") : "", app.chosen.map(chip));
}

/** The published ones are out of sight where there are own ones, and of very many only the first are drawn. */
function shownRuns() {
  const { state, table } = app;
  const { tests, faults } = readSearch(state.q);
  const own = table.runs.filter((run) => run.own);
  const isCollapsed = own.length > 0 && !state.all && !state.q;
  const passed = sorted((isCollapsed ? own : table.runs).filter((run) => tests.every((test) => test(run))));
  const first = passed.slice(0, state.all === "every" ? Infinity : FIRST_ROWS);
  return { faults, first, passed, published: own.length && !state.q ? table.runs.length - own.length : 0 };
}

function moreButtons({ first, passed, published }) {
  const { state } = app;
  const line = el("p");
  const text = state.all ? t("hide_published") : t("show_published", published);
  if (published) line.append(app.button("all", text, null, () => app.set({ all: state.all ? "" : "published" })));
  const every = () => app.set({ all: "every" });
  if (first.length < passed.length) line.append(app.button("every", t("show_all", passed.length), null, every));
  return line;
}

views.push({
  id: "runs",
  keys: [],
  light: ["q", "sort", "all", "a", "b", "more", "open", "profile"],
  draw(host) {
    const [said, results] = [el("p", { role: "status", class: "soft" }), el("div")];
    host.append(...dataSetLines(), searchBox(), said, results);
    const update = () => {
      const shown = shownRuns();
      const faults = shown.faults.map((fault) => el("strong", { class: "fault" }, ` ${fault}`));
      said.replaceChildren(t("shown", shown.first.length, app.table.runs.length), ...faults);
      const note = el("p", { class: "soft" }, t("intervals_note"), " ", meansNote());
      results.replaceChildren(chosenLine(), runsTable(shown.first), moreButtons(shown), note);
    };
    update();
    return update;
  },
});
