// A drop's picture: the overlay, zoom and pan; and the keys of all that is done with it.

import * as classMap from "./class_map.js";
import * as fullScreen from "./full_screen.js";
import { keep, readKept, readSetting, saveSetting } from "./kept.js";
import * as timeLapse from "./time_lapse.js";
import * as tone from "./tone.js";
import * as uv from "./uv.js";

const $ = (id) => document.getElementById(id);

function setUpOverlay() {
  for (const part of ["boxes", "outline", "marks"]) {
    const box = $(`show-${part}`);
    if (!box) continue;
    const apply = () => $("drop").classList.toggle(`no-${part}`, !box.checked);
    box.checked = readSetting(part) !== "off";
    box.addEventListener("change", () => { saveSetting(part, box.checked ? "on" : "off"); apply(); });
    apply();
  }
}

export function setUpChops() {
  // A chop in the list and its box in the picture are highlighted together.
  for (const item of document.querySelectorAll(".chops [data-box]")) {
    const box = document.querySelector(`.overlay [data-box="${item.dataset.box}"]`);
    if (!box) continue;
    const light = (on) => { $("drop").classList.toggle("one", on); box.classList.toggle("lit", on); };
    for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) {
      item.addEventListener(name, () => light(on));
    }
  }
}

// ---- zoom and pan: the layers move and scale inside the stage

const MAX_ZOOM = 12, MAX_ENLARGED = 4, WHOLE = { zoom: 1, x: 0.5, y: 0.5 };
// What one sees of the picture, relative to it, so that it can be kept for pictures of other sizes: `x` and `y`, 0..1,
// are the point in the middle of the stage.
const view = { ...WHOLE, ...readKept("view") };
const fingers = new Map();
let stage = null, layers = null;

// A picture's width and height in pixels of its file. Browsers exchange `naturalWidth` and `naturalHeight` where EXIF
// data turn a picture, also if it is shown as it is stored (style.css).
export function sizeOf(picture) {
  const [width, height] = ["width", "height"].map((name) => Number(picture.getAttribute(name)));
  if (width && height) return { width, height };
  const { naturalWidth, naturalHeight, offsetWidth, offsetHeight } = picture;
  const isTurned = offsetWidth && (offsetWidth - offsetHeight) * (naturalWidth - naturalHeight) < 0;
  return isTurned ? { width: naturalHeight, height: naturalWidth } : { width: naturalWidth, height: naturalHeight };
}

