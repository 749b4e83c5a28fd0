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
const look = { ...UNTOUCHED, opacity: 0.5, target: 1, contours: true, cells: false, outlines: true };

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
  const dialog = open ?? makeDialog();
  Object.assign(look, { zoom: 1, x: 0, y: 0 });
  fillViewer(dialog, row, filterImages().listed);
}

function makeDialog() {
  const dialog = el("dialog", { class: "viewer", "aria-labelledby": "viewer-title" });
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (app.state.img !== "") app.set({ img: "" });
  });
  const isWide = innerWidth >= 700;
  Object.assign(look, { panel_0: isWide, panel_1: true, panel_2: isWide });
  dialog.showModal();
  return dialog;
}

async function fillViewer(dialog, row, listed) {
  dialog.onkeydown = (event) => turnOver(event, row, listed);
  const image = app.cases.shown.find((one) => one.row === row);
  const uri = image && app.data.thumbs[image.thumb];
  const picture = uri ? await loadPicture(uri) : null;
  if (app.state.img !== String(row)) return; // another one was asked for meanwhile
  const focused = document.activeElement.id;
  const facts = el("div", { class: "facts" }, caseFacts(row), probabilityTable(row));
  dialog.replaceChildren(
    viewerHead(dialog, row, listed, image),
    ...(picture ? [pictureParts(picture, image, facts)] : [el("p", { class: "soft" }, t("no_picture")), facts]),
    el("strong", {}, t("not_clinical")));
  const again = document.getElementById(focused);
  const places = [again, dialog.querySelector(".stage"), ...dialog.querySelectorAll("button")];
  places.find((node) => node && !node.disabled).focus();
}

/** Arrow keys go to the image before or after, unless they move a slider. */
function turnOver(event, row, listed) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.target.matches("input, select")) return;
  event.preventDefault();
  const next = listed[listed.indexOf(row) + step];
  if (next !== undefined) app.openImage(next);
}

/** A button with a sign, whose name is for screen readers and for a pointer that rests on it. */
function signButton(id, sign, disabled, onclick) {
  const name = t(id);
  return el("button", { id, type: "button", "aria-label": name, title: name, disabled, onclick }, sign);
}

function viewerHead(dialog, row, listed, image) {
  const place = listed.indexOf(row);
  const last = place < 0 || place + 1 === listed.length;
  return el("div", { class: "viewer-head" },
    el("h3", { id: "viewer-title" }, image ? image.id : t("image_number", row + 1)),
    place >= 0 && el("span", { class: "soft" }, t("place", place + 1, listed.length)),
    signButton("image_before", "‹", place <= 0, () => app.openImage(listed[place - 1])),
    signButton("image_after", "›", last, () => app.openImage(listed[place + 1])),
    signButton("close", "✕", false, () => dialog.close()));
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
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return { canvas, context, pixels: context.getImageData(0, 0, image.width, image.height) };
}

/** The stage with its panels, the picture itself first, and the controls. */
function pictureParts(picture, image, facts) {
  const { row } = image;
  const mapped = runsByInterest().filter((run) => run.maps?.of[row]).slice(0, 2);
  const panels = [null, ...mapped];
  const stage = el("div", { class: "stage", tabindex: 0, role: "group", "aria-label": t("stage") });
  const redraw = () => drawStage(stage, picture, panels, image);
  listenToMouse(stage, redraw);
  redraw();
  const titles = panels.map((run) => (run ? t("map_by", run.name) : t("untouched")));
  const switches = titles.map((title, number) => lookCheckbox(`panel_${number}`, title, redraw));
  const shown = el("div", {}, el("div", { class: "chips" }, mapped.length ? switches : []), stage);
  const maps = mapped.length ? mapControls(redraw) : el("p", { class: "soft" }, t("no_maps"));
  return el("div", { class: "looking" }, shown, el("div", { class: "controls" }, toneControls(redraw), outlineControls(image, redraw), maps), facts);
}

function drawStage(stage, picture, panels, image) {
  const toned = applyWindow(picture);
  const seen = panels.filter((_, number) => look[`panel_${number}`]);
  stage.style.touchAction = look.zoom > 1 ? "none" : "";
  stage.replaceChildren(...(seen.length ? seen : panels.slice(0, 1)).map((panel) => drawPanel(panel, toned, image)));
}

/** The picture with its grey levels spread: below the window black, above it white. */
function applyWindow({ canvas, context, pixels }) {
  const low = look.level - look.window / 2;
  const shades = Uint8ClampedArray.from({ length: 256 }, (_, grey) => (grey - low) / look.window * 256);
  const toned = new ImageData(pixels.width, pixels.height);
  pixels.data.forEach((value, n) => { toned.data[n] = n % 4 === 3 ? 255 : shades[value]; });
  context.putImageData(toned, 0, 0);
  return canvas;
}

