// What a cut-off does to the run A: counts, what they mean at a prevalence, and who is missed.

/** Which class is meant; nothing to choose of two exclusive ones. */
function classChoice(id) {
  if (app.classes.length < 2) return "";
  const name = (cls) => t("against_rest", app.table.classes[cls]);
  const options = app.classes.map((cls) => el("option", { value: cls, selected: cls === app.cls }, name(cls)));
  const onchange = (event) => app.set({ cls: event.target.value, prev: null });
  return el("p", {}, el("label", { for: id }, `${t("class")} `), el("select", { id, onchange }, options));
}

function slider(id, range, set) {
  const input = el("input", { type: "range", id, ...range, oninput: () => set(Number(input.value)) });
  const output = el("output", { for: id });
  const label = el("label", { for: id }, `${t(id)} `, output);
  const show = (value, text) => {
    input.value = value;
    output.textContent = text;
  };
  return { show, node: el("p", { class: "slider" }, label, input) };
}

/** All that is known of the run at the cut-off and the prevalence of the state. */
function atCutoff(run) {
  const { cls, state } = app;
  const { groups } = app.cases;
  const [scores, truth, rows] = [app.scores(run, cls), app.truth(cls), app.commonRows([run], cls)];
  const positives = rows.filter((row) => truth[row] === 1);
  const negatives = rows.filter((row) => truth[row] === 0);
  const isCalled = (row) => scores[row] >= state.t * 600;
  const sensitivity = clusteredShare(positives, isCalled, groups);
  const specificity = clusteredShare(negatives, (row) => !isCalled(row), groups);
  const prevalence = state.prev ?? positives.length / rows.length;
  const values = predictiveValues(sensitivity[0], specificity[0], prevalence);
  const found = positives.filter(isCalled).length;
  const alarms = negatives.filter(isCalled).length;
  const counts = { found, missed: positives.length - found, alarms, cleared: negatives.length - alarms };
  return { scores, positives, negatives, isCalled, counts, sensitivity, specificity, prevalence, values };
}

function matrixTable(counts) {
  const { classes } = app.table;
  const name = classes[app.cls];
  const other = app.classes.length === 1 && app.exclusive ? classes[1 - app.cls] : t("not_class", name);
  const cell = (key) => el("td", { class: key }, el("b", {}, app.number(counts[key])), el("small", {}, t(key)));
  const row = (of, ...keys) => el("tr", {}, el("th", { scope: "row" }, t("truly", of)), keys.map(cell));
  const head = [name, other].map((text) => el("th", { scope: "col" }, t("predicted", text)));
  return el("table", { class: "matrix" }, el("tr", {}, el("td"), head), row(name, "found", "missed"),
    row(other, "alarms", "cleared"));
}

function figuresTable({ sensitivity, specificity, values }) {
  const shown = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "-");
  const row = (key, digits, value, low, high) => {
    const interval = Number.isFinite(low) ? `${shown(low, digits)}–${shown(high, digits)}` : "";
    const cells = [shown(value, digits), el("small", {}, interval)].map((content) => el("td", {}, content));
    return el("tr", { class: key }, el("th", { scope: "row", class: "text" }, t(key)), cells);
  };
  return el("table", {}, row("recall", 3, ...sensitivity), row("specificity", 3, ...specificity),
    row("ppv", 3, values.ppv), row("npv", 3, values.npv),
    row("lr_positive", 2, values.lr_positive), row("lr_negative", 2, values.lr_negative));
}

/** A thousand dots: what becomes of people of that prevalence. */
function peopleFigure({ people }) {
  const colours = { found: "var(--good)", missed: "var(--bad)", alarms: "var(--c1)", cleared: "var(--rule)" };
  const [marks, keys] = [[], []];
  let [first, sum] = [0, 0];
  for (const [kind, colour] of Object.entries(colours)) {
    sum += people[kind];
    const last = Math.round(1000 * sum) || first;
    const places = d3.range(first, last).map((n) => ({ x: n % 50, y: Math.floor(n / 50) }));
    marks.push(app.dots(places, colour, 6));
    keys.push([colour, t("people_count", t(kind), last - first)]);
    first = last;
  }
  const axes = { x: { axis: null, domain: [0, 49] }, y: { axis: null, domain: [0, 19], reverse: true } };
  const label = `${t("people")}: ${keys.map(([, text]) => text).join(", ")}`;
  return app.figure(t("people"), app.plot(label, { ...axes, height: 180, margin: 6, marks }), app.legend(keys));
}

/** Where the cut-off is. */
function cutoffRule() {
  return Plot.ruleX([app.state.t / 100], { stroke: "var(--c1)", strokeWidth: 2 });
}

