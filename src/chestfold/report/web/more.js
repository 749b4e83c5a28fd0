// Validation against the leaderboard, reliability, settings, and the tables: attention, synthetic images, sources.
const BINS = 15; // of a reliability diagram, as of the calibration error
const FEW = 20; // images; a bin of fewer says little
const BOARDS = ["public", "private"];
const ON_BOARDS = ["auc", "corrupted", "f1", "accuracy", "competition"];
Object.assign(FIRST, { contest: "", across: "" });

/** A choice among several values of the state; where there is but one, a line that names it. */
function choice(key, title, values, chosen, wordsOf = String) {
  if (values.length < 2) return el("p", { class: "soft" }, `${title}: ${wordsOf(chosen)}`);
  const options = values.map((value) => el("option", { value, selected: value === chosen }, wordsOf(value)));
  const onchange = (event) => app.set({ [key]: event.target.value });
  return el("p", {}, el("label", {}, `${title} `, el("select", { id: `choose-${key}`, onchange }, options)));
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
  const ontoggle = () => {
    if (!body.childElementCount) body.append(gridTable(grid), el("p", { class: "soft" }, grid.note));
  };
  return el("details", { ontoggle }, el("summary", {}, title), body);
}

// Validation against the leaderboard

/** Places from 1, equal values sharing the mean of theirs. */
function ranks(values) {
  const sorted = d3.sort(values);
  return values.map((value) => (d3.bisectLeft(sorted, value) + d3.bisectRight(sorted, value) + 1) / 2);
}

/** Spearman's rank correlation; NaN for fewer than three, or where all values of a side are equal. */
function spearman(x, y) {
  if (x.length < 3) return NaN;
  const [across, up] = [ranks(x), ranks(y)];
  const middle = (x.length + 1) / 2;
  const product = (one, other) => d3.sum(one, (rank, n) => (rank - middle) * (other[n] - middle));
  return product(across, up) / Math.sqrt(product(across, across) * product(up, up));
}

/** The submitted runs of all tables of this data: a competition has one chart. */
function sentRuns() {
  const tables = app.data.tables.filter(({ data }) => data === app.table.data);
  return tables.flatMap(({ runs }) => runs).filter(({ leaderboard }) => leaderboard);
}

/** A point for each score of a competition. */
function leaderboardPoints(contest, across) {
  const sent = sentRuns().filter(({ leaderboard }) => leaderboard.competition === contest);
  const points = sent.flatMap((run) => BOARDS.map((board) =>
    ({ run, name: run.name, board, x: run.scores[across]?.[0], y: run.leaderboard[board] })));
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
    choice("contest", t("contest"), names, contest),
    choice("across", t("across"), figures, across, columnTitle),
    app.legend(BOARDS.map((board) => [boardColour({ board }), t(board)])),
    leaderboardChart(points, columnTitle(across)),
    ...BOARDS.map((board) => correlationLine(points, board)));
}

function boardColour({ board }) {
  return `var(--c${BOARDS.indexOf(board)})`;
}

function correlationLine(points, board) {
  const some = points.filter((point) => point.board === board);
  const found = spearman(some.map(({ x }) => x), some.map(({ y }) => y));
  const text = Number.isNaN(found) ? "-" : found.toFixed(2).replace("-", "−");
  return some.length ? el("p", {}, t("rank_correlation", t(board), text, some.length)) : "";
}

/** Points whose names do not cover each other, those of chosen runs first. */
function namedPoints(points) {
  const spread = (values) => d3.max(values) - d3.min(values);
  const width = spread(points.map(({ x }) => x));
  const height = spread(points.map(({ y }) => y));
  const named = [];
  for (const point of d3.sort(points, ({ run }) => !app.chosen.includes(run))) {
    const covers = (other) => Math.abs(point.x - other.x) < 0.2 * width && Math.abs(point.y - other.y) < 0.05 * height;
    if (!named.some(covers)) named.push(point);
  }
  return named;
}