function drawPanel(run, toned, { row, outlines }) {
  const scale = PANEL / Math.max(toned.width, toned.height);
  const width = Math.round(toned.width * scale);
  const height = Math.round(toned.height * scale);
  const caption = run ? `${mapTitle(run, row)} · ${run.date}` : t("untouched");
  const canvas = el("canvas", { width, height, role: "img", "aria-label": caption });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  place(context);
  context.drawImage(toned, 0, 0, 1, 1);
  if (run) drawHeat(context, run.maps, mapOf(run, row));
  if (look.outlines) drawOutlines(context, outlines);
  return el("figure", {}, canvas, el("figcaption", {}, caption), run ? colourBar() : []);
}

/** Let the context draw, as zoomed and moved, in a square with sides of `size`: the picture, or its middle `part`. */
function place(context, size = 1, part = 1) {
  const { width, height } = context.canvas;
  const [across, down] = [width * look.zoom, height * look.zoom];
  const margin = (1 - part) / 2;
  const scale = part / size;
  context.setTransform(across * scale, 0, 0, down * scale, (margin - look.x) * across, (margin - look.y) * down);
}

// Heat maps

function mostProbable(run, row) {
  return d3.maxIndex(app.table.classes, (_, cls) => app.prob(run, row, cls));
}

function mapTitle(run, row) {
  const cls = look.target === 1 ? Math.max(0, app.table.positive) : mostProbable(run, row);
  const key = d3.max(mapOf(run, row)) > 0 ? "map_of" : "map_empty";
  return t(key, `${app.letter(run)} ${run.name}`.trim(), app.table.classes[cls]);
}

/** The cells of a map row by row, 0 to 255. */
function mapOf(run, row) {
  const cells = run.maps.rows * run.maps.cols;
  return Array.from(decode(run.maps.of[row], Uint8Array)).slice(look.target * cells, (look.target + 1) * cells);
}

/** HEAT by HEAT values from 0 to 1, bilinear between the middles of the cells. */
function enlarge(cells, rows, cols) {
  const values = new Float64Array(HEAT * HEAT);
  for (let y = 0; y < HEAT; y += 1) {
    const [above, below, down] = neighbours(y, rows);
    for (let x = 0; x < HEAT; x += 1) {
      const [left, right, across] = neighbours(x, cols);
      const between = (row) => cells[row * cols + left] * (1 - across) + cells[row * cols + right] * across;
      values[y * HEAT + x] = (between(above) * (1 - down) + between(below) * down) / 255;
    }
  }
  return values;
}

/** Of a pixel of HEAT along `count` cells: the two cells nearest, and how far it is from the first to the second. */
function neighbours(pixel, count) {
  const at = Math.min(Math.max((pixel + 0.5) * count / HEAT - 0.5, 0), count - 1);
  const first = Math.floor(at);
  return [first, Math.min(first + 1, count - 1), at - first];
}

function drawHeat(context, { rows, cols, part }, cells) {
  const smooth = enlarge(cells, rows, cols);
  const layer = look.cells ? colourLayer(cells.map((cell) => cell / 255), cols, rows) : colourLayer(smooth, HEAT, HEAT);
  place(context, 1, part);
  context.imageSmoothingEnabled = !look.cells;
  context.drawImage(layer, 0, 0, 1, 1);
  const draw = (size, shape, colour, width) => stroke(context, () => place(context, size, part), shape, colour, width);
  if (look.cells) draw(1, gridLines(rows, cols), "rgba(255, 255, 255, 0.4)", 1);
  const contours = look.contours && d3.max(cells) > 0 ? contoursOf(smooth) : [];
  contours.forEach((contour, n) => draw(HEAT, contour, `rgb(${HUE})`, 1.5 + 1.5 * n));
}

/** A picture of one colour whose opacity is the map. */
function colourLayer(values, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const layer = new ImageData(width, height);
  values.forEach((value, n) => layer.data.set([...HUE, 255 * value * look.opacity], 4 * n));
  canvas.getContext("2d").putImageData(layer, 0, 0);
  return canvas;
}

/** Lines around CONTOURS of the maximum. */
function contoursOf(values) {
  const levels = CONTOURS.map((share) => share * d3.max(values));
  return d3.contours().size([HEAT, HEAT]).thresholds(levels)(values);
}

/** Lines around the lungs and the lesion, where they are known. */
function drawOutlines(context, outlines) {
  for (const [kind, text] of Object.entries(outlines)) {
    const bits = Array.from(decode(text, Uint8Array)).flatMap((byte) => d3.range(8).map((n) => (byte >> (7 - n)) & 1));
    const side = Math.sqrt(bits.length);
    const line = d3.contours().size([side, side]).contour(bits, 0.5);
    stroke(context, () => place(context, side), line, OUTLINES[kind], 2);
  }
}

function gridLines(rows, cols) {
  const across = d3.range(rows + 1).map((n) => [[0, n / rows], [1, n / rows]]);
  const down = d3.range(cols + 1).map((n) => [[n / cols, 0], [n / cols, 1]]);
  return { type: "MultiLineString", coordinates: [...across, ...down] };
}

