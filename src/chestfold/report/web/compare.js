// Compare the chosen runs with A: difference of AUC, ROC, image by image, settings.

/** The difference of a run and A on the images that both have; null where there is none. */
function differenceFrom(a, run) {
  return app.once(`difference ${a.name} ${run.name}`, () => {
    const classes = app.classes.map((cls) => (
      { a: app.scores(a, cls), b: app.scores(run, cls), truth: app.truth(cls), rows: app.commonRows([a, run], cls) }));
    return pairedDifference(classes, app.cases.groups);
  });
}

function verdict({ low, high }) {
  if (low > 0) return "better";
  return high < 0 ? "worse" : "not_told_apart";
}

function signed(value) {
  return d3.format("+.4f")(value);
}

/** In words how a run does against A. */
function verdictLines(a, run) {
  const { el, t } = app;
  const [all, ofRun, common] = [app.rows(a), app.rows(run), app.commonRows([a, run], app.cls)].map((rows) => rows.length);
  if (!common) return [el("p", {}, t("no_common_rows", a.name, run.name))];
  const found = differenceFrom(a, run);
  if (!found) return [el("p", {}, t("one_class_only"))];
  const word = verdict(found);
  const claim = t(found.value < 0 ? "worse" : "better");
  const p = found.pFalse < 1 / REPLICATES ? `< ${1 / REPLICATES}` : found.pFalse.toFixed(3);
  const name = (who) => el("b", { style: `color: ${app.colour(who)}` }, who.name);
  return [el("p", { class: "verdict" }, name(run), " − ", name(a), `: ${signed(found.value)} `,
    `[${signed(found.low)}, ${signed(found.high)}] `, el("span", { class: `badge ${word}` }, t(word))),
  el("p", { class: "soft" }, t("false_claim", run.name, claim, p), " ",
    all !== common || ofRun !== common ? t("common_rows", common, all, ofRun) : "")];
}

function differenceChart(a, others) {
  const rows = others.map((run) => ({ run, name: `${app.letter(run)} ${run.name}`, ...differenceFrom(a, run) }))
    .filter(({ value }) => value !== undefined);
  if (!rows.length) return "";
  const title = app.t("difference", a.name);
  const colour = ({ run }) => app.colour(run);
  const chart = app.plot(title, {
    height: 60 + 30 * rows.length, marginLeft: 20, x: { label: "ΔAUC", ticks: 5, grid: true }, y: { axis: null, type: "band" },
    color: { type: "identity" },
    marks: [Plot.ruleX([0]), Plot.link(rows, { x1: "low", x2: "high", y1: "name", y2: "name", stroke: colour, strokeWidth: 2.5 }),
      Plot.dot(rows, { x: "value", y: "name", fill: colour, r: 5 }),
      Plot.text(rows, { x: "value", y: "name", text: "name", dy: -11 })],
  });
  return app.figure(title, chart, app.el("p", { class: "soft" }, app.t("difference_note")));
}

/** How far from the corner the curves are worth a look: three times the error where both errors are equal. */
function zoomOf(curves) {
  const errors = curves.map(({ points }) => d3.min(points, ({ x, y }) => Math.max(x, 1 - y)));
  const reach = 3 * d3.max(errors);
  return reach > 0.6 ? 1 : Math.max(0.02, Math.ceil(reach * 50) / 50);
}

