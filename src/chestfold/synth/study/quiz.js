
// The page: an image at a time, five steps from one kind to the other. What was answered is kept by the browser.

const TEXTS = {
  en: {
    how: "Answer with the buttons or the keys 1 to 5. “Undecided” is a choice of its own; from “probably {b}” on, {b} is called. Zoom: + and −; window: the sliders; as it was: 0.",
    after_open: "The answer is shown after each image.", after_blind: "Nothing is shown before the end.",
    stored: "Answers are kept in this browser: the page may be closed and opened again.",
    not_stored: "This browser keeps no answers for this page: do not close or reload it before you have saved them.",
    warning: "Not for clinical use.",
    reader: "Your name or number (goes into the CSV; may be empty)", kept: "{k} of {n} answers are kept.", kept_of: "{k} of {n} answers of {reader} are kept.",
    begin: "Begin", go_on: "Go on", to_result: "To the result", again: "Start again", sure: "Start again? All answers that were given are deleted.", keep: "Keep them", discard: "Delete and start again",
    sure_a: "Certainly {a}", likely_a: "Probably {a}", undecided: "Undecided", likely_b: "Probably {b}", sure_b: "Certainly {b}",
    next: "Next", previous: "Previous", back: "Back to the result", progress: "Image {i} of {n}", answers: "Your answer",
    right: "Right: {truth}.", wrong: "Wrong: it is {truth}.", neither: "Undecided: it is {truth}.",
    tools: "Zoom and window", larger: "Larger", smaller: "Smaller", reset: "As it was", level: "Window level", width: "Window width", outlined: "Outline of the lesion", picture: "Image; scroll with the arrow keys when it is enlarged",
    result: "Result", you: "you", model: "model {model}", figures: "Figures", save: "Save the answers (CSV)", images: "All images", enlarge: "Choose an image to see it large.",
    accuracy: "Accuracy", sensitivity: "Sensitivity ({b})", specificity: "Specificity ({a})", d_prime: "d′ (0: guessing)",
    chance: "p against guessing", auc: "AUC of the ratings", interval: "{low} to {high}",
    sentence_guess: "{k} of {n} right. This cannot be told from guessing.",
    sentence_better: "{k} of {n} right: better than guessing.", sentence_worse: "{k} of {n} right: worse than guessing.",
    difference: "AUC, yours minus the model’s, on the same images: {value} ({low} to {high}). {verdict}", no_difference: "AUC, yours minus the model’s: {value}; no interval can be given.",
    better: "You were better.", lower: "The model was better.", equal: "The two cannot be told apart.",
    hits: "sensitivity", alarms: "1 − specificity", roc: "ROC curves", chart: "ROC curve: your AUC {you}{model}", chart_model: ", the model’s {auc}",
    methods: "Small print: 95 % intervals. {b} counts as positive; “undecided” is not called. Proportions: Wilson. d′: log-linear correction (Hautus 1995), interval from the variance of Gourevitch and Galanter (1967). p: two-sided exact binomial test of the accuracy against one half. AUC: empirical, interval by Newcombe (2006, method 5).",
    methods_model: " The model’s answers are out-of-fold, called at 0.5: it has not been trained on these images. Difference: DeLong et al. (1988).",
    image: "Image {i}", said: "Your answer: {answer}", model_said: "Model: {value} for {b}",
  },
  ja: {
    how: "ボタン、または 1 から 5 のキーで答えてください。「どちらともいえない」も選べます。「{b}（おそらく）」以上を「{b}」と答えたものとして数えます。拡大・縮小は + と −、ウィンドウはスライダー、元に戻すには 0 を押します。",
    after_open: "1 枚答えるごとに正解を示します。", after_blind: "正解は最後まで示しません。",
    stored: "回答はこのブラウザに保存されます。ページを閉じても、開き直せば続きから再開できます。",
    not_stored: "このブラウザでは回答を保存できません。CSV を保存するまで、ページを閉じたり再読み込みしたりしないでください。",
    warning: "臨床には使用しないでください。",
    reader: "お名前または番号（CSV に記録されます。空欄でもかまいません）", kept: "{n} 枚中 {k} 枚の回答が保存されています。", kept_of: "{reader} さんの回答が {n} 枚中 {k} 枚保存されています。",
    begin: "始める", go_on: "続ける", to_result: "結果を見る", again: "最初からやり直す", sure: "最初からやり直しますか。これまでの回答はすべて消えます。", keep: "やめる", discard: "消してやり直す",
    sure_a: "{a}（確実）", likely_a: "{a}（おそらく）", undecided: "どちらともいえない", likely_b: "{b}（おそらく）", sure_b: "{b}（確実）",
    next: "次へ", previous: "前へ", back: "結果に戻る", progress: "{n} 枚中 {i} 枚目", answers: "回答",
    right: "正解です：{truth}", wrong: "不正解です。正解：{truth}", neither: "どちらともいえない。正解：{truth}",
    tools: "拡大とウィンドウ調整", larger: "拡大", smaller: "縮小", reset: "元に戻す", level: "ウィンドウレベル", width: "ウィンドウ幅", outlined: "病変の輪郭を表示", picture: "画像。拡大中は矢印キーで移動できます",
    result: "結果", you: "あなた", model: "モデル {model}", figures: "成績", save: "回答を保存（CSV）", images: "すべての画像", enlarge: "画像を選ぶと大きく表示します。",
    accuracy: "正解率", sensitivity: "感度（{b}）", specificity: "特異度（{a}）", d_prime: "d′（0 は当て推量）",
    chance: "当て推量に対する p 値", auc: "評定の AUC", interval: "{low}～{high}",
    sentence_guess: "{n} 枚中 {k} 枚正解。当て推量と区別できません。",
    sentence_better: "{n} 枚中 {k} 枚正解。当て推量より良い成績です。", sentence_worse: "{n} 枚中 {k} 枚正解。当て推量より悪い成績です。",
    difference: "同じ画像での AUC の差（あなた − モデル）：{value}（{low}～{high}）。{verdict}", no_difference: "AUC の差（あなた − モデル）：{value}。信頼区間は求められません。",
    better: "あなたの方が良い成績でした。", lower: "モデルの方が良い成績でした。", equal: "両者に差があるとはいえません。",
    hits: "感度", alarms: "1 − 特異度", roc: "ROC 曲線", chart: "ROC 曲線。あなたの AUC は {you}{model}", chart_model: "、モデルの AUC は {auc}",
    methods: "小さい字は 95 % 信頼区間です。「{b}」を陽性とみなし、「どちらともいえない」は「{b}」と答えなかったものとして数えます。割合の区間は Wilson 法、d′ は対数線形補正（Hautus 1995）、その区間は Gourevitch と Galanter（1967）の分散によります。p 値は、正解率と 2 分の 1 との両側正確二項検定です。AUC は経験的 ROC 曲線によるもので、その区間は Newcombe（2006、方法 5）によります。",
    methods_model: "モデルの回答は out-of-fold（その画像を学習に使っていないモデルによる予測）で、閾値は 0.5 です。差の区間は DeLong ら（1988）によります。",
    image: "画像 {i}", said: "回答：{answer}", model_said: "モデル：{b} {value}",
  },
};

