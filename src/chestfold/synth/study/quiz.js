
"use strict";
// An image at a time, real or synthetic. This script only counts: the figures of every outcome are in the data.

const TEXTS = {
  en: {
    title: "Real or synthetic?",
    task: "You will see {n} CT images with a lung nodule, one at a time. In half of them, in random order, the nodule was put there by a computer. Which are real?",
    how: "Answer with the buttons, or with the keys 1 or ← (real) and 2 or → (synthetic). The nodule is outlined after each answer.",
    warning: "Not for clinical use.",
    begin: "Begin", real: "Real", synthetic: "Synthetic", next: "Next", progress: "Image {i} of {n}",
    right: "Right: it is {truth}.", wrong: "Wrong: it is {truth}.", unknown: "Where its nodule is, is not known.",
    is_real: "real", is_synthetic: "synthetic",
    result: "Result", value: "value", interval: "95 % interval", save: "Save the answers (CSV)", again: "Once more",
    accuracy: "Accuracy", sensitivity: "Sensitivity (synthetic found)", specificity: "Specificity (real recognised)", d_prime: "d′ (0: guessing)",
    chance: "p against guessing", sentence_guess: "{k} of {n} right. This cannot be told from guessing.",
    sentence_better: "{k} of {n} right: better than guessing.", sentence_worse: "{k} of {n} right: worse than guessing.",
    methods: "Synthetic is the signal. Proportions: Wilson's interval. d′ with the log-linear correction (Hautus 1995), its interval from the variance of Gourevitch and Galanter (1967). p: two-sided exact binomial test of the accuracy against one half.",
    image: "CT image {i}", said: "{truth}; you said {answer}",
  },
  ja: {
    title: "本物か、合成か",
    task: "肺結節のある CT 画像を 1 枚ずつ、全部で {n} 枚示します。そのうち半数では、順不同で、コンピュータが結節を埋め込んでいます。どれが本物でしょうか。",
    how: "ボタン、またはキー（1 か ← が本物、2 か → が合成）で答えてください。答えるたびに結節の輪郭を示します。",
    warning: "臨床には使用しないでください。",
    begin: "始める", real: "本物", synthetic: "合成", next: "次へ", progress: "{n} 枚中 {i} 枚目",
    right: "正解：{truth}です。", wrong: "不正解：{truth}です。", unknown: "結節の位置は分かっていません。",
    is_real: "本物", is_synthetic: "合成",
    result: "結果", value: "値", interval: "95 % 信頼区間", save: "回答を保存（CSV）", again: "もう一度",
    accuracy: "正解率", sensitivity: "感度（合成を合成と答えた割合）", specificity: "特異度（本物を本物と答えた割合）", d_prime: "d′（0 は当て推量）",
    chance: "当て推量に対する p 値", sentence_guess: "{n} 枚中 {k} 枚正解。当て推量と区別できません。",
    sentence_better: "{n} 枚中 {k} 枚正解。当て推量より良い成績です。", sentence_worse: "{n} 枚中 {k} 枚正解。当て推量より悪い成績です。",
    methods: "合成画像を信号とみなします。割合の区間は Wilson 法、d′ は対数線形補正（Hautus 1995）、その区間は Gourevitch と Galanter（1967）の分散によります。p 値は、正解率と 2 分の 1 との両側正確二項検定です。",
    image: "CT 画像 {i}", said: "{truth}。回答は{answer}",
  },
};

const data = JSON.parse(document.getElementById("data").textContent);
const cards = decode(data.answers).map(([id, truth, outline], n) => ({ id, truth, outline, ...data.images[n] }));
let language = navigator.language.startsWith("ja") ? "ja" : "en";
let answers = [], shownAt = 0;

