// Validation against the leaderboard, reliability, settings, and the tables: attention, synthetic images, sources.
const BINS = 15; // of a reliability diagram, as of the calibration error
const FEW = 20; // images; a bin of fewer says little
const BOARDS = ["public", "private"];
const ON_BOARDS = ["auc", "corrupted", "f1", "accuracy", "competition"];
Object.assign(FIRST, { contest: "", across: "" });

/** A choice among values, which have words; `set` is called with a value as text. */
function choice(id, title, values, chosen, set, wordsOf) {
  const options = values.map((value) => el("option", { value, selected: value === chosen }, wordsOf(value)));
  const onchange = ({ target }) => set(target.value);
  return el("p", {}, el("label", {}, `${title} `, el("select", { id, onchange }, options)));
}

/** A choice among several values of the state; where there is but one, a line that names it. */
function stateChoice(key, title, values, chosen, wordsOf = String) {
  if (values.length < 2) return el("p", { class: "soft" }, `${title}: ${wordsOf(chosen)}`);
  return choice(`choose-${key}`, title, values, chosen, (value) => app.set({ [key]: value }), wordsOf);
}

/** A table of texts, the first column being the rows' names; what stands in brackets goes below its figure. */
function gridTable({ title, head, rows, figures_from: first }) {
  const side = (n) => (n < first ? "text" : null);
  const cell = (text, n) => {
    const [figure, interval] = n < first ? [text] : text.split(/ (?=\[)/);
    const attributes = n ? { class: side(n) } : { class: "text", scope: "row" };
    return el(n ? "td" : "th", attributes, figure, interval && el("small", {}, interval));
  };
  const heads = head.map((name, n) => el("th", { scope: "col", class: side(n) }, name));
  const lines = rows.map((texts) => el("tr", {}, texts.map(cell)));
  return app.scroll(title, el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, lines)));
}

/** A grid that is drawn when it is opened. */
function foldedGrid(grid, title = grid.title) {
  const body = el("div", {});
  const ontoggle = () => body.replaceChildren(...gridParts(grid));
  return el("details", { ontoggle }, el("summary", {}, title), body);
}

// Validation against the leaderboard

/** Spearman's rank correlation; NaN for fewer than three, or where all values of a side are equal. */
function spearman(x, y) {
  const ranks = (values) => { // about 0: how many are smaller, less how many are larger
    const larger = d3.rank(values, d3.descending);
    return d3.rank(values).map((smaller, n) => smaller - larger[n]);
  };
  const [across, up] = [ranks(x), ranks(y)];
  const product = (one, other) => d3.sum(one, (rank, n) => rank * other[n]);
  return x.length < 3 ? NaN : product(across, up) / Math.sqrt(product(across, across) * product(up, up));
}

/** The submitted runs of all tables of this data: a competition has one chart. */
function sentRuns() {
  const tables = app.data.tables.filter(({ data }) => data === app.table.data);
  return tables.flatMap(({ runs }) => runs).filter(({ leaderboard }) => leaderboard);
}

/** A point for each score of a competition. */
function leaderboardPoints(contest, across) {
  const sent = sentRuns().filter(({ leaderboard }) => leaderboard.competition === contest);
  const points = sent.flatMap((run) => BOARDS.map((board, n) =>
    ({ run, board, colour: `var(--c${n})`, x: run.scores[across]?.[0], y: run.leaderboard[board] })));
  return points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
}

function drawLeaderboard(host) {
  const { state } = app;
  const names = [...new Set(sentRuns().map(({ leaderboard }) => leaderboard.competition))];
  const contest = names.includes(state.contest) ? state.contest : names[0];
  const figures = ON_BOARDS.filter((key) => leaderboardPoints(contest, key).length);
  if (!figures.length) return host.append(el("p", { class: "soft" }, t("nothing_sent")));
  const across = figures.includes(state.across) ? state.across : figures[0];
  const points = leaderboardPoints(contest, across);
  return host.append(
    stateChoice("contest", t("contest"), names, contest),
    stateChoice("across", t("across"), figures, across, columnTitle),
    app.legend(BOARDS.map((board, n) => [`var(--c${n})`, t(board)])),
    leaderboardChart(points, columnTitle(across)),
    ...d3.groups(points, ({ board }) => board).map(([board, some]) => correlationLine(board, some)));
}