const TEXTS_OF_KIND = {
  synthetic: {
    en: {
      title: "Real or synthetic?", a: "real", b: "synthetic",
      task: "You will see {n} CT images with a lung nodule, one at a time. In half of them, in random order, the nodule was put there by a computer. Which are real?",
      unknown: "Where its nodule is, is not known.",
    },
    ja: {
      title: "本物か、合成か", a: "本物", b: "合成",
      task: "肺結節のある CT 画像を 1 枚ずつ、全部で {n} 枚示します。そのうち半数では、順不同で、コンピュータが結節を埋め込んでいます。どれが本物でしょうか。",
      unknown: "結節の位置は分かっていません。",
    },
  },
  classes: {
    en: { title: "{a} or {b}?", a: "{first}", b: "{second}", task: "You will see {n} images of the data set {data}, one at a time, in random order. Half of them are labelled {a}, half {b}. Which are which?", unknown: "" },
    ja: { title: "「{a}」か「{b}」か", a: "{first}", b: "{second}", task: "データセット {data} の画像を 1 枚ずつ、順不同で、全部で {n} 枚示します。半数のラベルは「{a}」、半数は「{b}」です。どちらでしょうか。", unknown: "" },
  },
  label: {
    en: { title: "Is there {second}?", a: "no {second}", b: "{second}", task: "You will see {n} images of the data set {data}, one at a time, in random order. Half of them have the label {second}, half do not. Which have it?", unknown: "" },
    ja: { title: "「{second}」はあるか", a: "{second}なし", b: "{second}あり", task: "データセット {data} の画像を 1 枚ずつ、順不同で、全部で {n} 枚示します。半数にはラベル「{second}」があり、半数にはありません。どちらでしょうか。", unknown: "" },
  },
};
const RATING_TEXTS = ["sure_a", "likely_a", "undecided", "likely_b", "sure_b"];
const LARGEST_ZOOM = 8;