function draw() {
  if (!stage || !layers.offsetWidth) return;
  const width = layers.offsetWidth * view.zoom, height = layers.offsetHeight * view.zoom;
  const inside = (part, half) => Math.min(Math.max(part, Math.min(half, 0.5)), Math.max(1 - half, 0.5));
  view.x = inside(view.x, stage.clientWidth / 2 / width);
  view.y = inside(view.y, stage.clientHeight / 2 / height);
  const left = stage.clientWidth / 2 - view.x * width, top = stage.clientHeight / 2 - view.y * height;
  layers.style.transform = view.zoom === 1 ? "" : `translate(${left}px, ${top}px) scale(${view.zoom})`;
  layers.style.setProperty("--zoom", view.zoom);
  stage.classList.toggle("zoomed", view.zoom > 1);
  $("zoom-now").textContent = view.zoom > 1 ? `zoomed ${view.zoom.toFixed(1)}×` : "";
  keep("view", view);
}
// Zoom so that the point of the picture at this place of the stage stays there.
function zoomTo(zoom, at) {
  if (!stage || !layers.offsetWidth) return;  // the picture is not there yet
  zoom = Math.min(Math.max(zoom, 1), MAX_ZOOM);
  const place = at || { x: stage.clientWidth / 2, y: stage.clientHeight / 2 };
  const less = 1 / view.zoom - 1 / zoom;
  view.x += (place.x - stage.clientWidth / 2) / layers.offsetWidth * less;
  view.y += (place.y - stage.clientHeight / 2) / layers.offsetHeight * less;
  view.zoom = zoom;
  draw();
}
function moveBy(right, down) {
  view.x -= right / (layers.offsetWidth * view.zoom);
  view.y -= down / (layers.offsetHeight * view.zoom);
  draw();
}
function placeOf(event) {
  const at = stage.getBoundingClientRect();
  return { x: event.clientX - at.left, y: event.clientY - at.top };
}
function fullSize() {
  return Math.max(1, sizeOf($("original")).width / layers.offsetWidth);
}
function setUpZoom() {
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomTo(view.zoom * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), placeOf(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => zoomTo(view.zoom > 1 ? 1 : Math.max(fullSize(), 2), placeOf(event)));
  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, placeOf(event));
    if (view.zoom > 1) { stage.setPointerCapture(event.pointerId); event.preventDefault(); stage.focus({ preventScroll: true }); }
  });
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = placeOf(event);
    if (fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const apart = (place) => Math.hypot(place.x - other.x, place.y - other.y) || 1;
      zoomTo(view.zoom * apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    } else if (view.zoom > 1) {
      moveBy(now.x - before.x, now.y - before.y);
    }
    fingers.set(event.pointerId, now);
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
    stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  $("zoom-tools").hidden = false;
  $("zoom-in").addEventListener("click", () => zoomTo(view.zoom * 1.5));
  $("zoom-out").addEventListener("click", () => zoomTo(view.zoom / 1.5));
  $("zoom-fit").addEventListener("click", () => zoomTo(1));
}
// A field that was used with the pointer gives the keys back to the drop.
function giveKeysBack(field) {
  let isByPointer = false;
  field.addEventListener("pointerdown", () => { isByPointer = true; });
  field.addEventListener("keydown", () => { isByPointer = false; });
  field.addEventListener(field.matches("select") ? "change" : "pointerup", () => { if (isByPointer) field.blur(); });
}
// A picture smaller than its place is enlarged to it.
function enlarge() {
  const picture = $("original");
  const { width, height } = sizeOf(picture);
  const room = $("drop").clientWidth * (document.querySelector(".mates") ? 0.65 : 1);
  const times = Math.min(room / width, parseFloat(getComputedStyle(picture).maxHeight) / height, MAX_ENLARGED);
  picture.style.width = times > 1 ? `${Math.floor(width * times)}px` : "";
}
window.addEventListener("resize", () => { if (stage) { enlarge(); draw(); } });

// Set up the picture that is on the page now; without one, nothing zooms.
export function setUpPicture() {
  fingers.clear();
  stage = $("stage");
  layers = $("layers");
  for (const part of [classMap, uv, timeLapse, tone, fullScreen]) part.setUp();
  if (!stage) return;
  enlarge();
  $("original").addEventListener("load", () => { enlarge(); draw(); });
  setUpOverlay();
  setUpChops();
  setUpZoom();
  for (const field of document.querySelectorAll("figcaption select, figcaption input[type=range]")) giveKeysBack(field);
  draw();
}

// Use a key for the picture; true if it was one.
export function pictureKey(key) {
  const inside = view.zoom > 1 && document.activeElement === stage;
  const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
  if (timeLapse.useKey(key) || uv.useKey(key)) return true;
  if (inside && step) moveBy(step[0] * 60, step[1] * 60);
  else if (key === "Escape" && view.zoom > 1) zoomTo(1);
  else if (key === "+" || key === "=") zoomTo(view.zoom * 1.5);
  else if (key === "-") zoomTo(view.zoom / 1.5);
  else if (key === "f") zoomTo(1);
  else if (fullScreen.useKey(key)) return true;
  else {
    const toggle = $({ b: "show-boxes", d: "show-outline", h: "show-map" }[key]);
    if (!toggle) return false;
    toggle.click();
  }
  return true;
}