function rocFigure(runs, isWhole = false) {
  const { cls, t } = app;
  const truth = app.truth(cls);
  const curves = runs.map((run) => ({ run, points: rocCurve(app.scores(run, cls), truth, app.commonRows([run], cls)) }));
  const reach = isWhole ? 1 : zoomOf(curves);
  const title = t(reach < 1 ? "zoomed" : "roc", app.table.classes[cls]);
  const points = curves.flatMap(({ run, points: of }) => of.filter(({ x, y }) => x <= reach && y >= 1 - reach)
    .map((point) => ({ ...point, run })));
  const tip = ({ run, cut, x, y }) => t("roc_tip", run.name, ...[cut, y, 1 - x].map((value) => value.toFixed(3)));
  const lines = curves.map(({ run, points: of }) => Plot.line(of, { x: "x", y: "y", stroke: app.colour(run), strokeWidth: 2, clip: true }));
  const chart = app.plot(title, {
    height: 340, grid: true,
    x: { domain: [0, reach], label: t("false_positive_rate") }, y: { domain: [1 - reach, 1], label: t("recall") },
    marks: [Plot.line([[0, 0], [1, 1]], { strokeOpacity: 0.3, clip: true }), ...lines,
      Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: tip }))],
  });
  const figure = app.figure(title, chart, app.legend(runs.map((run) => [app.colour(run), `${app.letter(run)} ${run.name}`])));
  if (isWhole || reach < 1) {
    const other = () => figure.replaceWith(rocFigure(runs, !isWhole));
    figure.append(app.button("whole", t(isWhole ? "zoom" : "whole_curve"), null, other));
  }
  return figure;
}

/** Every common image: probability of A across, of B up; a click opens it. */
function scatterFigure(a, b) {
  const { cls, t } = app;
  const truth = app.truth(cls);
  const points = app.commonRows([a, b], cls).map((row) => ({ row, x: app.prob(a, row, cls), y: app.prob(b, row, cls), is: truth[row] === 1 }));
  const wrong = (value, is) => (value >= 0.5) !== is;
  const kinds = d3.group(points, ({ x, y, is }) => `${wrong(x, is) ? "A" : ""}${wrong(y, is) ? "B" : ""}`);
  const keys = [["", "var(--soft)", t("right_both"), 2], ["A", "var(--c0)", t("wrong_one", a.name), 5],
    ["B", "var(--c1)", t("wrong_one", b.name), 5], ["AB", "var(--bad)", t("wrong_both"), 5]];
  const title = t("scatter", app.table.classes[cls], a.name, b.name);
  const chart = app.plot(title, {
    height: 340, x: { domain: [0, 1], label: `A ${a.name}` }, y: { domain: [0, 1], label: `B ${b.name}` },
    marks: [Plot.ruleX([0.5], { strokeDasharray: "3,3" }), Plot.ruleY([0.5], { strokeDasharray: "3,3" }),
      ...keys.map(([key, colour, , size]) => app.dots(kinds.get(key) ?? [], colour, size)),
      Plot.dot(points, Plot.pointer({ x: "x", y: "y", r: 6, stroke: "currentColor", maxRadius: 12 }))],
  });
  chart.addEventListener("click", () => { if (chart.value) app.openImage?.(chart.value.row); });
  const count = (key) => app.number(kinds.get(key)?.length ?? 0);
  return app.figure(`${title} (${t("at_half")})`, chart, app.legend(keys.map(([key, colour, text]) => [colour, `${text}: ${count(key)}`])));
}

function settingsFigure(runs) {
  const { el, t } = app;
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))]
    .filter((key) => new Set(runs.map((run) => JSON.stringify(settingOf(run, key)))).size > 1);
  if (!keys.length) return app.figure(t("settings_differ"), el("p", {}, t("same_settings")));
  const head = runs.map((run) => el("th", { scope: "col", style: `color: ${app.colour(run)}` }, run.name));
  const row = (key) => el("tr", {}, el("th", { scope: "row", class: "text" }, key), runs.map((run) => el("td", {}, settingText(settingOf(run, key)))));
  const table = el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col", class: "text" }, t("setting")), head)), el("tbody", {}, keys.map(row)));
  return app.figure(t("settings_differ"), app.scroll(t("settings_differ"), table));
}

views.push({
  id: "compare",
  keys: ["a", "b", "more", "cls"],
  draw(host) {
    const [a, ...others] = app.chosen;
    if (!others.length) return host.append(app.el("p", {}, app.t("choose_two")));
    host.append(classChoice("compare-class"), ...others.flatMap((run) => verdictLines(a, run)));
    return host.append(app.el("div", { class: "charts" }, rocFigure(app.chosen), scatterFigure(a, others[0]),
      app.el("div", {}, differenceChart(a, others), settingsFigure(app.chosen))));
  },
});