const data = JSON.parse(document.getElementById("data").textContent);
const cards = decode(data.answers).map(([id, truth, outline, model], n) => ({ id, truth, outline, model, ...data.images[n] }));
const isSignal = cards.map((card) => card.truth === data.classes[1]);
let language = navigator.language.startsWith("ja") ? "ja" : "en";
let reader = "", answers = [], isStored = true;
let shown = -1; // number of the image in sight
let isReview = false, shownAt = 0, zoom = 1;

function decode(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (hole, key) => values[key] ?? hole);
}

function say(name, values = {}) {
  const texts = { ...TEXTS[language], ...TEXTS_OF_KIND[data.kind][language] };
  const given = { first: data.classes[0], second: data.classes[1], data: data.name, model: data.model, n: cards.length };
  const names = { a: fill(texts.a, given), b: fill(texts.b, given) };
  return fill(texts[name], { ...given, ...names, ...values });
}

const $ = (id) => document.getElementById(id);
const show = (name) => ["start", "question", "result"].forEach((id) => ($(id).hidden = id !== name));
const truthOf = (n) => say(isSignal[n] ? "b" : "a");
const isCalled = (n) => answers[n].rating >= data.calledFrom;

// What is kept

const KEY = `chestfold quiz ${data.key}`;

function store() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ reader, answers }));
  } catch {
    isStored = false; // private windows, full or forbidden storage: the page says so
  }
}

function restore() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) || "null");
    if (kept) ({ reader, answers } = kept);
    localStorage.setItem(`${KEY} test`, "");
    localStorage.removeItem(`${KEY} test`);
  } catch {
    isStored = false;
  }
  $("reader").value = reader;
}

// The figures

function figuresOf(called) {
  const half = cards.length / 2;
  const count = (kind) => called.filter((call, n) => call && isSignal[n] === kind).length;
  const hits = count(true);
  const alarms = count(false);
  const right = hits + half - alarms;
  return {
    accuracy: data.figures.accuracy[right],
    sensitivity: data.figures.share[hits],
    specificity: data.figures.share[half - alarms],
    d_prime: data.figures.d_prime[hits][alarms],
    chance: [data.figures.p_chance[right]],
    right,
  };
}

function readerFigures() {
  const ratings = answers.map((given) => given.rating);
  return { ...figuresOf(cards.map((_, n) => isCalled(n))), auc: rocArea(isSignal, ratings), scores: ratings };
}

function modelFigures() {
  if (!data.model) return null;
  const scores = cards.map((card) => card.model);
  return { ...figuresOf(scores.map((score) => score >= 0.5)), auc: rocArea(isSignal, scores), scores };
}

function csv() {
  const cell = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const lines = answers.map(({ rating, seconds }, n) =>
    [reader, n + 1, cards[n].id, cards[n].truth, data.classes[1], rating, seconds.toFixed(1), cards[n].model ?? ""].map(cell).join(","));
  return ["reader,number,id,truth,signal,rating,seconds,model", ...lines, ""].join("\r\n");
}

// The picture

function fit() {
  // small images keep whole screen pixels for each of their own, without smoothing: nothing hides a seam
  if (shown < 0) return;
  const { width, height } = cards[shown];
  const density = devicePixelRatio || 1;
  const isWide = innerWidth >= 860; // the panel is beside the image, below it on a telephone
  const freeWidth = document.body.clientWidth - (isWide ? 344 : 40);
  const freeHeight = Math.max(innerHeight - (isWide ? 130 : 420), 240);
  const free = Math.min(freeWidth / width, freeHeight / height);
  const times = Math.floor(free * density);
  const isPixels = data.kind === "synthetic" && times >= 1;
  const scale = isPixels ? times / density : free;
  $("image").classList.toggle("pixels", isPixels);
  $("view").style.width = `${width * scale}px`;
  $("view").style.height = `${height * scale}px`;
  $("stage").style.width = `${width * scale * zoom}px`;
  $("stage").style.height = `${height * scale * zoom}px`;
}