function correlationLine(board, points) {
  const found = spearman(points.map(({ x }) => x), points.map(({ y }) => y));
  const text = Number.isNaN(found) ? "-" : found.toFixed(2).replace("-", "−");
  return el("p", {}, t("rank_correlation", t(board), text, points.length));
}

/** Points whose names do not cover each other, those of chosen runs first. */
function namedPoints(points) {
  const spread = (key) => d3.max(points, (point) => point[key]) - d3.min(points, (point) => point[key]);
  const [width, height] = [spread("x"), spread("y")];
  const named = [];
  for (const point of d3.sort(points, ({ run }) => !app.chosen.includes(run))) {
    const covers = (other) => Math.abs(point.x - other.x) < 0.2 * width && Math.abs(point.y - other.y) < 0.05 * height;
    if (!named.some(covers)) named.push(point);
  }
  return named;
}

function leaderboardChart(points, title) {
  const place = { x: "x", y: "y" };
  const tip = ({ run, board, x, y }) => `${run.name}\n${title} ${x.toFixed(4)}\n${t(board)} ${y.toFixed(4)}`;
  return app.plot(t("leaderboard"), {
    width: 760, height: 360, grid: true, marginRight: 110,
    x: { label: title, nice: true },
    y: { label: t("on_leaderboard"), nice: true },
    marks: [
      Plot.dot(points, { ...place, r: 4.5, fill: "colour", title: tip, tip: true }),
      Plot.text(namedPoints(points), { ...place, text: ({ run }) => run.name, dx: 9, textAnchor: "start" }),
    ],
  });
}

// Reliability

/** Probability and truth of every class that is scored and known: {prob, so}. */
function reliabilityPairs(run) {
  return app.classes.flatMap((cls) =>
    app.commonRows([run], cls).map((row) => ({ prob: app.prob(run, row, cls), so: app.label(row, cls) })));
}

/** The bins that hold a prediction: {low, high, count, mean: probability, share: of those that are so}. */
function reliabilityBins(pairs) {
  const edges = d3.range(1, BINS).map((n) => n / BINS);
  const bins = d3.bin().domain([0, 1]).thresholds(edges).value(({ prob }) => prob)(pairs);
  return bins.filter((bin) => bin.length).map((bin) => ({ low: bin.x0, high: bin.x1, count: bin.length,
    mean: d3.mean(bin, ({ prob }) => prob), share: d3.mean(bin, ({ so }) => so) }));
}

function drawReliability(host) {
  const runs = chosenOrBest(() => true);
  const about = app.classes.length === 1 ? app.table.classes[app.classes[0]] : t("its_class");
  host.append(
    el("p", { class: "soft" }, t("reliability_note", about, FEW)),
    el("div", { class: "charts" }, runs.map((run, n) => app.figure(run.name, reliabilityChart(run, about, n)))));
}

function reliabilityChart(run, about, number) {
  const bins = reliabilityBins(reliabilityPairs(run)).map((bin) => {
    const [from, to] = wilson(bin.share, bin.count);
    return { ...bin, from, to, strength: bin.count < FEW ? 0.3 : 1 };
  });
  const colour = `var(--c${number})`;
  const title = ({ low, high, count, mean, share: so }) =>
    t("bin_tip", low.toFixed(2), high.toFixed(2), count, mean.toFixed(3), so.toFixed(3));
  const dot = { x: "mean", y: "share", r: "count", fill: colour, fillOpacity: "strength", title, tip: true };
  return app.plot(t("reliability_of", run.name), {
    width: 360, height: 340, grid: true,
    x: { domain: [0, 1], label: t("predicted_share", about) },
    y: { domain: [0, 1], label: t("true_share", about) },
    r: { range: [2, 11] },
    marks: [
      Plot.line([[0, 0], [1, 1]], { strokeDasharray: "3 3", strokeOpacity: 0.5 }),
      Plot.ruleX(bins, { x: "mean", y1: "from", y2: "to", stroke: colour, strokeOpacity: "strength" }),
      Plot.dot(bins, dot),
    ],
  });
}

// Settings: an axis for each that varies, a line for each run