/** Lines in the coordinates that `placed` sets, by a pen that does not grow with the zoom. */
function stroke(context, placed, shape, colour, width) {
  context.beginPath();
  placed();
  d3.geoPath(null, context)(shape);
  context.resetTransform();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

function colourBar() {
  const colours = `linear-gradient(90deg, transparent, rgba(${HUE}, ${look.opacity}))`;
  const ticks = [0, ...CONTOURS, 1].map((share) => el("span", { style: `left: ${100 * share}%` }, `${100 * share}`));
  return el("div", { class: "colours" },
    el("div", { class: "bar", style: `background-image: ${colours}` }, ticks), el("small", {}, t("of_maximum")));
}

// The controls

function lookSlider(name, range, redraw) {
  const { show, node } = slider(name, range, (value) => {
    look[name] = value;
    show(value, value);
    redraw();
  });
  show(look[name], look[name]);
  return node;
}

function lookCheckbox(name, text, redraw) {
  const onchange = () => {
    look[name] = input.checked;
    redraw();
  };
  const input = el("input", { id: name, type: "checkbox", checked: look[name], onchange });
  return el("label", { class: "check" }, input, text);
}

function toneControls(redraw) {
  const zoom = (factor) => {
    zoomAt(0.5, 0.5, factor);
    redraw();
  };
  const reset = () => {
    Object.assign(look, UNTOUCHED);
    showViewer();
  };
  return el("fieldset", {}, el("legend", {}, t("tones")),
    lookSlider("level", { min: 0, max: 255 }, redraw),
    lookSlider("window", { min: 2, max: 512, step: 2 }, redraw),
    signButton("zoom_in", "+", false, () => zoom(ZOOM_STEP)),
    signButton("zoom_out", "−", false, () => zoom(1 / ZOOM_STEP)),
    signButton("as_it_was", t("as_it_was"), false, reset));
}

/** Nothing where no outline is known. */
function outlineControls({ outlines }, redraw) {
  const kinds = Object.keys(outlines);
  if (!kinds.length) return "";
  return el("div", {}, lookCheckbox("outlines", t("outlines"), redraw),
    app.legend(kinds.map((kind) => [OUTLINES[kind], t(kind)])));
}

function mapControls(redraw) {
  const names = [t("predicted_class"), app.table.classes[Math.max(0, app.table.positive)]];
  const options = names.map((name, number) => el("option", { selected: number === look.target }, name));
  const onchange = (event) => {
    look.target = event.target.selectedIndex;
    redraw();
  };
  return el("fieldset", {}, el("legend", {}, t("heat_maps")),
    el("label", {}, t("map_class"), " ", el("select", { id: "target", onchange }, options)),
    lookSlider("opacity", { min: 0, max: 1, step: 0.05 }, redraw),
    lookCheckbox("contours", t("contours"), redraw), lookCheckbox("cells", t("cells"), redraw));
}

// Zoom and pan

/** What lies under (x, y), in shares of a panel, stays there. */
function zoomAt(x, y, factor) {
  const zoom = Math.min(Math.max(look.zoom * factor, 1), MOST_ZOOM);
  look.x += x / look.zoom - x / zoom;
  look.y += y / look.zoom - y / zoom;
  look.zoom = zoom;
  panBy(0, 0);
}

/** By shares of a panel, never beyond the picture's edge. */
function panBy(x, y) {
  const most = 1 - 1 / look.zoom;
  look.x = Math.min(Math.max(look.x - x / look.zoom, 0), most);
  look.y = Math.min(Math.max(look.y - y / look.zoom, 0), most);
}

/** The wheel and + and - zoom, dragging moves. */
function listenToMouse(stage, redraw) {
  const zoom = (x, y, factor) => {
    zoomAt(x, y, factor);
    redraw();
  };
  stage.addEventListener("wheel", (event) => {
    if (!event.target.matches("canvas")) return;
    event.preventDefault();
    const { left, top, width, height } = event.target.getBoundingClientRect();
    zoom((event.clientX - left) / width, (event.clientY - top) / height, Math.exp(-event.deltaY / 400));
  });
  stage.addEventListener("keydown", ({ key }) => {
    if (key === "+" || key === "-") zoom(0.5, 0.5, key === "+" ? ZOOM_STEP : 1 / ZOOM_STEP);
  });
  stage.addEventListener("pointerdown", ({ pointerId }) => stage.setPointerCapture(pointerId));
  stage.addEventListener("pointermove", ({ buttons, movementX, movementY }) => {
    if (!buttons || look.zoom === 1) return;
    const { width, height } = stage.querySelector("canvas").getBoundingClientRect();
    panBy(movementX / width, movementY / height);
    redraw();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  showViewer();
  addEventListener("popstate", showViewer);
});