function decode(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

function say(name, values = {}) {
  return TEXTS[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

const $ = (id) => document.getElementById(id);
const show = (name) => ["start", "question", "result"].forEach((id) => ($(id).hidden = id !== name));
const answered = () => !$("next").hidden;
const current = () => answers.length - (answered() ? 1 : 0);

// The figures

function countRight(kind) {
  return answers.filter((given, n) => cards[n].truth === kind && given.answer === kind).length;
}

function figures() {
  const hits = countRight("synthetic");
  const rejections = countRight("real");
  const falseAlarms = cards.length / 2 - rejections;
  return {
    accuracy: data.figures.accuracy[hits + rejections],
    sensitivity: data.figures.share[hits],
    specificity: data.figures.share[rejections],
    d_prime: data.figures.d_prime[hits][falseAlarms],
    chance: [data.figures.p_chance[hits + rejections]],
  };
}

function csv() {
  const lines = answers.map((a, n) => [n + 1, cards[n].id, cards[n].truth, a.answer, a.seconds.toFixed(1)].join(","));
  return ["number,id,truth,answer,seconds", ...lines, ""].join("\n");
}

// The page

function fit() {
  // whole screen pixels for each pixel of the image: no smoothing, no pixel wider than its neighbour
  const { width, height } = cards[current()] || cards[0];
  const density = devicePixelRatio || 1;
  const isWide = innerWidth >= 860; // the buttons are beside the image, below it on a telephone
  const freeWidth = document.body.clientWidth - (isWide ? 284 : 40);
  const freeHeight = Math.max(innerHeight - (isWide ? 130 : 290), 200);
  const times = Math.floor(Math.min((freeWidth * density) / width, (freeHeight * density) / height));
  const scale = times >= 1 ? times / density : Math.min(freeWidth / width, freeHeight / height);
  $("stage").style.width = `${width * scale}px`;
  $("stage").style.height = `${height * scale}px`;
}

function ask() {
  const card = cards[answers.length];
  for (const id of ["real", "synthetic"]) $(id).hidden = false;
  $("next").hidden = true;
  $("image").src = card.uri;
  $("outline").querySelector("path").setAttribute("d", "");
  write();
  fit();
  shownAt = performance.now();
}

function answer(choice) {
  answers.push({ answer: choice, seconds: (performance.now() - shownAt) / 1000 });
  const card = cards[answers.length - 1];
  for (const id of ["real", "synthetic"]) $(id).hidden = true;
  $("next").hidden = false;
  $("outline").setAttribute("viewBox", `0 0 ${card.width} ${card.height}`);
  $("outline").querySelector("path").setAttribute("d", card.outline);
  write();
  $("next").focus({ preventScroll: true });
}

function next() {
  if (answers.length < cards.length) return ask();
  show("result");
  write();
  scrollTo(0, 0);
}

function begin() {
  answers = [];
  show("question");
  ask();
}

function writeQuestion() {
  const n = current();
  const card = cards[n];
  if (!card) return;
  $("progress").textContent = say("progress", { i: n + 1, n: cards.length });
  $("image").alt = say("image", { i: n + 1 });
  $("verdict").className = "";
  $("verdict").textContent = "";
  if (!answered()) return;
  const kind = answers[n].answer === card.truth ? "right" : "wrong";
  const words = say(kind, { truth: say(`is_${card.truth}`) });
  $("verdict").className = kind;
  $("verdict").textContent = card.outline ? words : `${words} ${say("unknown")}`;
}

function cell(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function writeResult() {
  if (answers.length < cards.length) return;
  const found = figures();
  const n = cards.length;
  const k = countRight("real") + countRight("synthetic");
  let sentence = "sentence_guess";
  if (found.chance[0] < 0.05) sentence = 2 * k > n ? "sentence_better" : "sentence_worse";
  $("sentence").textContent = say(sentence, { k, n });
  $("figures").replaceChildren(...Object.entries(found).map(figureRow));
  $("review").replaceChildren(...cards.map(reviewed));
}

function figureRow([name, values]) {
  const row = document.createElement("tr");
  const [value, low, high] = values.map((v) => v.toFixed(name === "chance" ? 3 : 2));
  row.dataset.figure = name;
  row.append(cell("th", say(name)), cell("td", value), cell("td", high === undefined ? "" : `${low} – ${high}`));
  return row;
}

function reviewed(card, n) {
  const item = document.createElement("li");
  const image = document.createElement("img");
  image.src = card.uri;
  image.alt = say("image", { i: n + 1 });
  const words = cell("span", say("said", { truth: say(`is_${card.truth}`), answer: say(`is_${answers[n].answer}`) }));
  words.className = answers[n].answer === card.truth ? "right" : "wrong";
  item.append(image, words);
  return item;
}

function write() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = say(element.dataset.text, { n: cards.length });
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  document.title = `chestfold: ${say("title")}`;
  writeQuestion();
  writeResult();
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = `quiz_${data.name}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function key(event) {
  if ($("question").hidden || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const choice = { 1: "real", ArrowLeft: "real", 2: "synthetic", ArrowRight: "synthetic" }[event.key];
  if (choice && !answered()) answer(choice);
  else if (event.key === "Enter" && answered() && event.target !== $("next")) next();
  else return;
  event.preventDefault();
}

for (const choice of ["real", "synthetic"]) $(choice).addEventListener("click", () => answer(choice));
for (const button of document.querySelectorAll("[data-language]"))
  button.addEventListener("click", () => ((language = button.dataset.language), write()));
$("begin").addEventListener("click", begin);
$("again").addEventListener("click", begin);
$("next").addEventListener("click", next);
$("save").addEventListener("click", save);
addEventListener("keydown", key);
addEventListener("resize", fit);
write();
