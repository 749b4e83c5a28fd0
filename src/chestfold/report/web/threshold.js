// What a cut-off does to the run A: counts, what they mean at a prevalence, and who is missed.

/** Which class is meant; nothing to choose of two exclusive ones. */
function classChoice(id) {
  const { el, t } = app;
  if (app.classes.length < 2) return "";
  const option = (cls) => el("option", { value: cls, selected: cls === app.cls }, t("against_rest", app.table.classes[cls]));
  return el("p", {}, el("label", { for: id }, `${t("class")} `),
    el("select", { id, onchange: (event) => app.set({ cls: event.target.value, prev: null }) }, app.classes.map(option)));
}

function slider(id, text, range, value, oninput) {
  const input = app.el("input", { type: "range", id, ...range, oninput: (event) => oninput(Number(event.target.value)) });
  input.value = value;
  const output = app.el("output", { for: id });
  return { input, output, node: app.el("p", { class: "slider" }, app.el("label", { for: id }, `${text} `, output), input) };
}

/** All that is known of the run at the cut-off of the state. */
function atCutoff(run) {
  const { cls, state } = app;
  const [scores, truth, rows] = [app.scores(run, cls), app.truth(cls), app.commonRows([run], cls)];
  const [positives, negatives] = [1, 0].map((value) => rows.filter((row) => truth[row] === value));
  const called = (row) => scores[row] >= state.t * 600;
  const counts = countAt(state.t, scores, truth, rows);
  const sensitivity = clusteredShare(positives, called, app.cases.groups);
  const specificity = clusteredShare(negatives, (row) => !called(row), app.cases.groups);
  const prevalence = state.prev ?? positives.length / rows.length;
  const values = predictiveValues(sensitivity[0], specificity[0], prevalence);
  return { scores, truth, rows, positives, called, counts, sensitivity, specificity, prevalence, values };
}

function matrixTable(counts) {
  const { el, t } = app;
  const name = app.table.classes[app.cls];
  const other = app.exclusive && app.table.classes.length === 2 ? app.table.classes[1 - app.cls] : t("not_class", name);
  const cell = (key, count) => el("td", { class: key, "data-count": key }, el("b", {}, app.number(count)), el("small", {}, t(key)));
  const head = el("tr", {}, el("td"), [name, other].map((text) => el("th", { scope: "col" }, t("predicted", text))));
  return el("table", { class: "matrix" }, head,
    el("tr", {}, el("th", { scope: "row" }, t("truly", name)), cell("found_right", counts.found), cell("missed", counts.missed)),
    el("tr", {}, el("th", { scope: "row" }, t("truly", other)), cell("false_alarms", counts.alarms), cell("cleared", counts.cleared)));
}

function figuresTable({ sensitivity, specificity, values }) {
  const { el, t } = app;
  const shown = (value, digits = 3) => (Number.isFinite(value) ? value.toFixed(digits) : "-");
  const row = (key, value, digits, low, high) => el("tr", { "data-figure": key }, el("th", { scope: "row", class: "text" }, t(key)),
    el("td", {}, shown(value, digits)), el("td", {}, Number.isFinite(low) ? el("small", {}, `${shown(low)}–${shown(high)}`) : ""));
  return el("table", {}, row("recall", sensitivity[0], 3, ...sensitivity.slice(1)), row("specificity", specificity[0], 3, ...specificity.slice(1)),
    row("ppv", values.ppv), row("npv", values.npv), row("lr_positive", values.lrPositive, 2), row("lr_negative", values.lrNegative));
}

/** A thousand dots: what becomes of people of that prevalence. */
function peopleFigure({ people }) {
  const { t } = app;
  const kinds = [["found", "found_right", "var(--good)"], ["missed", "missed", "var(--bad)"], ["alarms", "false_alarms", "var(--c1)"], ["cleared", "cleared", "var(--rule)"]];
  let sum = 0;
  let first = 0;
  const marks = [];
  const entries = [];
  for (const [kind, word, colour] of kinds) {
    sum += people[kind];
    const last = Math.round(1000 * sum);
    const places = d3.range(first, last).map((n) => ({ x: n % 50, y: Math.floor(n / 50) }));
    marks.push(app.dots(places, colour, 6));
    entries.push([colour, t("people_count", t(word), last - first)]);
    first = last;
  }
  const axes = { x: { axis: null, domain: [0, 49] }, y: { axis: null, domain: [0, 19], reverse: false } };
  const label = `${t("people")}: ${entries.map(([, text]) => text).join(", ")}`;
  return app.figure(t("people"), app.plot(label, { ...axes, height: 180, margin: 6, marks }), app.legend(entries));
}

function histogramFigure({ scores, truth, rows }) {
  const { t, cls } = app;
  const name = app.table.classes[cls];
  const bins = d3.range(50).map((n) => ({ x1: n / 50, x2: (n + 1) / 50, up: 0, down: 0 }));
  for (const row of rows) bins[Math.min(49, Math.floor(scores[row] / 1200))][truth[row] === 1 ? "up" : "down"] += 1;
  const title = t("histogram");
  return app.figure(title, app.plot(title, {
    height: 260, x: { domain: [0, 1], label: t("cutoff") },
    y: { type: "pow", exponent: 0.5, label: t("histogram_up", name), ticks: 6, tickFormat: (count) => app.number(Math.abs(count)), grid: true },
    marks: [Plot.rect(bins, { x1: "x1", x2: "x2", y1: 0, y2: "up", fill: "var(--c0)", inset: 0.5 }),
      Plot.rect(bins, { x1: "x1", x2: "x2", y1: 0, y2: ({ down }) => -down, fill: "var(--soft)", inset: 0.5 }),
      Plot.ruleY([0]), Plot.ruleX([app.state.t / 100], { stroke: "var(--c1)", strokeWidth: 2 })],
  }));
}

