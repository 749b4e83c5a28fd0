// One image in a dialog: zoom, window and level, the probabilities of all runs, heat maps beside the picture.
const PANEL = 640; // pixels of a panel's longer side
const HEAT = 128; // pixels a side of an enlarged heat map
const HUE = [255, 122, 0]; // the one colour of every heat map
const CONTOURS = [0.5, 0.8]; // shares of a map's maximum
const MOST_ZOOM = 16;
const ZOOM_STEP = 1.5;
const UNTOUCHED = { level: 128, window: 256, zoom: 1, x: 0, y: 0 };

/** How images are looked at, all panels alike. x, y: the upper left corner in shares of the picture's sides; `target`:
 * 0 for the map of the predicted class, 1 for that of the positive one; `hidden`: numbers of panels, 0: the picture. */
const look = { ...UNTOUCHED, opacity: 0.5, target: 1, contours: true, cells: false, hidden: new Set() };

app.openImage = (row) => {
  app.set({ img: String(row) });
  showViewer();
};

/** The dialog follows the address: open on an image, or closed. */
function showViewer() {
  const open = document.querySelector("dialog.viewer");
  const row = app.state.img === "" ? -1 : Number(app.state.img);
  if (!(row in app.cases.folds)) {
    open?.close();
    return;
  }
  const dialog = open ?? makeDialog();
  Object.assign(look, { zoom: 1, x: 0, y: 0 });
  fillViewer(dialog, row, filterImages().listed);
}

function makeDialog() {
  const dialog = app.el("dialog", { class: "viewer", "aria-labelledby": "viewer-title" });
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (app.state.img !== "") app.set({ img: "" });
  });
  look.hidden = new Set(innerWidth < 700 ? [0, 2] : []);
  dialog.showModal();
  return dialog;
}

async function fillViewer(dialog, row, listed) {
  dialog.onkeydown = (event) => turnOver(event, row, listed);
  const image = app.cases.shown.find((one) => one.row === row);
  const uri = image && app.data.thumbs[image.thumb];
  const picture = uri ? await loadPicture(uri) : null;
  const facts = app.el("div", { class: "facts" }, caseFacts(row), probabilityTable(row));
  dialog.replaceChildren(
    viewerHead(dialog, row, listed, image),
    picture ? pictureParts(picture, row, facts) : app.el("p", { class: "soft" }, app.t("no_picture"), facts),
    app.el("strong", {}, app.t("not_clinical")));
  (dialog.querySelector(".stage") ?? dialog.querySelector("button")).focus();
}

/** Arrow keys go to the image before or after, unless they move a slider. */
function turnOver(event, row, listed) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step || event.target.matches("input, select")) return;
  event.preventDefault();
  const next = listed[listed.indexOf(row) + step];
  if (next !== undefined) app.openImage(next);
}

function viewerHead(dialog, row, listed, image) {
  const place = listed.indexOf(row);
  const button = (sign, name, disabled, onclick) =>
    app.el("button", { type: "button", "aria-label": app.t(name), title: app.t(name), disabled, onclick }, sign);
  const last = place < 0 || place + 1 === listed.length;
  return app.el("header", {},
    app.el("h3", { id: "viewer-title" }, image ? image.id : app.t("image_number", row + 1)),
    place >= 0 && app.el("span", { class: "soft" }, app.t("place", place + 1, listed.length)),
    button("‹", "image_before", place <= 0, () => app.openImage(listed[place - 1])),
    button("›", "image_after", last, () => app.openImage(listed[place + 1])),
    button("✕", "close", false, () => dialog.close()));
}

function caseFacts(row) {
  const { folds, groups, subgroups } = app.cases;
  const images = groups.filter((group) => group === groups[row]).length;
  const facts = [[app.t("truth"), labelText(row)], [app.t("fold"), folds[row]], [app.t("patient"), app.t("patient_images", images)]];
  for (const { name, values, codes } of subgroups) {
    if (codes[row] !== UNKNOWN) facts.push([name, values[codes[row]]]);
  }
  return app.el("dl", {}, facts.flatMap(([name, value]) => [app.el("dt", {}, name), app.el("dd", {}, value)]));
}

function probabilityTable(row) {
  const head = [app.t("run"), ...app.classes.map((cls) => `P(${app.table.classes[cls]})`), app.t("at_cutoff", app.state.t / 100)];
  const seen = runsByInterest().filter((run) => hasPredicted(run, row));
  const rows = seen.map((run) => {
    const figures = app.classes.map((cls) => app.prob(run, row, cls).toFixed(3));
    return [run.name, ...figures, decisionText(run, row)];
  });
  return gridTable({ title: app.t("probabilities"), head, rows });
}

