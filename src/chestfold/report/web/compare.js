// Compare the chosen runs with A: difference of AUC, ROC, image by image, settings.

/** The difference of a run and A on the images that both have; null where there is none. */
function differenceFrom(a, run) {
  return app.once(`difference ${a.name} ${run.name}`, () => {
    const pair = (cls) => ({ rows: app.commonRows([a, run], cls), truth: app.truth(cls), a: app.scores(a, cls),
      b: app.scores(run, cls) });
    return pairedDifference(app.classes.map(pair), app.cases.groups);
  });
}

function verdict({ low, high }) {
  if (low > 0) return "better";
  return high < 0 ? "worse" : "not_told_apart";
}

/** In words how a run does against A. */
function verdictLines(a, run) {
  const [ofA, ofRun, all] = [app.rows(a).length, app.rows(run).length, new Set([...app.rows(a), ...app.rows(run)])];
  const common = ofA + ofRun - all.size;
  if (!common) return [el("p", {}, t("no_common_rows", a.name, run.name))];
  const found = differenceFrom(a, run);
  if (!found) return [el("p", {}, t("one_class_only"))];
  const [value, low, high] = [found.value, found.low, found.high].map(d3.format("+.4f"));
  const word = verdict(found);
  const claim = t(found.value < 0 ? "worse" : "better");
  const name = (who) => el("b", { style: `color: ${app.colour(who)}` }, who.name);
  const badge = el("span", { class: `badge ${word}` }, t(word));
  const where = common < ofA || common < ofRun ? t("common_rows", common, ofA, ofRun) : "";
  const doubt = t("false_claim", run.name, claim, found.pFalse.toFixed(3));
  return [el("p", { class: "verdict" }, name(run), " − ", name(a), `: ${value} [${low}, ${high}] `, badge),
    el("p", { class: "soft" }, doubt, " ", where, " ", meansNote())];
}

function differenceFigure(a, others) {
  const rows = others.map((run) => ({ ...differenceFrom(a, run), name: run.name, colour: app.colour(run) }))
    .filter(({ value }) => value !== undefined);
  if (!rows.length) return "";
  const title = t("difference", a.name);
  const names = Plot.text(rows, { x: "value", y: "name", text: "name", dy: -12 });
  const chart = app.plot(title, { height: 50 + 34 * rows.length, x: { label: "ΔAUC", ticks: 5, grid: true },
    y: { axis: null, domain: rows.map(({ name }) => name) },
    marks: [Plot.ruleX([0]), ...intervals(rows, "value"), names] });
  return app.figure(title, chart, el("p", { class: "soft" }, t("difference_note")));
}

/** Marks of Plot: a point and its interval in each row {name, low, high, colour}. */
function intervals(rows, x) {
  const line = { x1: "low", x2: "high", y1: "name", y2: "name", stroke: ({ colour }) => colour, strokeWidth: 2.5 };
  return [Plot.link(rows, line), Plot.dot(rows, { x, y: "name", fill: ({ colour }) => colour, r: 5 })];
}

/** How far from the corner the curves are worth a look: three times the error where both errors are equal. */
function zoomOf(curves) {
  const errors = curves.map(({ points }) => d3.min(points, ({ x, y }) => Math.max(x, 1 - y)));
  const reach = 3 * d3.max(errors);
  return reach > 0.6 ? 1 : Math.max(0.02, Math.ceil(reach * 50) / 50);
}

function rocChart(title, curves, reach) {
  const colour = ({ run }) => app.colour(run);
  const points = curves.flatMap(({ run, points: of }) => of.map((point) => ({ ...point, run })));
  const inside = points.filter(({ x, y }) => x <= reach && y >= 1 - reach);
  const tip = ({ run, cut, x, y }) => t("roc_tip", run.name, ...[cut, y, 1 - x].map((value) => value.toFixed(3)));
  return app.plot(title, { height: 340, grid: true, x: { domain: [0, reach], label: t("false_positive_rate") },
    y: { domain: [1 - reach, 1], label: t("recall") }, marks: [
      Plot.line([[0, 0], [1, 1]], { strokeOpacity: 0.3, clip: true }),
      Plot.line(points, { x: "x", y: "y", z: "run", stroke: colour, strokeWidth: 2, clip: true }),
      Plot.tip(inside, Plot.pointer({ x: "x", y: "y", title: tip }))] });
}