function zoomTo(wanted) {
  const before = zoom;
  zoom = Math.min(Math.max(wanted, 1), LARGEST_ZOOM);
  const view = $("view");
  const middle = [(view.scrollLeft + view.clientWidth / 2) / before, (view.scrollTop + view.clientHeight / 2) / before];
  fit();
  view.scrollLeft = middle[0] * zoom - view.clientWidth / 2;
  view.scrollTop = middle[1] * zoom - view.clientHeight / 2;
}

function setWindow() {
  const level = Number($("level").value);
  const width = Number($("width").value);
  $("level_value").textContent = level;
  $("width_value").textContent = width;
  for (const channel of document.querySelectorAll("#window feComponentTransfer > *")) {
    channel.setAttribute("slope", 255 / width);
    channel.setAttribute("intercept", 0.5 - level / width);
  }
  const isAsItWas = level === 128 && width === 255;
  $("image").classList.toggle("windowed", !isAsItWas);
}

function reset() {
  [$("level").value, $("width").value] = [128, 255];
  setWindow();
  zoomTo(1);
}

function showImage(n) {
  shown = n;
  $("image").src = cards[n].uri;
  $("outline").setAttribute("viewBox", `0 0 ${cards[n].width} ${cards[n].height}`);
  reset();
  write();
  shownAt = performance.now();
}

function drawOutline() {
  const isKnown = isReview || (shown < answers.length && !data.blind);
  $("outline_label").hidden = !isKnown || !cards[shown].outline;
  const path = isKnown && $("outlined").checked ? cards[shown].outline : "";
  $("outline").querySelector("path").setAttribute("d", path);
}

// The course of a quiz

function begin() {
  reader = $("reader").value.trim();
  store();
  isReview = false;
  if (answers.length === cards.length) return finish();
  show("question");
  showImage(answers.length);
}

function answer(rating) {
  if (isReview || shown !== answers.length) return;
  answers.push({ rating, seconds: (performance.now() - shownAt) / 1000 });
  store();
  if (data.blind) return next();
  write();
  $("next").focus({ preventScroll: true });
}

function next() {
  if (isReview) return review((shown + 1) % cards.length);
  if (answers.length === cards.length) return finish();
  showImage(answers.length);
}

function finish() {
  isReview = false;
  show("result");
  write();
  scrollTo(0, 0);
}

function review(n) {
  isReview = true;
  show("question");
  showImage(n);
  scrollTo(0, 0);
}

function closeReview() {
  isReview = false;
  show("result");
  write();
  $("review").children[shown].querySelector("button").focus();
}