function decisionFigure({ scores, truth, rows, prevalence }) {
  const { t } = app;
  const tallies = [0, 1].map((value) => {
    const tally = new Uint32Array(101);
    for (const row of rows) if (truth[row] === value) tally[Math.floor(scores[row] / 600)] += 1;
    return tally;
  });
  const above = ([tally, cut]) => d3.sum(tally.subarray(cut)) / d3.sum(tally);
  const lines = d3.range(1, 100).map((cut) => ({
    cut: cut / 100,
    model: netBenefit(above([tallies[1], cut]) * prevalence, above([tallies[0], cut]) * (1 - prevalence), cut),
    all: netBenefit(prevalence, 1 - prevalence, cut),
  }));
  const floor = -0.1 * prevalence;
  const title = t("decision_curve");
  const line = (y, options) => Plot.line(lines, { x: "cut", y, clip: true, ...options });
  const chart = app.plot(title, {
    height: 260, x: { domain: [0, 1], label: t("cutoff") }, y: { domain: [floor, prevalence], label: t("net_benefit"), grid: true },
    marks: [Plot.ruleY([0]), line("all", { strokeDasharray: "4,3" }), line("model", { stroke: "var(--c0)", strokeWidth: 2 }),
      Plot.ruleX([app.state.t / 100], { stroke: "var(--c1)", strokeWidth: 2 })],
  });
  return app.figure(title, chart, app.legend([["var(--c0)", app.chosen[0].name], ["currentColor", `- - ${t("treat_all")}`], ["var(--soft)", `0: ${t("treat_none")}`]]));
}

function subgroupFigures({ positives, called }) {
  return app.cases.subgroups.map(({ name, values, codes }) => {
    const rows = values.map((value, code) => {
      const of = positives.filter((row) => codes[row] === code);
      const [share, low, high] = clusteredShare(of, called, app.cases.groups);
      return { name: `${value} (${app.number(of.length)})`, share, low, high, count: of.length };
    }).filter(({ count }) => count);
    if (!rows.length) return "";
    const title = app.t("subgroups", name);
    const figures = rows.map((row) => `${row.name} ${row.share.toFixed(3)}`).join(", ");
    return app.figure(title, app.plot(`${title}: ${figures}`, {
      height: 50 + 30 * rows.length, marginLeft: 130, marginRight: 45, x: { label: app.t("recall"), ticks: 5, grid: true },
      y: { label: null, domain: rows.map((row) => row.name) },
      marks: [Plot.link(rows, { x1: "low", x2: "high", y1: "name", y2: "name", stroke: "var(--c0)", strokeWidth: 2.5 }),
        Plot.dot(rows, { x: "share", y: "name", fill: "var(--c0)", r: 5 }),
        Plot.text(rows, { x: "high", y: "name", text: ({ share }) => share.toFixed(3), dx: 6, textAnchor: "start" })],
    }));
  });
}

async function copyCutoff(said) {
  const cut = (app.state.t / 100).toFixed(2);
  try {
    await navigator.clipboard.writeText(cut);
    said.textContent = app.t("copied", cut);
  } catch {
    said.textContent = app.t("not_copied", cut);
  }
}

views.push({
  id: "threshold",
  keys: ["a", "cls"],
  light: ["t", "prev"],
  draw(host) {
    const { el, t, state } = app;
    const [run] = app.chosen;
    if (!run) return host.append(el("p", {}, t("choose_one")));
    const cutoff = slider("cutoff", t("cutoff"), { min: 0, max: 100, step: 1 }, state.t, (cut) => app.set({ t: cut }));
    const prevalence = slider("prevalence", t("prevalence"), { min: 0.001, max: 0.999, step: 0.001 }, 0.5, (prev) => app.set({ prev }));
    const said = el("span", { role: "status" });
    const buttons = el("p", {}, app.button("copy", t("copy"), null, () => copyCutoff(said)),
      app.button("data-prevalence", t("prevalence_of_data"), null, () => app.set({ prev: null })), " ", said);
    const [counts, figures, charts] = [el("div", {}), el("div", {}), el("div", { class: "charts" })];
    host.append(el("p", { class: "verdict" }, el("b", { style: "color: var(--c0)" }, `A ${run.name}`)), classChoice("class"),
      el("div", { class: "charts" }, el("div", {}, cutoff.node, prevalence.node, buttons), counts, figures), charts);
    const update = () => {
      const now = atCutoff(run);
      cutoff.input.value = app.state.t;
      cutoff.output.textContent = (app.state.t / 100).toFixed(2);
      prevalence.input.value = now.prevalence;
      prevalence.output.textContent = `${app.percent(now.prevalence)} %`;
      counts.replaceChildren(app.figure(t("matrix"), app.scroll(t("matrix"), matrixTable(now.counts))));
      figures.replaceChildren(app.figure(t("figures"), figuresTable(now), el("p", { class: "soft" }, t("figures_note", app.percent(now.prevalence)))));
      charts.replaceChildren(peopleFigure(now.values), histogramFigure(now), decisionFigure(now), ...subgroupFigures(now));
    };
    update();
    return update;
  },
});
