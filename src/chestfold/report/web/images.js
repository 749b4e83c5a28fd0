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

/** An image as the page lists it; undefined where it does not. */
function imageOf(row) {
  const byRow = () => new Map(app.cases.shown.map((image) => [image.row, image]));
  return app.once(`shown ${app.table.cases}`, byRow).get(row);
}

function hasPicture(row) {
  return imageOf(row).thumb in app.data.thumbs;
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
  return d3.min(app.table.classes, (_, cls) => {
    const label = app.label(row, cls);
    if (label === 1) return app.prob(run, row, cls);
    return label === 0 && !app.exclusive ? 1 - app.prob(run, row, cls) : NaN;
  });
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

/** The filters: {key, title, rows: the images in it}. An image is in one by the runs that err on it. */
function imageFilters(runs) {
  const errors = app.rows(app.table.runs[0]).map((row) => {
    const seen = runs.filter((run) => hasPredicted(run, row));
    return { row, seen, wrong: seen.filter((run) => isWrong(run, row)) };
  });
  const filter = (key, title, holds) => ({ key, title, rows: errors.filter(holds).map(({ row }) => row) });
  const every = runs.length === 1 ? t("filter_wrong", runs[0].name) : t("filter_every");
  const onlyBy = (run) => filter(`only ${run.name}`, t("filter_only", run.name),
    ({ seen, wrong }) => seen.length > 1 && wrong.length === 1 && wrong[0] === run);
  return [
    filter("", t("filter_all"), () => true),
    filter("every", every, ({ seen, wrong }) => wrong.length > 0 && wrong.length === seen.length),
    ...(runs.length > 1 ? runs.map(onlyBy) : []),
  ];
}

/** The filters, and the images of the chosen one that the page has: those with a picture first, the hardest first. */
function filterImages() {
  const runs = runsByInterest().slice(0, STRIP_RUNS);
  const filters = imageFilters(runs);
  const chosen = filters.find(({ key }) => key === app.state.filter) ?? filters[0];
  const ofTruth = (row) => d3.mean(runs.filter((run) => hasPredicted(run, row)), (run) => probabilityOfTruth(run, row));
  const listed = d3.sort(chosen.rows.filter(imageOf), (row) => !hasPicture(row), (row) => ofTruth(row) ?? 1);
  return { runs, filters, chosen, listed };
}

function drawImages(host) {
  if (!app.cases.shown.length) return;
  const { runs, filters, chosen, listed } = filterImages();
  const chips = filters.map(({ key, title, rows }, n) => {
    const text = `${title} · ${app.number(rows.length)}`;
    return app.button(`filter-${n}`, text, key === chosen.key, () => app.set({ filter: key }));
  });
  const pictured = listed.filter(hasPicture);
  const others = listed.slice(pictured.length);
  host.replaceChildren(
    el("div", { class: "chips", role: "group", "aria-label": t("filter") }, chips),
    app.legend(runs.map((run, n) => [`var(--c${n})`, run.name])),
    el("p", { class: "soft" },
      t("images_shown", listed.length, chosen.rows.length), " ", t("strip_note", stripTitle())),
    el("div", { class: "images" }, pictured.map((row) => imageButton(row, runs))),
    el("p", { class: "soft" }, pictureNote(others.length)),
    el("div", { class: "images listed" }, others.map((row) => imageButton(row, runs))));
}

/** Why pictures are missing, where any is. */
function pictureNote(missing) {
  if (!app.cases.shown.some(({ row }) => hasPicture(row))) return t("no_pictures", app.table.data);
  return missing ? t("some_pictures", missing) : "";
}

/** A picture with its truth and a dot for each run; without a picture a line with the figures. */
function imageButton(row, runs) {
  const { id, thumb } = imageOf(row);
  const seen = runs.filter((run) => hasPredicted(run, row));
  const figures = seen.map((run) => `${run.name} ${stripShare(run, row).toFixed(2)}`).join(", ");
  const styleOf = (run) => `left: ${100 * stripShare(run, row)}%; background: var(--c${runs.indexOf(run)})`;
  const name = el("span", { class: "soft id" }, id.split("/").at(-1));
  const truth = el("strong", {}, labelText(row));
  const strip = el("span", { class: "strip" }, seen.map((run) => el("i", { style: styleOf(run) })));
  const picture = hasPicture(row) && el("img", { src: app.data.thumbs[thumb], alt: "" });
  const attributes = { id: `image-${row}`, class: "image", type: "button", title: `${id}: ${figures}` };
  return el("button", { ...attributes, onclick: () => app.openImage(row) },
    picture ? [picture, truth, strip, name] : [name, truth, el("span", { class: "soft" }, figures)]);
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