/** An axis: its name, where a run is `at` (0 to 1), what is written there, and how far lines spread `aside`. */
function settingAxis(runs, key) {
  const textOf = (run) => settingText(settingOf(run, key));
  const byNumber = (one, other) => one - other || d3.ascending(one, other);
  const values = d3.sort(new Set(runs.map(textOf)), byNumber);
  const scale = d3.scalePoint(values, [0, 1]);
  const labels = values.map((text) => ({ axis: key, x: scale(text), text: text.slice(0, 22) }));
  return { name: key, at: (run) => scale(textOf(run)), labels, aside: 0.04 };
}

function aucAxis(runs) {
  const ends = d3.extent(runs, ({ scores }) => scores.auc[0]);
  const scale = d3.scaleLinear(ends, [0, 1]);
  const labels = ends.map((value, n) => ({ axis: "AUC", x: n, text: value.toFixed(4) }));
  return { name: "AUC", at: ({ scores }) => scale(scores.auc[0]), labels, aside: 0 };
}

function drawSettings(host) {
  const some = app.table.runs.filter(({ settings, scores }) => Object.keys(settings).length && scores.auc);
  const runs = d3.sort(some, ({ scores }) => scores.auc[0]);
  const keys = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
  const axes = keys.map((key) => settingAxis(runs, key)).filter(({ labels }) => labels.length > 1);
  if (!axes.length) return;
  axes.push(aucAxis(runs));
  host.append(el("p", { class: "soft" }, t("parallel_note", runs.length)), settingsChart(runs, axes));
}

/** Each axis is a row with its values from left to right. `runs`: the best last. */
function settingsChart(runs, axes) {
  const points = runs.flatMap((run, n) => axes.map(({ name, at, aside }) =>
    ({ run, axis: name, x: at(run) + aside * (n / runs.length - 0.5), strength: n / (runs.length - 1) })));
  const names = axes.map(({ name }) => name);
  const place = { x: "x", y: "axis" };
  const colour = ({ strength }) => `color-mix(in oklab, var(--c0) ${Math.round(100 * strength)}%, var(--c1))`;
  const title = ({ run }) => `${run.name}\nAUC ${run.scores.auc[0].toFixed(4)}`;
  return app.plot(t("parallel"), {
    width: 900, height: 50 * names.length + 40, marginLeft: 110, marginRight: 60,
    color: { type: "identity" },
    x: { axis: null, domain: [-0.03, 1.03] },
    y: { domain: names, label: null, tickSize: 0 },
    marks: [
      Plot.ruleY(names, { strokeOpacity: 0.25 }),
      Plot.line(points, { ...place, z: ({ run }) => run.name, stroke: colour, curve: "bump-y" }),
      Plot.dot(points, { ...place, r: 2.5, fill: colour, title, tip: true }),
      Plot.text(axes.flatMap(({ labels }) => labels),
        { ...place, text: "text", dy: 13, stroke: "var(--card)", strokeWidth: 4, fill: "var(--ink)" }),
    ],
  });
}

// Tables

function drawAttention(host) {
  const runs = chosenOrBest(({ attention }) => attention).filter(({ attention }) => attention);
  for (const run of runs) host.append(...run.attention.map((grid) => foldedGrid(grid, `${run.name}: ${grid.title}`)));
}

/** A grid with its note. */
function gridParts(grid) {
  return [gridTable(grid), el("p", { class: "soft" }, grid.note)];
}

function drawSynthetic(host) {
  if (app.data.synthetic) host.append(...gridParts(app.data.synthetic));
}

function drawSources(host) {
  host.append(...app.data.sources.map((grid) => foldedGrid(grid)));
}

views.push(
  { id: "leaderboard", keys: ["contest", "across"], draw: drawLeaderboard },
  { id: "reliability", keys: ["a", "b", "more"], draw: drawReliability },
  { id: "parallel", keys: [], draw: drawSettings },
  { id: "attention", keys: ["a", "b", "more"], draw: drawAttention },
  { id: "synthetic", keys: [], draw: drawSynthetic },
  { id: "sources", keys: [], draw: drawSources },
);

// A page that is renewed while runs are training

let isTouched = false;

/** Load the newest page, but not under the hands of a reader; the address keeps the state. */
function renew() {
  if (!isTouched && !document.querySelector("dialog[open]")) location.reload();
  isTouched = false;
}

if (app.data.refresh) {
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => { isTouched = true; });
  setInterval(renew, app.data.refresh * 1000);
}
