// One image in a dialog: zoom, window and level, the probabilities of all runs, heat maps beside the picture.
const PANEL = 640; // pixels of a panel's longer side
const HEAT = 128; // pixels a side of an enlarged heat map
const HUE = [255, 122, 0]; // the one colour of every heat map
const CONTOURS = [0.5, 0.8]; // shares of a map's maximum
const OUTLINES = { lungs: "#4fc3f7", lesion: "#ffeb3b" }; // on grey, beside HUE
const MOST_ZOOM = 16;
const ZOOM_STEP = 1.5;
const UNTOUCHED = { level: 128, window: 256, zoom: 1, x: 0, y: 0 };

/** How images are looked at, all panels alike. x, y: the upper left corner in shares of the picture's sides; `target`:
 * 0 for the map of the predicted class, 1 for that of the positive one; `panel_0` (the picture) to 2: what is seen. */
const look = { ...UNTOUCHED, opacity: 0.5, target: 1, contours: true, outlines: true, redraw: null };

function changeLook(changes) {
  Object.assign(look, changes);
  look.redraw();
}

app.openImage = (row) => {
  app.set({ img: String(row) });
  showViewer();
};

/** The dialog follows the address: open on an image, or closed. */
function showViewer() {
  const open = document.querySelector("dialog.viewer");
  const row = app.state.img === "" ? -1 : Number(app.state.img);
  if (!app.table || !(row in app.cases.folds)) {
    open?.close();
    return;
  }
  Object.assign(look, { zoom: 1, x: 0, y: 0 });
  fillViewer(open ?? makeDialog(), row, filterImages().listed);
}