function rocFigure(runs, isWhole = false) {
  const { cls } = app;
  const curve = (run) => ({ run, points: rocCurve(app.scores(run, cls), app.truth(cls), app.commonRows([run], cls)) });
  const curves = runs.map(curve);
  const reach = isWhole ? 1 : zoomOf(curves);
  const title = t(reach < 1 ? "zoomed" : "roc", app.table.classes[cls]);
  const keys = app.legend(runs.map((run) => [app.colour(run), `${app.letter(run)} ${run.name}`]));
  const figure = app.figure(title, rocChart(title, curves, reach), keys);
  const other = () => figure.replaceWith(rocFigure(runs, !isWhole));
  if (isWhole || reach < 1) figure.append(app.button("whole", t(isWhole ? "zoom" : "whole_curve"), null, other));
  return figure;
}

/** Every common image: probability of A across, of B up; a click opens it. */
function scatterFigure(a, b) {
  const { cls } = app;
  const truth = app.truth(cls);
  const isWrong = (p, row) => (p >= 0.5) !== (truth[row] === 1);
  const points = app.commonRows([a, b], cls).map((row) => {
    const [x, y] = [app.prob(a, row, cls), app.prob(b, row, cls)];
    return { row, x, y, wrong: `${isWrong(x, row) ? "A" : ""}${isWrong(y, row) ? "B" : ""}` };
  });
  const kinds = [["", "var(--soft)", t("right_both"), 2], ["A", "var(--c0)", t("wrong_one", a.name), 5],
    ["B", "var(--c1)", t("wrong_one", b.name), 5], ["AB", "var(--bad)", t("wrong_both"), 4]];
  const of = (kind) => points.filter(({ wrong }) => wrong === kind);
  const halves = [Plot.ruleX, Plot.ruleY].map((rule) => rule([0.5], { strokeDasharray: "3,3" }));
  const title = t("scatter", app.table.classes[cls], a.name, b.name);
  const chart = app.plot(title, { height: 340, x: { domain: [0, 1], label: `A ${a.name}` },
    y: { domain: [0, 1], label: `B ${b.name}` }, marks: [...halves,
      ...kinds.map(([kind, colour, , size]) => app.dots(of(kind), colour, size)),
      Plot.dot(points, Plot.pointer({ x: "x", y: "y", r: 6, stroke: "currentColor", maxRadius: 12 }))] });
  chart.addEventListener("click", () => { if (chart.value) app.openImage?.(chart.value.row); });
  const keys = kinds.map(([kind, colour, text]) => [colour, `${text}: ${app.number(of(kind).length)}`]);
  return app.figure(title, chart, app.legend(keys));
}

function settingsFigure(chosen) {
  const runs = chosen.filter(({ kind }) => kind === "experiment");
  if (runs.length < 2) return "";
  const differs = (key) => new Set(runs.map((run) => settingText(settingOf(run, key)))).size > 1;
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.settings)))].filter(differs);
  const title = t("settings_differ");
  if (!keys.length) return app.figure(title, el("p", {}, t("same_settings")));
  const name = (run) => el("th", { scope: "col", style: `color: ${app.colour(run)}` }, run.name);
  const row = (key) => el("tr", {}, el("th", { scope: "row", class: "text" }, key),
    runs.map((run) => el("td", {}, settingText(settingOf(run, key)))));
  const head = el("tr", {}, el("th", { scope: "col", class: "text" }, t("setting")), runs.map(name));
  return app.figure(title, app.scroll(title, el("table", {}, el("thead", {}, head), el("tbody", {}, keys.map(row)))));
}

views.push({
  id: "compare",
  keys: ["a", "b", "more", "cls"],
  draw(host) {
    const [a, ...others] = app.chosen;
    if (!others.length) return host.append(el("p", {}, t("choose_two")));
    host.append(classChoice("compare-class"), ...others.flatMap((run) => verdictLines(a, run)));
    const last = el("div", {}, differenceFigure(a, others), settingsFigure(app.chosen));
    return host.append(el("div", { class: "charts" }, rocFigure(app.chosen), scatterFigure(a, others[0]), last));
  },
});
