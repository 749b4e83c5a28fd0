// The table of runs: search, order, columns by profile, the forest of intervals, and the choice of A and B.
const COLUMNS = {
  radiographer: ["recall", "specificity", "accuracy", "ece"],
  competitor: ["corrupted", "public", "private", "test_auc", "gain", "p_false", "minutes"],
};
const SMALL_IS_GOOD = ["ece", "p_false", "minutes"];
const FIRST_ROWS = 50;
const FOREST = 190; // pixels
const ALIASES = { sensitivity: "recall", shifted: "corrupted", lb: "public", p: "p_false" };
const HOLDS = {
  ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "!=": (a, b) => a !== b,
  "=": (a, b) => a === b, ">": (a, b) => a > b, "<": (a, b) => a < b,
};

/** A figure of a run as [value, low, high] or [value]; null where there is none. */
function figureOf(run, key) {
  if (key === "gain") return run.gain;
  if (key === "public" || key === "private") return single(run.leaderboard?.[key]);
  if (key === "p_false" || key === "minutes") return single(run[key]);
  return run.scores[key] ?? null;
}

function single(value) {
  return value == null ? null : [value];
}

function mainKey() {
  return app.table.metric.key === "auc" ? "auc" : "competition";
}

function columnTitle(key) {
  return key === "competition" ? app.table.metric.title : app.t(key);
}

/** The columns of figures that any run has. */
function columns() {
  const keys = mainKey() === "auc" ? [] : ["auc"];
  return [...keys, ...COLUMNS[app.state.profile]].filter((key) => app.table.runs.some((run) => figureOf(run, key)));
}

// Search

/** The tests that a search asks a run to pass, and what is wrong with the search. */
function readSearch(text) {
  const plain = text.normalize("NFKC").replace(/≥/g, ">=").replace(/≤/g, "<=").replace(/\s*(>=|<=|!=|=|>|<)\s*/g, "$1");
  const tests = [];
  const faults = [];
  for (const part of plain.split(/\s+/).filter(Boolean)) {
    const condition = part.match(/^(.+?)(>=|<=|!=|=|>|<)(.*)$/);
    if (condition) readCondition(...condition.slice(1), tests, faults);
    else tests.push((run) => searchText(run).includes(part.toLowerCase()));
  }
  return { tests, faults };
}

function searchText(run) {
  return [run.name, run.kind, run.what, ...Object.values(run.settings)].join(" ").toLowerCase();
}

function readCondition(name, sign, wanted, tests, faults) {
  const key = ALIASES[name.toLowerCase()] ?? name.toLowerCase();
  const known = key in app.data.defaults || app.table.runs.some((run) => key in run.settings || figureOf(run, key));
  const isNumber = wanted !== "" && Number.isFinite(Number(wanted));
  if (!known) faults.push(app.t("unknown_key", name));
  else if (!isNumber && (sign.includes("<") || sign.includes(">"))) faults.push(app.t("no_number", name + sign + wanted, sign));
  else tests.push((run) => holds(run, key, sign, isNumber ? Number(wanted) : wanted.toLowerCase()));
}

function holds(run, key, sign, wanted) {
  const value = figureOf(run, key)?.[0] ?? settingOf(run, key);
  if (value == null) return false;
  return HOLDS[sign](typeof wanted === "number" ? Number(value) : settingText(value).toLowerCase(), wanted);
}

function settingOf(run, key) {
  return run.settings[key] ?? app.data.defaults[key];
}

function settingText(value) {
  return value === null || value === "" ? "-" : String(value);
}

// Order

/** The key that the table is sorted by, and whether the largest comes first. */
function order() {
  const { sort } = app.state;
  if (!sort) return { key: mainKey(), down: mainKey() === "auc" || app.table.metric.higher_is_better };
  return { key: sort.replace("-", ""), down: sort.startsWith("-") };
}

function sortKey(run, key) {
  if (key === "name" || key === "what") return run[key];
  return figureOf(run, key)?.[0] ?? null;
}