function leaderboardChart(points, title) {
  const place = { x: "x", y: "y" };
  const tip = ({ name, board, x, y }) => `${name}\n${title} ${x.toFixed(4)}\n${t(board)} ${y.toFixed(4)}`;
  return app.plot(t("leaderboard"), {
    width: 760,
    height: 360,
    grid: true,
    marginRight: 110,
    color: { type: "identity" },
    x: { label: title, nice: true },
    y: { label: t("on_leaderboard"), nice: true },
    marks: [
      Plot.dot(points, { ...place, r: 4.5, fill: boardColour }),
      Plot.text(namedPoints(points), { ...place, text: "name", dx: 9, textAnchor: "start" }),
      Plot.tip(points, Plot.pointer({ ...place, title: tip })),
    ],
  });
}

// Reliability

/** The bins that hold a prediction: {low, high, count, mean: probability, share: of those that are so}. */
function reliabilityBins(pairs) {
  const bins = d3.range(BINS).map((n) => ({ low: n / BINS, high: (n + 1) / BINS, pairs: [] }));
  for (const pair of pairs) bins[Math.min(Math.floor(pair.prob * BINS), BINS - 1)].pairs.push(pair);
  const filled = bins.filter((bin) => bin.pairs.length);
  return filled.map(({ low, high, pairs: inside }) => ({
    low, high, count: inside.length, mean: d3.mean(inside, ({ prob }) => prob), share: d3.mean(inside, ({ so }) => so),
  }));
}

/** Probability and truth of every class that is scored and known: {prob, so}. */
function reliabilityPairs(run) {
  return app.classes.flatMap((cls) =>
    app.commonRows([run], cls).map((row) => ({ prob: app.prob(run, row, cls), so: app.label(row, cls) })));
}

function drawReliability(host) {
  const runs = chosenOrBest(() => true);
  const about = app.classes.length === 1 ? app.table.classes[app.classes[0]] : t("its_class");
  host.append(
    el("p", { class: "soft" }, t("reliability_note", about, FEW)),
    el("div", { class: "charts" }, runs.map((run) => app.figure(run.name, reliabilityChart(run, about)))));
}

function reliabilityChart(run, about) {
  const bins = reliabilityBins(reliabilityPairs(run)).map((bin) => {
    const [from, to] = wilson(bin.share, bin.count);
    return { ...bin, from, to, strength: bin.count < FEW ? 0.3 : 1 };
  });
  const colour = app.chosen.length ? app.colour(run) : "var(--c0)";
  const tip = ({ low, high, count, mean, share: so }) =>
    t("bin_tip", low.toFixed(2), high.toFixed(2), count, mean.toFixed(3), so.toFixed(3));
  return app.plot(t("reliability_of", run.name), {
    width: 360,
    height: 340,
    grid: true,
    x: { domain: [0, 1], label: t("predicted_share", about) },
    y: { domain: [0, 1], label: t("true_share", about) },
    r: { range: [2, 11] },
    color: { type: "identity" },
    marks: [
      Plot.line([[0, 0], [1, 1]], { strokeDasharray: "3 3", strokeOpacity: 0.5 }),
      Plot.ruleX(bins, { x: "mean", y1: "from", y2: "to", stroke: colour, strokeOpacity: "strength" }),
      Plot.dot(bins, { x: "mean", y: "share", r: "count", fill: colour, fillOpacity: "strength" }),
      Plot.tip(bins, Plot.pointer({ x: "mean", y: "share", title: tip })),
    ],
  });
}

// Settings: an axis for each that varies, a line for each run

/** The settings that are not the same in all runs: {key, values: in order}. */
function varyingSettings(runs) {
  const keys = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))];
  const axes = keys.map((key) => ({ key, values: inOrder(runs.map((run) => settingOf(run, key))) }));
  return axes.filter(({ values }) => values.length > 1);
}

