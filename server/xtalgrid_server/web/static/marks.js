// Marks in a drop's picture, the ruler, and the forms for marks, notes and favourites. Marks go the same way as scores
// (waiting.js); without scripts, the forms do the same.

import * as given from "./given.js";
import { sizeOf as sizeOfPicture } from "./picture.js";
import * as scores from "./waiting.js";

const $ = (id) => document.getElementById(id);
const CLICK = 4;  // pixels of the screen: what moves less is a click
const SVG = "http://www.w3.org/2000/svg";
let mode = "";  // "mark", "ruler", or neither
let from = null, to = null;  // of a drag, in pixels of the original
let current = () => null;  // the drop on the screen

// ---- places in the picture

function sizeOf() {
  const { width, height } = $("stage").dataset;
  return width ? { width: Number(width), height: Number(height) } : sizeOfPicture($("original"));
}
const round = (number) => Math.round(number * 10) / 10;
function placeOf(event) {
  const at = $("original").getBoundingClientRect(), { width, height } = sizeOf();
  const inside = (part, whole) => round(Math.min(Math.max(part, 0), 1) * whole);
  return { x: inside((event.clientX - at.left) / at.width, width), y: inside((event.clientY - at.top) / at.height, height) };
}
function boxOf(one, other) {
  return { x: round((one.x + other.x) / 2), y: round((one.y + other.y) / 2), width: round(Math.abs(one.x - other.x)), height: round(Math.abs(one.y - other.y)) };
}
function lengthOf(one, other) {
  const { um, guessedUm } = $("stage").dataset, pixels = Math.hypot(one.x - other.x, one.y - other.y);
  const long = (scale) => `${Number((pixels * scale).toPrecision(3))} µm`;
  const said = um ? `${long(um)} · ` : guessedUm ? `about ${long(guessedUm)}, by a guessed scale · ` : "";
  return `${said}${Math.round(pixels)} px`;
}

// ---- entries

// Give a mark, note, favourite or undo; `says` is what people call it when they undo it.
function give(entry, says) {
  const drop = current();
  if (!drop) return;
  const { image, well, address } = drop;
  given.push({ ...scores.give({ image, drop: well, address, entry }), mark: says });
}
function giveMark(place) {
  const note = $("mark-note");
  give({ what: "mark", kind: $("mark-kind").value, note: note.value, ...place }, `mark at ${Math.round(place.x)}, ${Math.round(place.y)} px`);
  note.value = "";
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form.entry")) return;
  event.preventDefault();
  const { form_token: _token, then: _then, image: _image, ...entry } = Object.fromEntries(new FormData(form));
  for (const name of ["x", "y", "width", "height"]) {
    if (entry[name]) entry[name] = Number(entry[name]); else delete entry[name];
  }
  if (entry.what === "favourite") {
    const button = $("favourite"), on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    entry.on = on;
  }
  const says = { mark: "mark", note: "note", favourite: entry.on ? "favourite" : "no favourite" };
  give(entry, event.submitter?.dataset.says ?? says[entry.what]);
  const fields = form.querySelectorAll("input:not([type=hidden])");
  for (const field of fields) field.value = "";
  if (!fields.length && entry.what !== "favourite") event.submitter.disabled = true;  // said once; the list is read anew soon
});

// ---- drawing

function add(parent, name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}
function drawTwice(parent, name, attributes) {  // a light line on a dark one is seen on all pictures
  for (const layer of ["under", "over"]) add(parent, name, { ...attributes, class: layer });
}
function drawSign(parent, x, y, text, isPoint) {
  const sign = add(add(parent, "g", { transform: `translate(${x} ${y})` }), "g", { class: "sign" });
  if (isPoint) drawTwice(sign, "circle", { r: 8 });
  if (text) add(sign, "text", isPoint ? { x: 10, y: -7 } : { x: 2, y: -5 }, text);
}
function drawMark(parent, mark, text) {
  const { x, y, width, height, polygon } = mark;
  if (polygon) drawTwice(parent, "polygon", { points: polygon });
  else if (width) drawTwice(parent, "rect", { x: x - width / 2, y: y - height / 2, width, height });
  drawSign(parent, x - (width || 0) / 2, y - (height || 0) / 2, text, !width);
}