/** Runs in order; those without a figure last, equal ones as they were. */
function sorted(runs) {
  const { key, down } = order();
  const known = runs.filter((run) => sortKey(run, key) !== null);
  const rest = runs.filter((run) => sortKey(run, key) === null);
  known.sort((a, b) => (down ? -1 : 1) * d3.ascending(sortKey(a, key), sortKey(b, key)));
  return [...known, ...rest];
}

function turn(key) {
  const now = order();
  const down = now.key === key ? !now.down : !SMALL_IS_GOOD.includes(key) && key !== "name" && key !== "what";
  app.set({ sort: down ? `-${key}` : key });
}

// The table

/** The axis that all intervals share; what lies far below or above the others is left outside. */
function forestScale(runs) {
  const scores = runs.map((run) => figureOf(run, mainKey())).filter(Boolean);
  const values = scores.map(([value]) => value);
  const reach = 1.5 * (d3.quantile(values, 0.75) - d3.quantile(values, 0.25)) || Infinity;
  const ends = [d3.quantile(values, 0.25) - reach, d3.quantile(values, 0.75) + reach];
  const inside = scores.filter(([value]) => value >= ends[0] && value <= ends[1]);
  const domain = [d3.min(inside, ([value, low]) => low ?? value), d3.max(inside, ([value, , high]) => high ?? value)];
  return d3.scaleLinear(domain, [8, FOREST - 8]).clamp(true);
}

function forestAxis(scale) {
  const ticks = scale.ticks(4).map((tick) => app.el("g", { transform: `translate(${scale(tick)}, 0)` },
    app.el("line", { y1: 14, y2: 20, stroke: "currentColor" }),
    app.el("text", { y: 10, "text-anchor": "middle" }, String(tick))));
  return app.el("svg", { class: "forest", width: FOREST, height: 20, "aria-hidden": "true" }, ticks);
}

/** The interval of a run on the common axis; an arrow where it lies outside. */
function forestRow(scale, [value, low, high], colour) {
  const { el } = app;
  const [start, end] = scale.domain();
  const svg = el("svg", { class: "forest", width: FOREST, height: 20, "aria-hidden": "true", style: `color: ${colour}` },
    el("line", { x1: scale(low ?? value), x2: scale(high ?? value), y1: 10, y2: 10, class: "whisker" }));
  if (value < start) svg.append(el("path", { d: "M1,10l8,-5v10z", fill: "currentColor" }));
  else if (value > end) svg.append(el("path", { d: `M${FOREST - 1},10l-8,-5v10z`, fill: "currentColor" }));
  else svg.append(el("circle", { cx: scale(value), cy: 10, r: 4.5, fill: "currentColor" }));
  return svg;
}

function figureText(value, key) {
  if (key === "minutes") return value.toFixed(value < 10 ? 1 : 0);
  if (key === "p_false") return value < 0.001 ? "< 0.001" : value.toFixed(3);
  const sign = key === "gain" && value > 0 ? "+" : "";
  return sign + value.toFixed(4).replace("-", "−");
}

function figureCell(run, key) {
  const figure = figureOf(run, key);
  if (!figure) return app.el("td", {}, "-");
  const [value, low, high] = figure;
  const interval = low == null ? null : `${figureText(low, key)}–${figureText(high, key)}`;
  return app.el("td", {}, figureText(value, key), interval && app.el("small", {}, interval));
}

function headCell(key, text) {
  const now = order();
  const sort = now.key === key ? (now.down ? "descending" : "ascending") : "none";
  const sign = { none: "", descending: " ▼", ascending: " ▲" }[sort];
  const button = app.el("button", { id: `sort-${key}`, type: "button", onclick: () => turn(key) }, text,
    app.el("span", { "aria-hidden": "true" }, sign));
  return app.el("th", { scope: "col", "aria-sort": sort, class: key === "name" || key === "what" ? "text" : null }, button);
}

