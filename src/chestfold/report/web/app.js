// What all parts of the page share: the data, the state (kept in the address), elements, words, charts.
const FIRST = { d: "", a: null, b: null, more: "", cls: "", t: 50, prev: null, lang: "", profile: "radiographer",
  q: "", sort: "", all: "", open: "" };
const TYPED = ["t", "prev", "q"]; // they change in many small steps: the back button leaves them out
const LETTERS = "ABCDEFGH";
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = ["svg", "g", "path", "line", "circle", "text", "title"];

/** The parts of the page, in its order: {id, title, keys, light, draw(host, app)}. A change of one of `keys` (where it
 * has none, of any key) draws anew; of one of `light` it calls what `draw` has returned. `alone`: it is drawn without
 * any result too. */
const views = [];

const app = {
  data: JSON.parse(document.querySelector("script[type='application/json']").textContent),
  state: { ...FIRST },
  known: new Map(),

  get table() {
    return app.data.tables.find((table) => table.id === app.state.d);
  },
  get cases() {
    return app.casesOf(app.table);
  },
  /** The chosen runs: A, B and more. */
  get chosen() {
    const { a, b, more } = app.state;
    return [a, b, ...more.split(",")].filter(Boolean).map(app.run);
  },
  /** The class that curves and counts are about. */
  get cls() {
    return Number(app.state.cls || Math.max(0, app.table.positive));
  },
  get exclusive() {
    return app.table.task !== "multilabel";
  },
  get classes() {
    const { classes, positive } = app.table;
    return app.exclusive && classes.length === 2 ? [positive] : classes.map((_, number) => number);
  },

  run(name) {
    const table = app.data.tables.find(({ runs }) => runs.some((run) => run.name === name));
    return table?.runs.find((run) => run.name === name);
  },
  tableOf(run) {
    return app.data.tables.find((table) => table.runs.includes(run));
  },
  /** The coloured letter of a chosen run. */
  letterOf(run) {
    return app.chosen.includes(run) && app.el("b", { style: `color: ${app.colour(run)}` }, app.letter(run));
  },
  letter(run) {
    return LETTERS[app.chosen.indexOf(run)] ?? "";
  },
  colour(run) {
    return `var(--c${app.chosen.indexOf(run)})`;
  },
  /** A value that is made when it is first asked for. */
  once(key, make) {
    if (!app.known.has(key)) app.known.set(key, make());
    return app.known.get(key);
  },
  casesOf(table) {
    return app.once(`cases ${table.cases}`, () => {
      const cases = app.data.cases[table.cases];
      const subgroups = cases.subgroups.map((group) => ({ ...group, codes: decode(group.codes, Uint8Array) }));
      const [labels, groups] = [decode(cases.labels, Uint8Array), decode(cases.groups, Uint32Array)];
      return { ...cases, labels, groups, subgroups, folds: decode(cases.folds, Uint8Array) };
    });
  },
  /** The images that a run has predicted, by their number among the cases. */
  rows(run) {
    return app.once(`rows ${run.name}`, () => {
      const table = app.tableOf(run);
      const { n, folds } = app.casesOf(table);
      return d3.range(n).filter((row) => table.folds.includes(folds[row]));
    });
  },
  /** Probabilities of a class for all cases, in 60,000ths; MISSING where the run has none. */
  scores(run, cls) {
    return app.once(`scores ${run.name} ${cls}`, () => {
      const { classes, task, positive } = app.tableOf(run);
      const single = task !== "multilabel" && classes.length === 2;
      const width = single ? 1 : classes.length;
      const parts = app.once(`parts ${run.name}`, () => decode(run.probs, Uint16Array));
      const scores = new Uint16Array(app.cases.n).fill(MISSING);
      app.rows(run).forEach((row, n) => {
        const part = parts[n * width + (single ? 0 : cls)];
        scores[row] = single && cls !== positive ? PARTS - part : part;
      });
      return scores;
    });
  },
  prob(run, row, cls) {
    const part = app.scores(run, cls)[row];
    return part === MISSING ? NaN : part / PARTS;
  },
  /** 1, 0, or null where it is unknown. */
  label(row, cls) {
    const truth = app.truth(cls)[row];
    return truth === UNKNOWN ? null : truth;
  },
  /** For all cases whether they are of a class: 1, 0 or UNKNOWN. */
  truth(cls) {
    return app.once(`truth ${app.table.cases} ${cls}`, () => {
      const { labels, n } = app.cases;
      const width = app.table.classes.length;
      if (!app.exclusive) return Uint8Array.from({ length: n }, (_, row) => labels[row * width + cls]);
      return labels.map((label) => (label === UNKNOWN ? UNKNOWN : Number(label === cls)));
    });
  },
  /** The images that all of the runs have predicted, and whose label is known. */
  commonRows(runs, cls) {
    const truth = app.truth(cls);
    const scores = runs.map((run) => app.scores(run, cls));
    return app.rows(runs[0]).filter((row) => truth[row] !== UNKNOWN && scores.every((of) => of[row] !== MISSING));
  },

  t(key, ...values) {
    const texts = TEXT[key];
    if (!texts) return key;
    const forms = texts[app.state.lang === "ja" ? 1 : 0].split("|");
    const form = values[0] === 1 ? forms[0] : forms.at(-1);
    return form.replace(/\{(\d)\}/g, (_, number) => app.number(values[number]));
  },
  /** As a person reads it: 5,232. */
  number(value) {
    return typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 4 }) : value;
  },
  percent(value) {
    return (100 * value).toFixed(1);
  },
  /** An element with attributes (`on...`: listeners; true and false: present or not) and children. */
  el(tag, attributes = {}, ...children) {
    const node = SVG_TAGS.includes(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child != null && child !== false));
    return node;
  },
  button(id, text, pressed, onclick) {
    const state = pressed === null ? null : String(pressed);
    return app.el("button", { id, type: "button", "aria-pressed": state, onclick }, text);
  },
  figure(title, ...children) {
    return app.el("figure", {}, app.el("figcaption", {}, title), ...children);
  },
  /** A table that scrolls by itself where it is too wide; the keyboard reaches it. */
  scroll(name, table) {
    const label = app.t("table_region", name);
    return app.el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": label }, table);
  },
  /** A chart that is one image with a name to a screen reader. */
  plot(label, options) {
    const width = Math.min(options.width ?? 400, document.documentElement.clientWidth - 50);
    const svg = Plot.plot({ height: 300, ...options, width });
    svg.querySelectorAll("[aria-label]").forEach((part) => part.removeAttribute("aria-label"));
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    return svg;
  },
  /** A mark of Plot: thousands of dots in one path. `rows`: each with x and y. */
  dots(rows, colour, size) {
    const draw = (index, scales) => {
      const d = rows.map(({ x, y }) => `M${scales.x(x).toFixed(1)},${scales.y(y).toFixed(1)}h0`).join("");
      return app.el("path", { d, fill: "none", stroke: colour, "stroke-width": size, "stroke-linecap": "round" });
    };
    return Plot.marks(draw);
  },
  /** A line of keys: [[colour, text]]. */
  legend(entries) {
    return app.el("p", { class: "legend" }, entries.map(([colour, text]) =>
      app.el("span", {}, app.el("i", { style: `background: ${colour}` }), text)));
  },

  /** Change the state; the page and the address follow. */
  set(changes) {
    const before = { ...app.state };
    Object.assign(app.state, changes);
    settle(before);
    const changed = Object.keys(FIRST).filter((key) => app.state[key] !== before[key]);
    writeAddress(changed.every((key) => TYPED.includes(key)));
    redraw(changed);
  },
};

