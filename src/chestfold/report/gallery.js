
"use strict";
// The order of the images, and which of them are shown.

const gallery = document.getElementById("gallery");
const cards = [...gallery.children];
const order = document.getElementById("order");
const only = document.getElementById("class");
const errors = document.getElementById("errors");

function keyOf(card) {
  const key = card.dataset[order.value];
  return key === "" ? Infinity : Number(key);
}

function show() {
  const sorted = [...cards].sort((a, b) => keyOf(a) - keyOf(b) || 0);
  for (const card of cards)
    card.hidden = (only.value !== "" && card.dataset.label !== only.value) || (errors.checked && card.dataset.wrong === "0");
  gallery.append(...sorted);
  const left = cards.filter((card) => !card.hidden).length;
  document.getElementById("count").textContent = `${left} of ${cards.length} images`;
}

for (const control of [order, only, errors]) control.addEventListener("change", show);
show();