function markText(run, { kind, text }) {
  const key = `mark_${kind}`;
  const mean = run.fold_scores?.length ? d3.mean(run.fold_scores).toFixed(4) : "";
  return key in TEXT ? app.t(key, app.table.classes[Math.max(0, app.table.positive)], mean) : text;
}

function nameCell(run) {
  const { el, state } = app;
  const isOpen = state.open === run.name;
  const button = el("button", { id: `open-${run.name}`, type: "button", "aria-expanded": String(isOpen),
    onclick: () => app.set({ open: isOpen ? "" : run.name }) }, run.name);
  const marks = run.marks.map((mark) => el("small", { class: "mark" }, markText(run, mark)));
  return el("th", { scope: "row", class: "text" }, button, run.own && el("span", { class: "badge" }, app.t("own")), marks);
}

function choiceCell(run) {
  const { el, chosen } = app;
  const isChosen = chosen.includes(run);
  const box = el("input", { type: "checkbox", id: `choose-${run.name}`, "aria-label": app.t("choose", run.name),
    disabled: !isChosen && chosen.length >= LETTERS.length, onchange: () => choose(run) });
  box.checked = isChosen;
  return el("td", { class: "choose" }, box, isChosen && el("b", { style: `color: ${app.colour(run)}` }, app.letter(run)));
}

/** Choose a run, or give its place up. */
function choose(run) {
  const names = app.chosen.map(({ name }) => name);
  const others = names.filter((name) => name !== run.name);
  const now = others.length < names.length ? others : [...names, run.name];
  app.set({ a: now[0] ?? "", b: now[1] ?? "", more: now.slice(2).join(",") });
}

function runRow(run, scale, keys) {
  const main = figureOf(run, mainKey());
  const isChosen = app.chosen.includes(run);
  return app.el("tr", { class: isChosen ? "chosen" : null }, choiceCell(run), nameCell(run), figureCell(run, mainKey()),
    app.el("td", { class: "text" }, main && forestRow(scale, main, isChosen ? app.colour(run) : "var(--accent)")),
    keys.map((key) => figureCell(run, key)), app.el("td", { class: "text what" }, run.what));
}

/** What else is known of a run, in a row below it. */
function detailRow(run, width) {
  const { el, t } = app;
  const facts = { date: run.date, machine: run.machine, command: run.command, commit: run.commit, parent: run.parent,
    members: run.members?.join(", "), settings: Object.entries(run.settings).map(([key, value]) => `${key} ${settingText(value)}`).join(", ") };
  const list = Object.entries(facts).filter(([, value]) => value).map(([key, value]) => [el("dt", {}, t(key)), el("dd", {}, value)]);
  const folds = run.fold_scores?.map((score) => score.toFixed(4)).join(", ");
  if (folds) list.push([el("dt", {}, t("fold_scores", app.table.metric.title)), el("dd", {}, folds)]);
  if (run.confusion?.length) list.push([el("dt", {}, t("confusion")), el("dd", {}, confusionTable(run.confusion))]);
  return el("tr", { class: "details" }, el("td", { class: "text", colspan: width }, el("dl", {}, list.flat())));
}

function confusionTable(counts) {
  const { el } = app;
  const { classes } = app.table;
  const head = el("tr", {}, el("td"), classes.map((name) => el("th", { scope: "col" }, app.t("predicted", name))));
  const rows = counts.map((row, truth) => el("tr", {}, el("th", { scope: "row" }, classes[truth]),
    row.map((count, called) => el("td", { class: truth === called ? "right" : null }, app.number(count)))));
  return el("table", { class: "confusion" }, head, rows);
}