function histogramFigure({ scores, positives, negatives }) {
  const bins = d3.range(50).map((n) => ({ x1: n / 50, x2: (n + 1) / 50, up: 0, down: 0 }));
  const binOf = (row) => bins[Math.min(49, Math.floor(scores[row] / 1200))];
  for (const row of positives) binOf(row).up += 1;
  for (const row of negatives) binOf(row).down -= 1;
  const ends = [d3.min(bins, ({ down }) => down), d3.max(bins, ({ up }) => up)];
  const powers = [-10000, -1000, -100, -10, 0, 10, 100, 1000, 10000];
  const ticks = powers.filter((n) => n >= ends[0] && n <= ends[1] && (!n || Math.abs(n) > (ends[1] - ends[0]) / 200));
  const bars = (y2, fill) => Plot.rect(bins, { x1: "x1", x2: "x2", y1: 0, y2, fill, inset: 0.5 });
  const y = { type: "pow", exponent: 0.5, ticks, tickFormat: (n) => app.number(Math.abs(n)), grid: true };
  const title = t("histogram");
  return app.figure(title, app.plot(title, { height: 260, x: { domain: [0, 1], label: t("cutoff") },
    y: { ...y, label: t("histogram_up", app.table.classes[app.cls]) },
    marks: [bars("up", "var(--c0)"), bars("down", "var(--soft)"), Plot.ruleY([0]), cutoffRule()] }));
}

/** Net benefit at every cut-off, beside calling all and none positive. */
function decisionFigure({ scores, positives, negatives, prevalence }) {
  const [found, alarms] = [positives, negatives].map((rows) => sharesAbove(scores, rows));
  const lines = d3.range(1, 100).map((cut) => ({ cut: cut / 100, all: netBenefit(prevalence, 1 - prevalence, cut),
    model: netBenefit(found[cut] * prevalence, alarms[cut] * (1 - prevalence), cut) }));
  const title = t("decision_curve");
  const line = (y, options) => Plot.line(lines, { x: "cut", y, clip: true, ...options });
  const chart = app.plot(title, { height: 260, x: { domain: [0, 1], label: t("cutoff") },
    y: { domain: [-0.1 * prevalence, prevalence], label: t("net_benefit"), grid: true },
    marks: [Plot.ruleY([0], { stroke: "var(--soft)" }), line("all", { stroke: "var(--c3)", strokeDasharray: "4,3" }),
      line("model", { stroke: "var(--c0)", strokeWidth: 2 }), cutoffRule()] });
  const keys = [["var(--c0)", app.chosen[0].name], ["var(--c3)", t("treat_all")], ["var(--soft)", t("treat_none")]];
  return app.figure(title, chart, app.legend(keys));
}

function subgroupFigure({ name, values, codes }, { positives, isCalled }) {
  const rows = values.map((value, code) => {
    const members = positives.filter((row) => codes[row] === code);
    const [found, low, high] = clusteredShare(members, isCalled, app.cases.groups);
    return { name: `${value} (${app.number(members.length)})`, found, low, high, colour: "var(--c0)" };
  }).filter(({ found }) => !Number.isNaN(found));
  if (!rows.length) return "";
  const title = t("subgroups", name);
  const text = ({ found }) => found.toFixed(3);
  const label = `${title}: ${rows.map((row) => `${row.name} ${text(row)}`).join(", ")}`;
  return app.figure(title, app.plot(label, { height: 50 + 34 * rows.length, marginLeft: 120, marginRight: 45,
    x: { label: t("recall"), ticks: 5, grid: true }, y: { label: null, domain: rows.map((row) => row.name) },
    marks: [...intervals(rows, "found"), Plot.text(rows, { x: "found", y: "name", text, dy: -12 })] }));
}

async function copyCutoff(said) {
  const cut = (app.state.t / 100).toFixed(2);
  const copied = navigator.clipboard?.writeText(cut).then(() => "copied", () => "not_copied") ?? "not_copied";
  said.textContent = t(await copied, cut);
}

/** The sliders and buttons, and a function that makes them show where they stand. */
function controls() {
  const cutoff = slider("cutoff", { min: 0, max: 100, step: 1 }, (value) => app.set({ t: value }));
  const prevalence = slider("prevalence", { min: 0.001, max: 0.999, step: 0.001 }, (prev) => app.set({ prev }));
  const said = el("span", { role: "status" });
  const copy = app.button("copy", t("copy"), null, () => copyCutoff(said));
  const reset = app.button("data-prevalence", t("prevalence_of_data"), null, () => app.set({ prev: null }));
  const show = (now) => {
    cutoff.show(app.state.t, (app.state.t / 100).toFixed(2));
    prevalence.show(now.prevalence, `${app.percent(now.prevalence)} %`);
  };
  return { show, node: el("div", {}, cutoff.node, prevalence.node, el("p", {}, copy, " ", reset, " ", said)) };
}

views.push({
  id: "threshold",
  keys: ["a", "cls"],
  light: ["t", "prev"],
  draw(host) {
    const [run] = app.chosen;
    if (!run) return host.append(el("p", {}, t("choose_one")));
    const { show, node } = controls();
    const counts = el("div");
    const charts = el("div", { class: "charts" }, el("div", {}, node, counts));
    host.append(el("p", { class: "verdict" }, app.letterOf(run), ` ${run.name}`), classChoice("class"), charts);
    const update = () => {
      const now = atCutoff(run);
      show(now);
      const note = el("p", { class: "soft" }, t("figures_note", app.percent(now.prevalence)));
      const figures = app.figure(t("figures"), figuresTable(now), note);
      counts.replaceChildren(app.figure(t("matrix"), app.scroll(t("matrix"), matrixTable(now.counts))));
      const subgroups = app.cases.subgroups.map((subgroup) => subgroupFigure(subgroup, now));
      const drawn = [figures, peopleFigure(now.values), histogramFigure(now), decisionFigure(now), ...subgroups];
      charts.replaceChildren(charts.firstChild, ...drawn);
    };
    update();
    return update;
  },
});
