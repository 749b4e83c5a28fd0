// Training, epoch by epoch: of the chosen runs, and of those that are not finished yet.
const NO_METRIC = /^(epoch|train_.*)$/;
const FIRST_METRICS = ["loss", "auc", "accuracy"];
Object.assign(FIRST, { epochs_of: "" });

/** The chosen runs; where none is chosen, the best of those that have what is shown. */
function chosenOrBest(has) {
  return app.chosen.length ? app.chosen : (app.table?.runs ?? []).filter(has).slice(0, 1);
}

/** Those that are not finished, on this data or on data without any result. */
function begunRuns() {
  const known = app.data.tables.map(({ data }) => data);
  return app.data.unfinished.filter(({ data }) => data === app.table?.data || !known.includes(data));
}

/** The finished runs in their colours, and the others in what is left. */
function trainings() {
  const finished = chosenOrBest((run) => run.history).filter(({ history }) => history);
  const begun = begunRuns().filter(({ history }) => Object.keys(history).length);
  const left = LETTERS.length - finished.length;
  const number = (n) => (n < finished.length ? n : finished.length + (n - finished.length) % left);
  return [...finished, ...begun].map((run, n) => ({ ...run, colour: `var(--c${number(n)})` }));
}

function metricsOf(runs) {
  const epochs = runs.flatMap(({ history }) => Object.values(history).flat());
  const found = new Set(epochs.flatMap(Object.keys).filter((name) => !NO_METRIC.test(name)));
  return [...new Set([...FIRST_METRICS.filter((name) => found.has(name)), ...found])];
}

/** A row for each epoch of each fold in which a metric was measured. */
function epochRows(runs, metric) {
  return runs.flatMap((run) => Object.entries(run.history).flatMap(([fold, epochs], n) => {
    const measured = epochs.filter((epoch) => Number.isFinite(epoch[metric]));
    const isKept = (epoch) => run.best_epochs?.[n] === epoch;
    const isAlone = measured.length === 1; // a line needs two
    return measured.map(({ epoch, [metric]: value }) =>
      ({ run, fold, epoch, value, radius: (isKept(epoch) && 4.5) || (isAlone && 2) }));
  }));
}

/** The word of a key, the key itself where there is none. */
function wordOf(key) {
  return key in TEXT ? t(key) : key.replaceAll("_", " ");
}

function drawCurves(host) {
  const runs = trainings();
  const without = app.chosen.filter(({ history }) => !history).map(({ name }) => name);
  const remark = without.length ? t("no_history", without.join(", ")) : !runs.length && t("no_training");
  if (runs.length) host.append(...learning(runs));
  if (remark) host.append(el("p", { class: "soft" }, remark));
  for (const { name, folds } of begunRuns()) {
    const texts = folds.map(({ fold, done, epochs }) => t("epochs_done", fold, done, epochs));
    host.append(el("p", {}, el("strong", {}, name), ` ${t("not_finished")}: ${texts.join(", ")}`));
  }
}

function learning(runs) {
  const metrics = metricsOf(runs);
  const metric = metrics.includes(app.state.epochs_of) ? app.state.epochs_of : metrics[0];
  return [
    stateChoice("epochs_of", t("metric"), metrics, metric, wordOf),
    app.legend(runs.map(({ name, colour }) => [colour, name])),
    learningChart(runs, metric),
    el("p", { class: "soft" }, t("learning_note")),
  ];
}

function learningChart(runs, metric) {
  const rows = epochRows(runs, metric);
  const place = { x: "epoch", y: "value" };
  const line = { ...place, z: ({ run, fold }) => `${run.name} ${fold}`, stroke: ({ run }) => run.colour };
  const title = ({ run, fold, epoch, value }) => t("epoch_tip", run.name, fold, epoch, value.toFixed(4));
  const last = d3.max(rows, ({ epoch }) => epoch);
  const ticks = d3.ticks(1, last, 10).filter(Number.isInteger);
  return app.plot(`${wordOf(metric)}: ${runs.map(({ name }) => name).join(", ")}`, {
    width: 760,
    grid: true,
    x: { label: t("epoch"), domain: [0.8, last + 0.2], ticks, tickFormat: "d" },
    y: { label: wordOf(metric), nice: true },
    r: { type: "identity" },
    marks: [
      Plot.line(epochRows(runs, `train_${metric}`), { ...line, strokeDasharray: "2 3", strokeWidth: 1 }),
      Plot.line(rows, { ...line, strokeWidth: 1.3 }),
      Plot.dot(rows.filter(({ radius }) => radius), { ...place, r: "radius", fill: ({ run }) => run.colour }),
      Plot.tip(rows, Plot.pointer({ ...place, title })),
    ],
  });
}

views.push({ id: "training", alone: true, keys: ["a", "b", "more", "epochs_of"], draw: drawCurves });
