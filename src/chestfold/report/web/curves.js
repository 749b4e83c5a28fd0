// Training, epoch by epoch: of the chosen runs, and of those that are not finished yet.
const NO_METRIC = /^(epoch|train_.*)$/;
const FIRST_METRICS = ["loss", "auc", "accuracy"];
Object.assign(FIRST, { epochs_of: "" });

/** What is drawn, as {name, colour, history: {fold: epochs}, best: {fold: epoch}}. */
function trainings() {
  const finished = chosenOrBest((run) => run.history).filter(({ history }) => history);
  const begun = begunRuns().filter(({ history }) => Object.keys(history).length);
  const colours = d3.range(finished.length, LETTERS.length).map((n) => `var(--c${n})`);
  return [
    ...finished.map((run, n) => ({ ...run, colour: `var(--c${n})`, best: bestEpochs(run) })),
    ...begun.map((run, n) => ({ ...run, colour: colours[n % colours.length], best: {} })),
  ];
}

/** Those that are not finished, on this data or on data without any result. */
function begunRuns() {
  const known = app.data.tables.map(({ data }) => data);
  return app.data.unfinished.filter(({ data }) => data === app.table?.data || !known.includes(data));
}

/** The chosen runs; where none is chosen, the best of those that have what is shown. */
function chosenOrBest(has) {
  return app.chosen.length ? app.chosen : (app.table?.runs ?? []).filter(has).slice(0, 1);
}

function bestEpochs({ history, best_epochs }) {
  const folds = d3.sort(Object.keys(history).map(Number));
  return Object.fromEntries(folds.map((fold, n) => [fold, best_epochs[n]]));
}

function metricsOf(runs) {
  const epochs = runs.flatMap(({ history }) => Object.values(history).flat());
  const found = [...new Set(epochs.flatMap(Object.keys))].filter((name) => !NO_METRIC.test(name));
  return d3.sort(found, (name) => (FIRST_METRICS.indexOf(name) + found.length + 1) % (found.length + 1));
}

/** A row for each epoch of each fold in which a metric was measured. */
function epochRows(runs, metric) {
  const rows = [];
  for (const run of runs) {
    for (const [fold, epochs] of Object.entries(run.history)) {
      const measured = epochs.filter((epoch) => Number.isFinite(epoch[metric]));
      for (const { epoch, [metric]: value } of measured) {
        rows.push({ run, fold, epoch, value, best: run.best[fold] === epoch, only: measured.length === 1 });
      }
    }
  }
  return rows;
}

function drawCurves(host) {
  const runs = trainings();
  const without = app.chosen.filter(({ history }) => !history).map(({ name }) => name);
  if (runs.length) host.append(learning(runs));
  if (without.length) host.append(el("p", { class: "soft" }, t("no_history", without.join(", "))));
  else if (!runs.length) host.append(el("p", { class: "soft" }, t("no_training")));
  host.append(...begunLines());
}

function learning(runs) {
  const metrics = metricsOf(runs);
  const metric = metrics.includes(app.state.epochs_of) ? app.state.epochs_of : metrics[0];
  const choose = choice("epochs_of", t("metric"), metrics, metric, wordOf);
  const legend = app.legend(runs.map(({ name, colour }) => [colour, name]));
  const note = el("p", { class: "soft" }, t("learning_note"));
  return el("div", {}, choose, legend, learningChart(runs, metric), note);
}

/** The word of a key, the key itself where there is none. */
function wordOf(key) {
  return key in TEXT ? t(key) : key.replaceAll("_", " ");
}

function learningChart(runs, metric) {
  const rows = epochRows(runs, metric);
  const place = { x: "epoch", y: "value" };
  const line = { ...place, z: ({ run, fold }) => `${run.name} ${fold}`, stroke: ({ run }) => run.colour };
  const dot = { ...place, fill: ({ run }) => run.colour };
  const title = ({ run, fold, epoch, value }) => t("epoch_tip", run.name, fold, epoch, value.toFixed(4));
  const last = d3.max(rows, ({ epoch }) => epoch);
  const ticks = d3.ticks(1, last, 10).filter(Number.isInteger);
  return app.plot(`${wordOf(metric)}: ${runs.map(({ name }) => name).join(", ")}`, {
    width: 760,
    grid: true,
    color: { type: "identity" },
    x: { label: t("epoch"), domain: [0.8, last + 0.2], ticks, tickFormat: "d" },
    y: { label: wordOf(metric), nice: true },
    marks: [
      Plot.line(epochRows(runs, `train_${metric}`), { ...line, strokeDasharray: "2 3", strokeWidth: 1 }),
      Plot.line(rows, { ...line, strokeWidth: 1.3 }),
      Plot.dot(rows.filter(({ only }) => only), { ...dot, r: 2 }),
      Plot.dot(rows.filter(({ best }) => best), { ...dot, r: 4.5 }),
      Plot.tip(rows, Plot.pointer({ ...place, title })),
    ],
  });
}

/** Of each run that is not finished, how far its folds are. */
function begunLines() {
  return begunRuns().map(({ name, folds }) => {
    const texts = folds.map(({ fold, done, epochs }) => t("epochs_done", fold, done, epochs));
    return el("p", {}, el("strong", {}, name), ` ${t("not_finished")}: ${texts.join(", ")}`);
  });
}

views.push({ id: "training", alone: true, keys: ["a", "b", "more", "epochs_of"], draw: drawCurves });