export function paint() {
  const stage = $("stage"), layer = $("marks-layer");
  if (!stage || !layer) return;
  const drop = current(), size = sizeOf(), image = Number($("original").dataset.image);
  layer.setAttribute("viewBox", `0 0 ${size.width || 1} ${size.height || 1}`);
  layer.style.setProperty("--unit", size.width / ($("original").offsetWidth || 1));
  layer.replaceChildren();
  if (drop && drop.image !== image) return;
  const kept = scores.entries().filter((one) => one.image === image), undone = new Set(kept.filter((one) => !one.refused).map((one) => one.entry.undoes));
  const items = [...document.querySelectorAll("#marks-list li")];
  let number = 0;
  for (const item of items) {
    item.classList.toggle("leaving", undone.has(item.dataset.key));
    const { x, y, width, height, polygon } = item.dataset;
    number += 1;
    if (undone.has(item.dataset.key)) continue;
    drawMark(add(layer, "g", { class: "mark" }), { x: Number(x), y: Number(y), width: Number(width), height: Number(height), polygon }, String(number));
  }
  const waiting = kept.filter((one) => one.entry.what === "mark" && !undone.has(one.key) && !items.some((item) => item.dataset.key === one.key));
  for (const one of waiting) drawMark(add(layer, "g", { class: `mark ${one.refused ? "refused" : "waiting"}` }), one.entry, String(number += 1));
  $("marks-waiting")?.replaceChildren(...waiting.filter((one) => one.refused || scores.isLate(one)).map(lineOf));
  if (from && to) {
    const drag = add(layer, "g", { class: "mark" });
    if (mode === "ruler") {
      drawTwice(drag, "line", { x1: from.x, y1: from.y, x2: to.x, y2: to.y });
      drawSign(drag, to.x, to.y, lengthOf(from, to), false);
    } else {
      drawMark(drag, boxOf(from, to), "");
    }
  }
}

function lineOf(one) {
  const line = document.createElement("li");
  line.textContent = `mark at ${Math.round(one.entry.x)}, ${Math.round(one.entry.y)} px: ${one.refused ? `not saved: ${one.refused} ` : "waiting to be saved"}`;
  if (!one.refused) return line;
  for (const [text, act] of [["Try again", scores.retry], ["Discard", scores.discard]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => act(one));
    line.append(button);
  }
  return line;
}

// ---- the two modes

function setMode(chosen) {
  mode = chosen;
  from = to = null;
  for (const each of ["mark", "ruler"]) $(`${each}-mode`)?.setAttribute("aria-pressed", String(each === mode));
  $("stage").classList.toggle("pointing", mode !== "");
  $("ruler-said").textContent = { mark: "Click a crystal, or drag a box around it.", ruler: "Drag from one place to another." }[mode] ?? "";
  paint();
}

function setUpStage(stage) {
  let pointer = null, start = null;
  const mine = (event) => { event.preventDefault(); event.stopImmediatePropagation(); };
  stage.addEventListener("pointerdown", (event) => {
    if (!mode || event.button || !sizeOf().width) return;
    mine(event);
    if (mode === "mark" && stage.classList.contains("lapsing")) {  // that may be a picture of another inspection
      $("ruler-said").textContent = "Marks are of this inspection’s picture: end the time lapse (Esc) first.";
      return;
    }
    if (pointer !== null) return;
    pointer = event.pointerId;
    start = event;
    stage.setPointerCapture(pointer);
    from = placeOf(event);
    to = null;
    paint();
  }, true);
  stage.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    mine(event);
    if (Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) >= CLICK) to = placeOf(event);
    if (to && mode === "ruler") $("ruler-said").textContent = lengthOf(from, to);
    paint();
  }, true);
  stage.addEventListener("pointerup", (event) => {
    if (event.pointerId !== pointer) return;
    mine(event);
    pointer = null;
    if (mode !== "mark") return;  // the ruler stays
    const place = to ? boxOf(from, to) : from;
    from = to = null;
    giveMark(place);
    paint();
  }, true);
  stage.addEventListener("pointercancel", (event) => { if (event.pointerId === pointer) { pointer = from = to = null; paint(); } }, true);
  stage.addEventListener("dblclick", (event) => { if (mode) mine(event); }, true);
}

// Set up the picture and the lists that are on the page now; `drop` tells which drop is on the screen.
export function setUp(drop) {
  current = drop;
  const stage = $("stage");
  if (!stage) return;
  if (!$("marks-layer")) {
    add($("layers"), "svg", { id: "marks-layer", class: "overlay", "aria-hidden": "true" });
    setUpStage(stage);
    for (const each of ["mark", "ruler"]) {
      const button = $(`${each}-mode`);
      if (!button) continue;
      button.hidden = false;
      button.addEventListener("click", () => setMode(mode === each ? "" : each));
    }
    setMode($(`${mode}-mode`) ? mode : "");
    $("original").addEventListener("load", paint);
  }
  for (const line of document.querySelectorAll(".scripted")) line.hidden = false;
  paint();
}

// Keep what a person is typing when the facts beside the picture are read anew.
export function keepTyped(before, after) {
  for (const field of before.querySelectorAll("form.entry input:not([type=hidden]), form.entry select")) {
    const again = field.id && after.querySelector(`#${field.id}`);
    if (!again) continue;
    again.value = field.value;
    if (field === document.activeElement) requestAnimationFrame(() => again.focus());
  }
  for (const [n, open] of [...before.querySelectorAll("details")].map((one) => one.open).entries()) {
    const again = after.querySelectorAll("details")[n];
    if (open && again) again.open = true;
  }
}

// Use a key for marks; true if it was one.
export function key(name) {
  if (name === "Escape" && mode) { setMode(""); return true; }
  const button = $({ m: "mark-mode", r: "ruler-mode", "*": "favourite" }[name]);
  if (!button) return false;
  button.click();
  return true;
}

window.addEventListener("resize", paint);
