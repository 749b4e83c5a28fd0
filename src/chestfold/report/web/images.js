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
  return app.scores(run, app.classes[0])[row] !== MISSING;
}

/** The classes that are decided for: labels and one of two classes by the page's cut-off, of grades the median one. */
function decidedClasses(run, row) {
  const { classes, positive, task } = app.table;
  const parts = classes.map((_, cls) => app.scores(run, cls)[row]);
  const isCalled = (cls) => parts[cls] >= app.state.t * 600;
  if (!app.exclusive) return app.classes.filter(isCalled);
  if (isBinary()) return [isCalled(positive) ? positive : 1 - positive];
  if (task !== "ordinal") return [d3.maxIndex(parts)];
  return [d3.range(1, classes.length).filter((grade) => d3.sum(parts.slice(grade)) >= PARTS / 2).length];
}

/** Whether a decision is not the truth, as far as that is known. */
function isWrong(run, row) {
  const decided = decidedClasses(run, row);
  return app.table.classes.some((_, cls) => {
    const label = app.label(row, cls);
    return label !== null && Boolean(label) !== decided.includes(cls);
  });
}

/** The probability of the truth, of several labels the lowest one; undefined where nothing is known. */
function probabilityOfTruth(run, row) {
  const given = app.table.classes.map((_, cls) => {
    const label = app.label(row, cls);
    if (label === 1) return app.prob(run, row, cls);
    return label === 0 && !app.exclusive ? 1 - app.prob(run, row, cls) : NaN;
  });
  return d3.min(given);
}

/** What a strip shows: of two classes the probability of the positive one, else that of the truth. */
function stripShare(run, row) {
  return isBinary() ? app.prob(run, row, app.table.positive) : probabilityOfTruth(run, row) ?? NaN;
}

function stripTitle() {
  if (isBinary()) return `P(${app.table.classes[app.table.positive]})`;
  return t(app.exclusive ? "p_truth" : "p_lowest");
}

function namesOf(numbers) {
  return numbers.map((cls) => app.table.classes[cls]).join(" + ") || t("no_label");
}

function labelText(row) {
  const numbers = d3.range(app.table.classes.length);
  if (numbers.every((cls) => app.label(row, cls) === null)) return t("withheld");
  return namesOf(numbers.filter((cls) => app.label(row, cls) === 1));
}

/** Of each image the runs that have predicted it, and those of them that err. */
function errorsByRow(runs) {
  return app.rows(app.table.runs[0]).map((row) => {
    const seen = runs.filter((run) => hasPredicted(run, row));
    return { row, seen, wrong: seen.filter((run) => isWrong(run, row)) };
  });
}

/** {key, title, holds: whether an image is in it}. */
function imageFilters(runs) {
  const all = { key: "", title: t("filter_all"), holds: () => true };
  const everyRun = ({ seen, wrong }) => wrong.length > 0 && wrong.length === seen.length;
  if (runs.length === 1) return [all, { key: "every", title: t("filter_wrong", runs[0].name), holds: everyRun }];
  const onlyBy = runs.map((run) => ({
    key: `only ${run.name}`,
    title: t("filter_only", run.name),
    holds: ({ seen, wrong }) => seen.length > 1 && wrong.length === 1 && wrong[0] === run,
  }));
  return [all, { key: "every", title: t("filter_every"), holds: everyRun }, ...onlyBy];
}

/** The filters with their rows, and the images of the chosen one that the page has, the hardest first. */
function filterImages() {
  const runs = runsByInterest().slice(0, STRIP_RUNS);
  const errors = errorsByRow(runs);
  const rowsIn = ({ holds }) => errors.filter(holds).map(({ row }) => row);
  const filters = imageFilters(runs).map((filter) => ({ ...filter, rows: rowsIn(filter) }));
  const chosen = filters.find(({ key }) => key === app.state.filter) ?? filters[0];
  const ofTruth = (row) => d3.mean(runs.filter((run) => hasPredicted(run, row)), (run) => probabilityOfTruth(run, row));
  const pictured = new Set(app.cases.shown.map(({ row }) => row));
  const listed = d3.sort(chosen.rows.filter((row) => pictured.has(row)), (row) => ofTruth(row) ?? 1);
  return { runs, filters, chosen, listed };
}

function drawImages(host) {
  if (!app.cases.shown.length) return;
  const { runs, filters, chosen, listed } = filterImages();
  const chips = filters.map((filter, n) => {
    const text = `${filter.title} · ${app.number(filter.rows.length)}`;
    return app.button(`filter-${n}`, text, filter === chosen, () => app.set({ filter: filter.key }));
  });
  const images = new Map(app.cases.shown.map((image) => [image.row, image]));
  host.replaceChildren(
    el("div", { class: "chips", role: "group", "aria-label": t("filter") }, chips),
    app.legend(runs.map((run) => [stripColour(run, runs), run.name])),
    el("p", { class: "soft" }, `${t("images_shown", listed.length, chosen.rows.length)} ${pictureNote(listed, images)}`,
      el("br"), t("strip_note", stripTitle())),
    el("div", { class: "images" }, listed.map((row) => imageCard(images.get(row), runs))));
}

/** Why pictures are missing, where any is. */
function pictureNote(listed, images) {
  const hasPicture = (image) => image.thumb in app.data.thumbs;
  if (!app.cases.shown.some(hasPicture)) return t("no_pictures", app.table.data);
  const missing = listed.filter((row) => !hasPicture(images.get(row))).length;
  return missing ? t("some_pictures", missing) : "";
}

function imageCard({ row, id, thumb }, runs) {
  const seen = runs.filter((run) => hasPredicted(run, row));
  const figures = seen.map((run) => `${run.name} ${stripShare(run, row).toFixed(2)}`).join(", ");
  const placeOf = (run) => `left: ${(100 * stripShare(run, row)).toFixed(1)}%; background: ${stripColour(run, runs)}`;
  const uri = app.data.thumbs[thumb];
  const title = `${id}: ${figures}`;
  return el("button", { id: `image-${row}`, class: "image", type: "button", title, onclick: () => app.openImage(row) },
    uri ? el("img", { src: uri, alt: "" }) : el("span", { class: "soft" }, figures),
    el("strong", {}, labelText(row)),
    el("span", { class: "strip" }, seen.map((run) => el("i", { style: placeOf(run) }))),
    el("span", { class: "soft id" }, id.split("/").at(-1)));
}

/** Chosen runs have their colour of the whole page, the others those that are left. */
function stripColour(run, runs) {
  if (app.chosen.includes(run)) return app.colour(run);
  const others = runs.filter((other) => !app.chosen.includes(other));
  return `var(--c${app.chosen.length + others.indexOf(run)})`;
}

views.push({
  id: "images",
  keys: ["a", "b", "more", "filter"],
  light: ["t"],
  draw(host) {
    drawImages(host);
    let timer = 0;
    return () => { // pictures are drawn anew when the slider rests
      clearTimeout(timer);
      timer = setTimeout(() => drawImages(host), 150);
    };
  },
});