function runsTable(runs) {
  const { el, t } = app;
  const keys = columns();
  const scale = forestScale(runs);
  const head = el("tr", {}, el("td"), headCell("name", t("run")), headCell(mainKey(), columnTitle(mainKey())),
    el("td", { class: "text" }, forestAxis(scale)), keys.map((key) => headCell(key, columnTitle(key))), headCell("what", t("what")));
  const rows = runs.map((run) => [runRow(run, scale, keys), run.name === app.state.open && detailRow(run, keys.length + 5)]);
  return app.scroll(t("runs"), el("table", { class: "runs" }, el("thead", {}, head), el("tbody", {}, rows.flat().filter(Boolean))));
}

// The part of the page

/** The data set in numbers, the base rate, and the warning. */
function dataSetLines() {
  const { el, t, table } = app;
  const counts = Object.entries(table.counts).map(([name, count]) => t("class_counts", name, count));
  const base = table.base && t("base_rate", table.base.class, app.percent(table.base.share));
  const sentence = [`${t("images_patients", table.images, table.patients)}: ${counts.join(", ")}.`, base].filter(Boolean).join(" ");
  const warning = table.warning && el("div", { class: "warning" }, el("strong", {}, t("confounded")), el("p", {}, table.warning));
  return [warning, el("p", { class: "soft" }, sentence)];
}

function searchBox() {
  const { el, t } = app;
  const input = el("input", { type: "search", id: "search", placeholder: t("search_example"), "aria-describedby": "search-help",
    oninput: (event) => app.set({ q: event.target.value }) });
  input.value = app.state.q;
  return el("div", { class: "search" }, el("label", { for: "search" }, t("search")), input,
    el("small", { id: "search-help" }, t("search_help")));
}

/** The chosen ones with a button that gives each up; one may stand in another table of the same images. */
function chosenLine() {
  const { el, t } = app;
  const chip = (run) => el("button", { type: "button", class: "chip", "aria-label": t("remove", run.name), onclick: () => choose(run) },
    el("b", { style: `color: ${app.colour(run)}` }, app.letter(run)), ` ${run.name}`,
    app.tableOf(run) === app.table ? "" : ` (${app.tableOf(run).title})`, el("span", { "aria-hidden": "true" }, " ×"));
  return el("p", { class: "chosen-line" }, app.chosen.length ? `${t("chosen")}: ` : "", app.chosen.map(chip));
}

/** The published ones are out of sight where there are own ones, and of very many only the first are drawn. */
function shownRuns() {
  const { state, table } = app;
  const { tests, faults } = readSearch(state.q);
  const own = table.runs.filter((run) => run.own);
  const collapsed = own.length > 0 && !state.all && !state.q;
  const passed = sorted((collapsed ? own : table.runs).filter((run) => tests.every((test) => test(run))));
  const first = state.all === "2" ? passed : passed.slice(0, FIRST_ROWS);
  return { faults, first, passed, published: own.length ? table.runs.length - own.length : 0 };
}

function moreButtons({ first, passed, published }) {
  const { state, t } = app;
  const buttons = [];
  if (published && !state.q) {
    const text = state.all ? t("hide_published") : t("show_published", published);
    buttons.push(app.button("all", text, null, () => app.set({ all: state.all ? "" : "1" })));
  }
  if (first.length < passed.length) buttons.push(app.button("every", t("show_all", passed.length), null, () => app.set({ all: "2" })));
  return app.el("p", {}, buttons);
}

views.push({
  id: "runs",
  keys: ["d"],
  light: ["q", "sort", "all", "a", "b", "more", "open", "profile"],
  draw(host) {
    const results = app.el("div", {});
    const said = app.el("p", { role: "status", class: "soft" });
    host.append(...dataSetLines().filter(Boolean), searchBox(), said, results);
    const update = () => {
      const shown = shownRuns();
      said.replaceChildren(app.t("found", shown.first.length, app.table.runs.length),
        ...shown.faults.map((fault) => app.el("strong", { class: "fault" }, ` ${fault}`)));
      results.replaceChildren(chosenLine(), runsTable(shown.first), moreButtons(shown), app.el("p", { class: "soft" }, app.t("intervals_note")));
    };
    update();
    return update;
  },
});
