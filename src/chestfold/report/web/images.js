// The hardest images of a data set: which runs err on which, and a strip with the probabilities of all runs.
const STRIP_RUNS = 6; // as many dots as can be told apart
Object.assign(FIRST, { filter: "", img: "" });

/** The chosen runs, then the best of the table. */
function runsByInterest() {
  return [...new Set([...app.chosen, ...app.table.runs])];
}

function isBinary() {
  return app.exclusive && app.table.classes.length === 2;
}

function hasPredicted(run, row) {
  return !Number.isNaN(app.prob(run, row, app.classes[0]));
}

function probabilities(run, row) {
  return app.table.classes.map((_, cls) => app.prob(run, row, cls));
}

function mostProbable(run, row) {
  return d3.maxIndex(probabilities(run, row));
}

/** Whether a class is decided for at the page's cut-off. */
function isCalled(run, row, cls) {
  return app.scores(run, cls)[row] >= app.state.t * 600;
}

/** The class that is decided for: of two by the cut-off, of grades the median one, else the most probable. */
function decidedClass(run, row) {
  const { positive, task } = app.table;
  if (isBinary()) return isCalled(run, row, positive) ? positive : 1 - positive;
  if (task !== "ordinal") return mostProbable(run, row);
  const atLeast = (grade) => d3.sum(probabilities(run, row).slice(grade));
  return d3.range(1, app.table.classes.length).filter((grade) => atLeast(grade) >= 0.5).length;
}

/** Whether the decision is not the truth; of several labels whether any is not. */
function isWrong(run, row) {
  if (app.exclusive) return app.label(row, decidedClass(run, row)) === 0;
  return app.classes.some((cls) => {
    const truth = app.label(row, cls);
    return truth !== null && Boolean(truth) !== isCalled(run, row, cls);
  });
}

/** The probability of the truth, of several labels the lowest one; NaN where nothing is known. */
function probabilityOfTruth(run, row) {
  const given = [];
  app.table.classes.forEach((_, cls) => {
    const truth = app.label(row, cls);
    if (truth === 1) given.push(app.prob(run, row, cls));
    if (truth === 0 && !app.exclusive) given.push(1 - app.prob(run, row, cls));
  });
  return d3.min(given) ?? NaN;
}

/** What a strip shows: of two classes the probability of the positive one, else that of the truth. */
function stripShare(run, row) {
  return isBinary() ? app.prob(run, row, app.table.positive) : probabilityOfTruth(run, row);
}

function stripTitle() {
  if (isBinary()) return `P(${app.table.classes[app.table.positive]})`;
  return app.t(app.exclusive ? "p_truth" : "p_lowest");
}

function labelText(row) {
  const labels = app.table.classes.map((_, cls) => app.label(row, cls));
  if (labels.every((label) => label === null)) return app.t("withheld");
  return app.table.classes.filter((_, cls) => labels[cls] === 1).join(" + ") || app.t("no_label");
}

/** Of each image the runs that have predicted it, and those of them that err. */
function errorsByRow(runs) {
  const rows = app.rows(app.table.runs[0]);
  return rows.map((row) => {
    const seen = runs.filter((run) => hasPredicted(run, row));
    return { row, seen, wrong: seen.filter((run) => isWrong(run, row)) };
  });
}

function imageFilters(runs) {
  const all = { key: "", title: app.t("filter_all"), holds: () => true };
  const everyRun = ({ seen, wrong }) => wrong.length > 0 && wrong.length === seen.length;
  if (runs.length === 1) return [all, { key: "every", title: app.t("filter_wrong", runs[0].name), holds: everyRun }];
  const onlyBy = runs.map((run) => ({
    key: `only ${run.name}`,
    title: app.t("filter_only", run.name),
    holds: ({ seen, wrong }) => seen.length > 1 && wrong.length === 1 && wrong[0] === run,
  }));
  return [all, { key: "every", title: app.t("filter_every"), holds: everyRun }, ...onlyBy];
}

/** What the chosen filter leaves, and the images of it that the page has, the hardest first. */
function filterImages() {
  const runs = runsByInterest().slice(0, STRIP_RUNS);
  const errors = errorsByRow(runs);
  const filters = imageFilters(runs).map((filter) => ({ ...filter, rows: errors.filter(filter.holds).map(({ row }) => row) }));
  const chosen = filters.find(({ key }) => key === app.state.filter) ?? filters[0];
  const shown = new Set(app.cases.shown.map(({ row }) => row));
  const listed = d3.sort(chosen.rows.filter((row) => shown.has(row)), (row) => meanOfTruth(runs, row));
  return { runs, filters, chosen, listed };
}

function meanOfTruth(runs, row) {
  return d3.mean(runs.filter((run) => hasPredicted(run, row)), (run) => probabilityOfTruth(run, row)) ?? 1;
}

function drawImages(host) {
  if (!app.cases.shown.length) return;
  const { runs, filters, chosen, listed } = filterImages();
  const chips = filters.map((filter, n) => {
    const choose = () => app.set({ filter: filter.key });
    return app.button(`filter-${n}`, `${filter.title} · ${app.number(filter.rows.length)}`, filter === chosen, choose);
  });
  const pictures = new Map(app.cases.shown.map((image) => [image.row, image]));
  host.append(
    app.el("div", { class: "chips", role: "group", "aria-label": app.t("filter") }, chips),
    app.legend([...runs.map((run) => [stripColour(run, runs), run.name])]),
    app.el("p", { class: "soft" }, imagesNote(chosen.rows.length, listed)),
    app.el("div", { class: "images" }, listed.map((row) => imageCard(pictures.get(row), runs))),
  );
}

function imagesNote(count, listed) {
  const parts = [app.t("images_shown", listed.length, count), app.t("strip_note", stripTitle())];
  if (!app.cases.shown.some(({ thumb }) => app.data.thumbs[thumb])) parts.push(app.t("no_pictures", app.table.data));
  return parts.join(" ");
}

function imageCard({ row, id, thumb }, runs) {
  const uri = app.data.thumbs[thumb];
  const seen = runs.filter((run) => hasPredicted(run, row));
  const figures = seen.map((run) => `${run.name} ${stripShare(run, row).toFixed(2)}`).join(", ");
  const dots = seen.map((run) => {
    const place = `left: ${(100 * stripShare(run, row)).toFixed(1)}%; background: ${stripColour(run, runs)}`;
    return app.el("i", { style: place });
  });
  const open = () => app.openImage(row);
  return app.el("button", { id: `image-${row}`, class: "image", type: "button", title: `${id}: ${figures}`, onclick: open },
    uri ? app.el("img", { src: uri, alt: "" }) : app.el("span", { class: "soft" }, figures),
    app.el("strong", {}, labelText(row)),
    app.el("span", { class: "strip", "aria-hidden": "true" }, dots),
    app.el("span", { class: "soft id" }, id.split("/").at(-1)));
}

/** Chosen runs have their colour of the whole page, the others those that are left. */
function stripColour(run, runs) {
  if (app.chosen.includes(run)) return app.colour(run);
  const others = runs.filter((other) => !app.chosen.includes(other));
  return `var(--c${app.chosen.length + others.indexOf(run)})`;
}

views.push({ id: "images", keys: ["a", "b", "more", "t", "filter"], draw: drawImages });