function decisionText(run, row) {
  const { classes } = app.table;
  const called = app.exclusive ? [decidedClass(run, row)] : app.classes.filter((cls) => isCalled(run, row, cls));
  const text = called.map((cls) => classes[cls]).join(" + ") || app.t("no_label");
  return app.t(isWrong(run, row) ? "decided_wrong" : "decided_right", text);
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
function pictureParts(picture, row, facts) {
  const mapped = runsByInterest().filter((run) => run.maps?.of[row]).slice(0, 2);
  const panels = [null, ...mapped];
  const stage = app.el("div", { class: "stage", tabindex: 0, role: "group", "aria-label": app.t("stage") });
  const redraw = () => drawStage(stage, picture, panels, row);
  listenToMouse(stage, redraw);
  redraw();
  const maps = mapped.length ? mapControls(redraw) : app.el("p", { class: "soft" }, app.t("no_maps"));
  const switches = mapped.length > 0 && app.el("p", { class: "chips" }, panels.map((run, n) => panelSwitch(run, n, redraw)));
  return app.el("div", { class: "looking" },
    app.el("div", {}, switches, stage), app.el("div", { class: "controls" }, toneControls(redraw), maps), facts);
}

function drawStage(stage, picture, panels, row) {
  const toned = applyWindow(picture);
  const seen = panels.filter((_, n) => !look.hidden.has(n));
  stage.replaceChildren(...(seen.length ? seen : panels.slice(0, 1)).map((panel) => drawPanel(panel, toned, row)));
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

function drawPanel(run, toned, row) {
  const scale = PANEL / Math.max(toned.width, toned.height);
  const width = Math.round(toned.width * scale);
  const height = Math.round(toned.height * scale);
  const caption = run ? `${mapTitle(run, row)} · ${run.date}` : app.t("untouched");
  const canvas = app.el("canvas", { width, height, role: "img", "aria-label": caption });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  place(context);
  context.drawImage(toned, 0, 0, 1, 1);
  if (run) drawHeat(context, run.maps, mapOf(run, row));
  return app.el("figure", {}, canvas, app.el("figcaption", {}, caption), run ? colourBar() : []);
}

/** Let the context draw where the picture is a square with sides of `size`, as zoomed and moved. */
function place(context, size = 1) {
  const { width, height } = context.canvas;
  const [across, down] = [width * look.zoom, height * look.zoom];
  context.setTransform(across / size, 0, 0, down / size, -look.x * across, -look.y * down);
}

// Heat maps

function mapTitle(run, row) {
  const cls = look.target === 1 ? Math.max(0, app.table.positive) : mostProbable(run, row);
  const key = d3.max(mapOf(run, row)) > 0 ? "map_of" : "map_empty";
  return app.t(key, `${app.letter(run)} ${run.name}`.trim(), app.table.classes[cls]);
}

/** The cells of a map row by row, 0 to 255. */
function mapOf(run, row) {
  const cells = run.maps.rows * run.maps.cols;
  return decode(run.maps.of[row], Uint8Array).subarray(look.target * cells, (look.target + 1) * cells);
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

function drawHeat(context, { rows, cols }, cells) {
  const smooth = enlarge(cells, rows, cols);
  context.imageSmoothingEnabled = !look.cells;
  const layer = look.cells ? colourLayer(Array.from(cells, (cell) => cell / 255), cols, rows) : colourLayer(smooth, HEAT, HEAT);
  context.drawImage(layer, 0, 0, 1, 1);
  if (look.cells) drawGrid(context, rows, cols);
  if (look.contours) drawContours(context, smooth);
}

/** A picture of one colour whose opacity is the map. */
function colourLayer(values, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const layer = new ImageData(width, height);
  values.forEach((value, n) => layer.data.set([...HUE, 255 * value * look.opacity], 4 * n));
  canvas.getContext("2d").putImageData(layer, 0, 0);
  return canvas;
}

function drawContours(context, values) {
  const top = d3.max(values);
  if (top === 0) return;
  const contours = d3.contours().size([HEAT, HEAT]).thresholds(CONTOURS.map((share) => share * top))(values);
  contours.forEach((contour, n) => stroke(context, HEAT, contour, `rgb(${HUE})`, 1.5 + 1.5 * n));
}

function drawGrid(context, rows, cols) {
  const across = d3.range(1, rows).map((n) => [[0, n / rows], [1, n / rows]]);
  const down = d3.range(1, cols).map((n) => [[n / cols, 0], [n / cols, 1]]);
  stroke(context, 1, { type: "MultiLineString", coordinates: [...across, ...down] }, "rgba(255, 255, 255, 0.4)", 1);
}

/** Lines in the coordinates of `place`, by a pen that does not grow with the zoom. */
function stroke(context, size, shape, colour, width) {
  context.beginPath();
  place(context, size);
  d3.geoPath(null, context)(shape);
  context.resetTransform();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
  place(context);
}

function colourBar() {
  const colours = `linear-gradient(90deg, transparent, rgba(${HUE}, ${look.opacity}))`;
  const ticks = [0, ...CONTOURS, 1].map((share) => app.el("span", { style: `left: ${100 * share}%` }, `${100 * share}`));
  return app.el("div", { class: "colours" },
    app.el("div", { class: "bar", style: `background-image: ${colours}` }, ticks), app.el("small", {}, app.t("of_maximum")));
}

// The controls

function toneSlider(name, low, high, step, redraw) {
  const output = app.el("output", {}, look[name]);
  const oninput = (event) => {
    look[name] = Number(event.target.value);
    output.textContent = look[name];
    redraw();
  };
  const input = app.el("input", { id: `look-${name}`, type: "range", min: low, max: high, step, value: look[name], oninput });
  return app.el("label", {}, app.t(name), " ", output, input);
}

function checkbox(name, redraw) {
  const onchange = (event) => {
    look[name] = event.target.checked;
    redraw();
  };
  const input = app.el("input", { id: `look-${name}`, type: "checkbox", checked: look[name], onchange });
  return app.el("label", { class: "check" }, input, app.t(name));
}

function toneControls(redraw) {
  const fieldset = app.el("fieldset", {});
  const press = (change) => () => {
    change();
    fill();
    redraw();
  };
  const button = (id, text, change) =>
    app.el("button", { id, type: "button", title: app.t(id), "aria-label": app.t(id), onclick: press(change) }, text);
  const fill = () => fieldset.replaceChildren(
    app.el("legend", {}, app.t("tones")),
    toneSlider("level", 0, 255, 1, redraw),
    toneSlider("window", 2, 512, 2, redraw),
    button("zoom_in", "+", () => zoomAt(0.5, 0.5, ZOOM_STEP)),
    button("zoom_out", "−", () => zoomAt(0.5, 0.5, 1 / ZOOM_STEP)),
    button("as_it_was", app.t("as_it_was"), () => Object.assign(look, UNTOUCHED)));
  fill();
  return fieldset;
}

function mapControls(redraw) {
  const names = [app.t("predicted_class"), app.table.classes[Math.max(0, app.table.positive)]];
  const onchange = (event) => {
    look.target = event.target.selectedIndex;
    redraw();
  };
  const options = names.map((name, n) => app.el("option", { selected: n === look.target }, name));
  return app.el("fieldset", {},
    app.el("legend", {}, app.t("heat_maps")),
    app.el("label", {}, app.t("map_class"), app.el("select", { id: "look-target", onchange }, options)),
    toneSlider("opacity", 0, 1, 0.05, redraw),
    checkbox("contours", redraw),
    checkbox("cells", redraw));
}

function panelSwitch(run, number, redraw) {
  const onchange = (event) => {
    if (event.target.checked) look.hidden.delete(number);
    else look.hidden.add(number);
    redraw();
  };
  const input = app.el("input", { id: `panel-${number}`, type: "checkbox", checked: !look.hidden.has(number), onchange });
  return app.el("label", { class: "check" }, input, run ? app.t("map_by", run.name) : app.t("untouched"));
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

function listenToMouse(stage, redraw) {
  const sizes = () => stage.querySelector("canvas").getBoundingClientRect();
  stage.addEventListener("wheel", (event) => {
    if (!event.target.matches("canvas")) return;
    event.preventDefault();
    const { left, top, width, height } = event.target.getBoundingClientRect();
    zoomAt((event.clientX - left) / width, (event.clientY - top) / height, Math.exp(-event.deltaY / 400));
    redraw();
  });
  stage.addEventListener("pointerdown", (event) => stage.setPointerCapture(event.pointerId));
  stage.addEventListener("pointermove", (event) => {
    if (!event.buttons || look.zoom === 1) return;
    panBy(event.movementX / sizes().width, event.movementY / sizes().height);
    redraw();
  });
  stage.addEventListener("keydown", (event) => {
    const factor = { "+": ZOOM_STEP, "-": 1 / ZOOM_STEP }[event.key];
    if (!factor) return;
    zoomAt(0.5, 0.5, factor);
    redraw();
  });
}

document.addEventListener("DOMContentLoaded", () => {
  showViewer();
  addEventListener("popstate", showViewer);
});