const { el, t } = app; // every part needs these two

/** Make the state fit the data: what is not there is not chosen. `before`: the state that it was. */
function settle(before) {
  const { state } = app;
  if (!app.table) state.d = app.data.tables[0]?.id ?? "";
  if (!app.table) return; // a page that waits for the first result
  const moved = before.d !== state.d;
  if (moved) Object.assign(state, { cls: "", prev: null, open: "" });
  const fits = (name) => app.run(name) && app.tableOf(app.run(name)).cases === app.table.cases;
  let names = [...new Set([state.a, state.b, ...state.more.split(",")])].filter((name) => name && fits(name));
  if (!names.length && (moved || state.a !== "")) names = startingRuns();
  state.a = names[0] ?? "";
  state.b = names[1] ?? "";
  state.more = names.slice(2, LETTERS.length).join(",");
  if (!app.classes.includes(app.cls)) state.cls = "";
}

/** The best two, own ones where there are some. */
function startingRuns() {
  const own = app.table.runs.filter((run) => run.own);
  return (own.length ? own : app.table.runs).slice(0, 2).map((run) => run.name);
}

function readAddress() {
  const state = { ...FIRST, lang: navigator.language.startsWith("ja") ? "ja" : "en" };
  for (const [key, text] of new URLSearchParams(location.hash.slice(1))) {
    if (key in FIRST) state[key] = text;
  }
  state.t = cutOf(state.t);
  state.prev = Number(state.prev) > 0 && Number(state.prev) < 1 ? Number(state.prev) : null;
  return state;
}

