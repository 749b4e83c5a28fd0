
"use strict";
// Sorting, links into closed sections, and images that are loaded when their section is opened.

function keyOf(row, column) {
  const key = row.cells[column].dataset.sort;
  return key === "" ? null : isNaN(key) ? key : Number(key);
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number"
    ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortBy(header) {
  const body = header.closest("table").tBodies[0];
  const other = { ascending: "descending", descending: "ascending" };
  const order = other[header.getAttribute("aria-sort")] || header.dataset.first;
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row) => [keyOf(row, header.cellIndex), row]);
  rows.sort(([a], [b]) => (a === null ? (b === null ? 0 : 1) : b === null ? -1 : sign * compare(a, b)));
  for (const sibling of header.parentElement.cells) sibling.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", order);
  body.append(...rows.map(([, row]) => row));
}

function showImages(section, uris) {
  for (const image of section.querySelectorAll("img[data-image]:not([src])")) image.src = uris[image.dataset.image];
}

function openLinked() {
  const section = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (section && section.tagName === "DETAILS") {
    section.open = true;
    section.scrollIntoView();
  }
}

const uris = JSON.parse(document.getElementById("page:images").textContent);
for (const header of document.querySelectorAll(".board th[aria-sort]"))
  header.querySelector("button").addEventListener("click", () => sortBy(header));
for (const section of document.querySelectorAll("details.result"))
  section.addEventListener("toggle", () => section.open && showImages(section, uris));
addEventListener("hashchange", openLinked);
openLinked();