function makeDialog() {
  const onclose = ({ target }) => {
    target.remove();
    if (app.state.img !== "") app.set({ img: "" });
  };
  const dialog = el("dialog", { class: "viewer", "aria-labelledby": "viewer-title", onclose, onkeydown: turnOver });
  const isWide = innerWidth >= 700;
  Object.assign(look, { panel_0: isWide, panel_1: true, panel_2: isWide });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Arrow keys go to the image before or after, unless they move a slider. */
function turnOver(event) {
  const button = { ArrowLeft: "image_before", ArrowRight: "image_after" }[event.key];
  if (!button || event.target.matches("input, select")) return;
  event.preventDefault();
  document.getElementById(button).click();
}

async function fillViewer(dialog, row, listed) {
  const image = imageOf(row) ?? { row, id: t("image_number", row + 1) };
  const uri = app.data.thumbs[image.thumb];
  const picture = uri && await loadPicture(uri);
  if (app.state.img !== String(row)) return; // another one was asked for meanwhile
  const focused = document.activeElement.id;
  const facts = el("div", { class: "facts" }, caseFacts(row), probabilityTable(row));
  dialog.replaceChildren(
    viewerHead(dialog, image, listed),
    ...(picture ? [pictureParts(picture, image, facts)] : [el("p", { class: "soft" }, t("no_picture")), facts]),
    el("strong", {}, t("not_clinical")));
  const places = [focused && `#${focused}`, ".stage", "#close"].map((place) => place && dialog.querySelector(place));
  places.find((node) => node && !node.disabled).focus();
}

/** A button with a sign, whose name is for screen readers and for a pointer that rests on it. */
function signButton(id, sign, onclick, disabled = false) {
  const name = t(id);
  return el("button", { id, type: "button", "aria-label": name, title: name, disabled, onclick }, sign);
}

function viewerHead(dialog, { row, id }, listed) {
  const place = listed.indexOf(row);
  const [before, after] = place < 0 ? [] : [listed[place - 1], listed[place + 1]];
  return el("div", { class: "viewer-head" },
    el("h3", { id: "viewer-title" }, id),
    place >= 0 && el("span", { class: "soft" }, t("place", place + 1, listed.length)),
    signButton("image_before", "‹", () => app.openImage(before), before === undefined),
    signButton("image_after", "›", () => app.openImage(after), after === undefined),
    signButton("close", "✕", () => dialog.close()));
}

function caseFacts(row) {
  const { folds, groups, subgroups } = app.cases;
  const images = groups.filter((group) => group === groups[row]).length;
  const facts = [[t("truth"), labelText(row)], [t("fold"), folds[row]], [t("patient"), t("patient_images", images)]];
  for (const { name, values, codes } of subgroups) {
    if (codes[row] !== UNKNOWN) facts.push([name, values[codes[row]]]);
  }
  return el("dl", {}, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function probabilityTable(row) {
  const { classes } = app;
  const head = [t("run"), ...classes.map((cls) => `P(${app.table.classes[cls]})`), t("at_cutoff", app.state.t / 100)];
  const rows = runsByInterest().filter((run) => hasPredicted(run, row)).map((run) => {
    const verdict = isWrong(run, row) ? "decided_wrong" : "decided_right";
    const figures = classes.map((cls) => app.prob(run, row, cls).toFixed(3));
    return [run.name, ...figures, t(verdict, namesOf(decidedClasses(run, row)))];
  });
  return gridTable({ title: t("probabilities"), head, rows, figures_from: head.length });
}

// The panels

async function loadPicture(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const context = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return { context, pixels: context.getImageData(0, 0, image.width, image.height) };
}

/** The stage with its panels, the picture itself first, and the controls. */
function pictureParts(picture, image, facts) {
  const mapped = runsByInterest().filter((run) => run.maps?.of[image.row]).slice(0, 2);
  const panels = [null, ...mapped];
  const stage = el("div", { class: "stage", tabindex: 0, role: "group", "aria-label": t("stage") });
  look.redraw = () => drawStage(stage, picture, panels, image);
  listenTo(stage);
  look.redraw();
  const switches = panels.map((run, number) =>
    lookCheckbox(`panel_${number}`, run ? t("map_by", run.name) : t("untouched")));
  const maps = mapped.length ? mapControls() : el("p", { class: "soft" }, t("no_maps"));
  return el("div", { class: "looking" },
    el("div", {}, mapped.length > 0 && el("div", { class: "chips" }, switches), stage),
    el("div", { class: "controls" }, toneControls(), outlineControls(image), maps), facts);
}

function drawStage(stage, picture, panels, image) {
  applyWindow(picture);
  const seen = panels.filter((_, number) => look[`panel_${number}`]);
  stage.style.touchAction = look.zoom > 1 ? "none" : "";
  stage.replaceChildren(...(seen.length ? seen : [null]).map((run) => drawPanel(run, picture.context.canvas, image)));
}

/** Spread the grey levels of the picture: below the window black, above it white. */
function applyWindow({ context, pixels }) {
  const low = look.level - look.window / 2;
  const shades = Uint8ClampedArray.from({ length: 256 }, (_, grey) => (grey - low) / look.window * 256);
  const toned = pixels.data.map((value, n) => (n % 4 === 3 ? 255 : shades[value]));
  context.putImageData(new ImageData(toned, pixels.width), 0, 0);
}

function drawPanel(run, toned, { row, outlines }) {
  const scale = PANEL / Math.max(toned.width, toned.height);
  const caption = run ? `${mapTitle(run, row)} · ${run.date}` : t("untouched");
  const canvas = el("canvas", { width: Math.round(toned.width * scale), height: Math.round(toned.height * scale),
    role: "img", "aria-label": caption });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  place(context);
  context.drawImage(toned, 0, 0, 1, 1);
  if (run) drawHeat(context, run.maps, mapOf(run, row));
  if (look.outlines) drawOutlines(context, outlines);
  return el("figure", {}, canvas, el("figcaption", {}, caption), run && colourBar());
}

/** Let the context draw, as zoomed and moved, in a square with sides of `size`: the picture, or its middle `part`. */
function place(context, size = 1, part = 1) {
  const { width, height } = context.canvas;
  const [across, down] = [width * look.zoom, height * look.zoom];
  const margin = (1 - part) / 2;
  const scale = part / size;
  context.setTransform(across * scale, 0, 0, down * scale, (margin - look.x) * across, (margin - look.y) * down);
}

/** Lines in the square that `place` has set, by a pen that does not grow with the zoom. */
function stroke(context, shape, colour, width) {
  context.beginPath();
  d3.geoPath(null, context)(shape);
  context.save();
  context.resetTransform();
  Object.assign(context, { strokeStyle: colour, lineWidth: width });
  context.stroke();
  context.restore();
}

function mapTitle(run, row) {
  const { classes, positive } = app.table;
  const predicted = d3.maxIndex(classes, (_, cls) => app.prob(run, row, cls));
  const key = d3.max(mapOf(run, row)) > 0 ? "map_of" : "map_empty";
  return t(key, `${app.letter(run)} ${run.name}`.trim(), classes[look.target ? Math.max(0, positive) : predicted]);
}

/** The cells of a map row by row, 0 to 255. */
function mapOf(run, row) {
  const cells = run.maps.rows * run.maps.cols;
  return decode(run.maps.of[row], Uint8Array).subarray(look.target * cells, (look.target + 1) * cells);
}

/** One colour whose opacity is the map, with lines around CONTOURS of the maximum. */
function drawHeat(context, { rows, cols, part }, cells) {
  const coloured = Uint8ClampedArray.from([...cells].flatMap((cell) => [...HUE, cell]));
  const small = new OffscreenCanvas(cols, rows).getContext("2d");
  small.putImageData(new ImageData(coloured, cols), 0, 0);
  const large = new OffscreenCanvas(HEAT, HEAT).getContext("2d");
  large.drawImage(small.canvas, 0, 0, HEAT, HEAT); // the browser interpolates between the cells
  place(context, 1, part);
  context.globalAlpha = look.opacity;
  context.drawImage(large.canvas, 0, 0, 1, 1);
  context.globalAlpha = 1;
  const values = large.getImageData(0, 0, HEAT, HEAT).data.filter((_, n) => n % 4 === 3);
  const highest = d3.max(values);
  if (!look.contours || highest === 0) return;
  place(context, HEAT, part);
  CONTOURS.forEach((share, n) => {
    const line = d3.contours().size([HEAT, HEAT]).contour(values, share * highest);
    stroke(context, line, `rgb(${HUE})`, 1.5 + 1.5 * n);
  });
}

/** Lines around the lungs and the lesion, where they are known. */
function drawOutlines(context, outlines) {
  for (const [kind, text] of Object.entries(outlines)) {
    const bits = [...decode(text, Uint8Array)].flatMap((byte) => d3.range(8).map((n) => (byte >> (7 - n)) & 1));
    const side = Math.sqrt(bits.length);
    place(context, side);
    stroke(context, d3.contours().size([side, side]).contour(bits, 0.5), OUTLINES[kind], 2);
  }
}

function colourBar() {
  const colours = `linear-gradient(90deg, transparent, rgba(${HUE}, ${look.opacity}))`;
  const ticks = [0, ...CONTOURS, 1].map((share) => el("span", { style: `left: ${100 * share}%` }, `${100 * share}`));
  return el("div", { class: "colours" },
    el("div", { class: "bar", style: `background-image: ${colours}` }, ticks), el("small", {}, t("of_maximum")));
}

// The controls

function lookSlider(name, range) {
  const { show, node } = slider(name, range, (value) => {
    show(value, value);
    changeLook({ [name]: value });
  });
  show(look[name], look[name]);
  return node;
}

function lookCheckbox(name, text) {
  const onchange = ({ target }) => changeLook({ [name]: target.checked });
  const input = el("input", { id: name, type: "checkbox", checked: look[name], onchange });
  return el("label", { class: "check" }, input, text);
}

function toneControls() {
  const reset = () => {
    Object.assign(look, UNTOUCHED);
    showViewer();
  };
  return el("fieldset", {}, el("legend", {}, t("tones")),
    lookSlider("level", { min: 0, max: 255 }),
    lookSlider("window", { min: 2, max: 512, step: 2 }),
    signButton("zoom_in", "+", () => zoomAndMove({ factor: ZOOM_STEP })),
    signButton("zoom_out", "−", () => zoomAndMove({ factor: 1 / ZOOM_STEP })),
    signButton("as_it_was", t("as_it_was"), reset));
}

/** Nothing where no outline is known. */
function outlineControls({ outlines }) {
  const keys = Object.keys(outlines).map((kind) => [OUTLINES[kind], t(kind)]);
  return keys.length > 0 && el("div", {}, lookCheckbox("outlines", t("outlines")), app.legend(keys));
}

function mapControls() {
  const nameOf = (target) => (target ? app.table.classes[Math.max(0, app.table.positive)] : t("predicted_class"));
  const setTarget = (text) => changeLook({ target: Number(text) });
  return el("fieldset", {}, el("legend", {}, t("heat_maps")),
    choice("target", t("map_class"), [0, 1], look.target, setTarget, nameOf),
    lookSlider("opacity", { min: 0, max: 1, step: 0.05 }),
    lookCheckbox("contours", t("contours")));
}

/** Zoom about a place and move, all in shares of a panel, never beyond the picture's edge. */
function zoomAndMove({ factor = 1, x = 0.5, y = 0.5, right = 0, down = 0 }) {
  const zoom = Math.min(Math.max(look.zoom * factor, 1), MOST_ZOOM);
  const inside = (corner) => Math.min(Math.max(corner, 0), 1 - 1 / zoom);
  changeLook({
    x: inside(look.x + x / look.zoom - (x + right) / zoom),
    y: inside(look.y + y / look.zoom - (y + down) / zoom),
    zoom,
  });
}

/** The wheel zooms, dragging moves. */
function listenTo(stage) {
  stage.addEventListener("wheel", (event) => {
    if (!event.target.matches("canvas")) return;
    event.preventDefault();
    const { left, top, width, height } = event.target.getBoundingClientRect();
    const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
    zoomAndMove({ factor: Math.exp(-event.deltaY / 400), x, y });
  });
  stage.addEventListener("pointerdown", ({ pointerId }) => stage.setPointerCapture(pointerId));
  stage.addEventListener("pointermove", ({ buttons, movementX, movementY }) => {
    if (!buttons || look.zoom === 1) return;
    const { width, height } = stage.querySelector("canvas").getBoundingClientRect();
    zoomAndMove({ right: movementX / width, down: movementY / height });
  });
}

document.addEventListener("DOMContentLoaded", () => {
  showViewer();
  addEventListener("popstate", showViewer);
});