function cutOf(text) {
  const cut = Math.round(Number(text));
  return cut >= 0 && cut <= 100 ? cut : FIRST.t;
}

function writeAddress(replace) {
  const address = new URLSearchParams();
  for (const [key, value] of Object.entries(app.state)) {
    if (value !== FIRST[key] && value !== null) address.set(key, value);
  }
  history[replace ? "replaceState" : "pushState"](null, "", `#${address}`);
}

/** Draw what has to change, now if it is in sight. The focus stays on the control of the same name. */
function redraw(changed) {
  const focused = document.activeElement?.id;
  document.documentElement.lang = app.state.lang;
  if (["d", "lang", "profile"].some((key) => changed.includes(key))) drawHead();
  for (const view of views) {
    const heavy = ["d", "lang", ...(view.keys ?? Object.keys(FIRST))];
    if (heavy.some((key) => changed.includes(key))) view.stale = true;
    else if (!view.stale && view.light?.some((key) => changed.includes(key))) view.update?.();
    view.heading.textContent = t(view.title ?? view.id);
    if (view.near) drawView(view);
  }
  if (document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function drawView(view) {
  if (!view.stale) return;
  view.stale = false;
  view.host.replaceChildren();
  view.update = app.table || view.alone ? view.draw(view.host, app) : null;
  view.section.classList.remove("waiting");
  view.section.hidden = view.host.childElementCount === 0;
}

function placeView(view) {
  view.heading = el("h2", { id: `${view.id}-title` });
  view.host = el("div", {});
  view.section = el("section", { id: view.id, class: "card waiting", "aria-labelledby": `${view.id}-title` },
    view.heading, view.host);
  view.stale = true;
  return view.section;
}

/** Draw a view when it comes near what is in sight. */
function watch() {
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const view = views.find(({ section }) => section === target);
      view.near = isIntersecting;
      if (view.near) drawView(view);
    }
  }, { rootMargin: "200px" });
  views.forEach(({ section }) => observer.observe(section));
}

/** Name, date, remarks, and what everything is shown in. */
function drawHead() {
  const { data } = app;
  const choice = (key, name, texts) => el("span", { role: "group", class: "choice", "aria-label": name },
    Object.entries(texts).map(([value, text]) => stateButton(key, value, text)));
  const count = d3.sum(data.tables, ({ runs }) => runs.length);
  const made = d3.timeFormat("%Y-%m-%d %H:%M")(new Date(data.made));
  const skip = () => document.getElementById("main").focus();
  document.querySelector("header").replaceChildren(
    el("button", { class: "skip", id: "skip", onclick: skip }, t("skip")),
    el("h1", {}, "chestfold"),
    el("span", {}, `${t("results", count)}${t("comma")}${t("made", made)}`),
    el("strong", {}, t("not_clinical")),
    data.refresh ? el("span", { class: "badge" }, t("live", data.refresh)) : "",
    choice("profile", t("profile"), { radiographer: t("radiographer"), competitor: t("competitor") }),
    choice("lang", t("language"), { en: "English", ja: "日本語" }),
    el("nav", { class: "chips", "aria-label": t("data_sets") }, data.tables.map(({ id, title, runs }) =>
      stateButton("d", id, `${title} · ${runs.length}`))));
}

/** A button that gives a part of the state a value, and is pressed where it has it. */
function stateButton(key, value, text) {
  return app.button(`${key}-${value}`, text, app.state[key] === value, () => app.set({ [key]: value }));
}

function start() {
  app.state = readAddress();
  settle(app.state);
  document.body.append(el("header"), el("main", { id: "main", tabindex: -1 }, views.map(placeView)));
  views[0].near = true;
  redraw(Object.keys(FIRST));
  watch();
  addEventListener("popstate", () => {
    app.state = readAddress();
    settle(app.state);
    redraw(Object.keys(FIRST));
  });
  addEventListener("beforeprint", () => views.forEach(drawView));
}

document.addEventListener("DOMContentLoaded", start);