/** Different values once each, numbers by size. */
function inOrder(values) {
  const byText = new Map(values.map((value) => [settingText(value), value]));
  const numbers = [...byText.values()].every((value) => typeof value === "number");
  return numbers ? d3.sort(byText.values()).map(settingText) : d3.sort(byText.keys());
}

function drawSettings(host) {
  const runs = app.table.runs.filter(({ settings, scores }) => Object.keys(settings).length && scores.auc);
  const axes = varyingSettings(runs);
  if (runs.length < 2 || !axes.length) return;
  host.append(el("p", { class: "soft" }, t("parallel_note", runs.length)), settingsChart(runs, axes));
}

/** Each axis is a row with its values from left to right; the last one is AUC. */
function settingsChart(runs, axes) {
  const [low, high] = d3.extent(runs, ({ scores }) => scores.auc[0]);
  const places = d3.sort(runs, ({ scores }) => scores.auc[0]);
  const points = [];
  places.forEach((run, n) => {
    const aside = (n / places.length - 0.5) * 0.04; // lines through the same values stay apart
    const strength = places.length > 1 ? n / (places.length - 1) : 1;
    for (const { key, values } of axes) {
      const at = values.indexOf(settingText(settingOf(run, key))) / (values.length - 1);
      points.push({ run, axis: key, x: at + aside, strength });
    }
    points.push({ run, axis: "AUC", x: high > low ? (run.scores.auc[0] - low) / (high - low) : 0.5, strength });
  });
  const labels = axes.flatMap(({ key, values }) =>
    values.map((text, n) => ({ axis: key, x: n / (values.length - 1), text: text.slice(0, 22) })));
  labels.push({ axis: "AUC", x: 0, text: low.toFixed(4) }, { axis: "AUC", x: 1, text: high.toFixed(4) });
  return app.plot(t("parallel"), parallelOptions([...axes.map(({ key }) => key), "AUC"], points, labels));
}

function parallelOptions(names, points, labels) {
  const place = { x: "x", y: "axis" };
  const colour = ({ strength }) => `color-mix(in oklab, var(--c0) ${Math.round(100 * strength)}%, var(--c1))`;
  const tip = ({ run }) => `${run.name}\nAUC ${run.scores.auc[0].toFixed(4)}`;
  return {
    width: 900,
    height: 50 * names.length + 40,
    marginLeft: 110,
    marginRight: 60,
    color: { type: "identity" },
    x: { axis: null, domain: [-0.03, 1.03] },
    y: { domain: names, label: null, tickSize: 0 },
    marks: [
      Plot.ruleY(names, { strokeOpacity: 0.25 }),
      Plot.line(points, { ...place, z: ({ run }) => run.name, stroke: colour, curve: "bump-y" }),
      Plot.dot(points, { ...place, r: 2.5, fill: colour }),
      Plot.text(labels, { ...place, text: "text", dy: 13, stroke: "var(--card)", strokeWidth: 4, fill: "var(--ink)" }),
      Plot.tip(points, Plot.pointer({ ...place, title: tip })),
    ],
  };
}

// Tables

function drawAttention(host) {
  const runs = chosenOrBest(({ attention }) => attention).filter(({ attention }) => attention);
  for (const run of runs) host.append(...run.attention.map((grid) => foldedGrid(grid, `${run.name}: ${grid.title}`)));
}

function drawSynthetic(host) {
  const { synthetic } = app.data;
  if (synthetic) host.append(gridTable(synthetic), el("p", { class: "soft" }, synthetic.note));
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
function renewLater() {
  setTimeout(() => {
    const isBusy = isTouched || document.querySelector("dialog[open]");
    isTouched = false;
    if (isBusy) renewLater();
    else location.reload();
  }, app.data.refresh * 1000);
}

if (app.data.refresh) {
  for (const kind of ["keydown", "pointerdown"]) addEventListener(kind, () => { isTouched = true; });
  renewLater();
}