function startAgain() {
  $("sure").close();
  answers = [];
  shown = -1;
  store();
  show("start");
  write();
  $("begin").focus();
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", csv()], { type: "text/csv" })); // with the mark that Excel needs
  const who = reader.replace(/[\\/:*?"<>|\s.]+/g, "_");
  link.download = `quiz_${data.name}${who && `_${who}`}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// What is written

function make(kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = className;
  return made;
}

function format(value) {
  return value.toFixed(2).replace("-", "−");
}

function formatP(value) {
  return value < 0.001 ? "< 0.001" : value.toFixed(3);
}

function outcome(n) {
  if (answers[n].rating === (data.ratings + 1) / 2) return "neither";
  return isCalled(n) === isSignal[n] ? "right" : "wrong";
}

function writeStart() {
  const count = answers.length;
  const isComplete = count === cards.length;
  $("storage").textContent = say(isStored ? "stored" : "not_stored");
  $("kept").hidden = $("restart").hidden = count === 0;
  $("kept").textContent = say(reader ? "kept_of" : "kept", { k: count, reader });
  $("begin").textContent = say(isComplete ? "to_result" : count ? "go_on" : "begin");
}

function writeQuestion() {
  if (shown < 0) return;
  const isAnswered = shown < answers.length;
  const isOpen = isReview || (isAnswered && !data.blind);
  $("ratings").hidden = isReview || isAnswered;
  $("steps").hidden = !isOpen;
  $("back").hidden = $("previous").hidden = !isReview;
  $("next_key").textContent = isReview ? "→" : "Enter";
  $("progress").textContent = say("progress", { i: shown + 1 });
  $("image").alt = say("image", { i: shown + 1 });
  $("view").setAttribute("aria-label", say("picture"));
  $("ratings").setAttribute("aria-label", say("answers"));
  $("larger").setAttribute("aria-label", say("larger"));
  $("smaller").setAttribute("aria-label", say("smaller"));
  RATING_TEXTS.forEach((name, n) => ($(`rating_${n + 1}`).firstChild.textContent = say(name)));
  $("verdict").className = isOpen ? outcome(shown) : "";
  $("verdict").textContent = isOpen ? verdict(shown) : "";
  if (isReview) $("progress").textContent += ` (${cards[shown].id})`;
  drawOutline();
}

function verdict(n) {
  const words = [say(outcome(n), { truth: truthOf(n) })];
  if (isReview) words.push(say("said", { answer: say(RATING_TEXTS[answers[n].rating - 1]) }));
  if (isReview && data.model) words.push(say("model_said", { value: format(cards[n].model) }));
  if (!cards[n].outline && say("unknown")) words.push(say("unknown"));
  return words.join("\n");
}

function writeResult() {
  if (answers.length < cards.length) return;
  const found = readerFigures();
  const ofModel = modelFigures();
  const n = cards.length;
  const k = found.right;
  let sentence = "sentence_guess";
  if (found.chance[0] < 0.05) sentence = 2 * k > n ? "sentence_better" : "sentence_worse";
  $("sentence").textContent = say(sentence, { k });
  const heads = [make("th", say("figures")), make("th", reader || say("you"))];
  if (ofModel) heads.push(make("th", say("model")));
  $("head").replaceChildren(...heads);
  $("table").setAttribute("aria-label", say("figures"));
  const names = ["auc", "accuracy", "sensitivity", "specificity", "d_prime", "chance"];
  $("figures").replaceChildren(...names.map((name) => figureRow(name, found, ofModel)));
  drawCurves(found, ofModel);
  $("difference").textContent = ofModel ? difference(found, ofModel) : "";
  if (ofModel) document.querySelector("[data-text=methods]").textContent += say("methods_model");
  $("review").replaceChildren(...cards.map(reviewed));
}

function figureRow(name, ...columns) {
  const row = document.createElement("tr");
  row.dataset.figure = name;
  const head = make("th", say(name));
  head.scope = "row";
  row.append(head);
  for (const figures of columns) {
    if (!figures) continue;
    const [value, low, high] = figures[name].map((v) => (name === "chance" ? formatP(v) : format(v)));
    const cell = make("td", value);
    if (high !== undefined) cell.append(make("small", say("interval", { low, high })));
    row.append(cell);
  }
  return row;
}

function difference(found, ofModel) {
  const doubt = areaDifference(isSignal, found.scores, ofModel.scores);
  if (!doubt) return say("no_difference", { value: format(found.auc[0] - ofModel.auc[0]) });
  const [value, low, high] = doubt;
  const name = low > 0 ? "better" : high < 0 ? "lower" : "equal";
  return say("difference", { value: format(value), low: format(low), high: format(high), verdict: say(name) });
}

function drawn(kind, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

function drawCurves(found, ofModel) {
  const x = (share) => 40 + 240 * share;
  const y = (share) => 245 - 235 * share;
  const line = (points) => points.map(([alarms, hits]) => `${x(alarms)},${y(hits)}`).join(" ");
  const points = rocPoints(isSignal, found.scores);
  const parts = [
    drawn("path", { class: "axis", d: `M${x(0)} ${y(1)}V${y(0)}H${x(1)}` }),
    drawn("path", { class: "chance", d: `M${x(0)} ${y(0)}L${x(1)} ${y(1)}` }),
    drawn("text", { x: x(0.5), y: 274, "text-anchor": "middle" }, say("alarms")),
    drawn("text", { x: 12, y: y(0.5), "text-anchor": "middle", transform: `rotate(-90 12 ${y(0.5)})` }, say("hits")),
  ];
  for (const share of [0, 0.5, 1]) {
    parts.push(drawn("text", { x: x(share), y: 259, "text-anchor": "middle" }, String(share)));
    parts.push(drawn("text", { x: x(0) - 5, y: y(share) + 4, "text-anchor": "end" }, String(share)));
  }
  if (ofModel) parts.push(drawn("polyline", { class: "model", points: line(rocPoints(isSignal, ofModel.scores)) }));
  parts.push(drawn("polyline", { class: "reader", points: line(points) }));
  for (const [alarms, hits] of points.slice(1, -1)) parts.push(drawn("circle", { cx: x(alarms), cy: y(hits), r: 4 }));
  $("roc").replaceChildren(...parts);
  const ofModelWords = ofModel ? say("chart_model", { auc: format(ofModel.auc[0]) }) : "";
  $("roc").setAttribute("aria-label", say("chart", { you: format(found.auc[0]), model: ofModelWords }));
  const legend = [make("span", `${reader || say("you")}: AUC ${format(found.auc[0])}`, "reader")];
  if (ofModel) legend.push(make("span", `${say("model")}: AUC ${format(ofModel.auc[0])}`, "model"));
  $("legend").replaceChildren(...legend);
}

function reviewed(card, n) {
  const item = document.createElement("li");
  const button = make("button", "");
  const image = document.createElement("img");
  button.type = "button";
  image.src = card.uri;
  image.alt = say("image", { i: n + 1 });
  image.className = data.kind === "synthetic" ? "pixels" : "";
  const lesion = drawn("svg", { viewBox: `0 0 ${card.width} ${card.height}`, "aria-hidden": true });
  lesion.append(drawn("path", { d: card.outline }));
  const thumbnail = make("div", "");
  thumbnail.append(image, lesion);
  const said = say(RATING_TEXTS[answers[n].rating - 1]);
  const mark = { right: "right", wrong: "wrong", neither: "undecided" }[outcome(n)];
  button.append(thumbnail, make("span", truthOf(n), mark), make("span", say("said", { answer: said })));
  button.addEventListener("click", () => review(n));
  item.append(button);
  return item;
}

function write() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    const name = element.dataset.text;
    element.textContent = say(name === "after" ? (data.blind ? "after_blind" : "after_open") : name);
  }
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  document.title = `chestfold: ${say("title")}`;
  writeStart();
  if (!$("question").hidden) writeQuestion();
  if (!$("result").hidden) writeResult();
}

// Buttons and keys

function key(event) {
  const isModified = event.repeat || event.ctrlKey || event.altKey || event.metaKey;
  if ($("question").hidden || isModified || $("sure").open) return;
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  action();
}

function actionOf({ key: pressed, target }) {
  const isElsewhere = target === $("view") || target.type === "range"; // they have a use for arrows themselves
  const rating = Number(pressed);
  if (rating >= 1 && rating <= data.ratings) return () => answer(rating);
  if (pressed === "+" || pressed === "=") return () => zoomTo(zoom * 1.5);
  if (pressed === "-" || pressed === "−") return () => zoomTo(zoom / 1.5);
  if (pressed === "0") return reset;
  if (pressed === "Enter" && !isReview && shown < answers.length && target.localName !== "button") return next;
  if (!isReview || isElsewhere) return null;
  return { ArrowRight: next, ArrowLeft: () => review((shown + cards.length - 1) % cards.length), Escape: closeReview }[pressed];
}

for (let rating = 1; rating <= data.ratings; rating++) {
  const button = document.createElement("button");
  button.type = "button";
  button.id = `rating_${rating}`;
  button.append(make("span", ""), make("kbd", rating));
  button.addEventListener("click", () => answer(rating));
  $("ratings").append(button);
}
for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => ((language = button.dataset.language), write()));
for (const button of document.querySelectorAll(".restart")) button.addEventListener("click", () => $("sure").showModal());
$("begin").addEventListener("click", begin);
$("keep").addEventListener("click", () => $("sure").close());
$("discard").addEventListener("click", startAgain);
$("next").addEventListener("click", next);
$("previous").addEventListener("click", () => review((shown + cards.length - 1) % cards.length));
$("back").addEventListener("click", closeReview);
$("save").addEventListener("click", save);
$("larger").addEventListener("click", () => zoomTo(zoom * 1.5));
$("smaller").addEventListener("click", () => zoomTo(zoom / 1.5));
$("reset").addEventListener("click", reset);
$("level").addEventListener("input", setWindow);
$("width").addEventListener("input", setWindow);
$("outlined").addEventListener("change", drawOutline);
$("tools").open = innerWidth >= 860;
addEventListener("keydown", key);
addEventListener("resize", fit);
restore();
write();
