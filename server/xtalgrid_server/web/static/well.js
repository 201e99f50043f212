// The well page: zoom and pan, the overlay, and scoring by keys. Without scripts, the page's forms and links still work.
"use strict";

const $ = (id) => document.getElementById(id);

function readSetting(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}
function saveSetting(key, value) {
  try { localStorage.setItem(key, value); } catch { /* not available in private windows */ }
}

// ---- the overlay

for (const part of ["boxes", "outline"]) {
  const box = $(`show-${part}`);
  if (!box) continue;
  const apply = () => $("drop").classList.toggle(`no-${part}`, !box.checked);
  box.checked = readSetting(part) !== "off";
  box.addEventListener("change", () => { saveSetting(part, box.checked ? "on" : "off"); apply(); });
  apply();
}

const tools = $("map-tools");
if (tools) {
  const box = $("show-map"), group = $("map-group"), map = $("map"), status = $("map-status");
  let requests = 0;
  tools.hidden = false;
  group.value = readSetting("map-group") || group.value;
  if (!group.value) group.selectedIndex = 0;
  const show = async () => {
    saveSetting("map", box.checked ? "on" : "off");
    saveSetting("map-group", group.value);
    map.hidden = true;
    status.textContent = "";
    if (!box.checked) return;
    const request = ++requests;
    const waiting = setTimeout(() => { status.textContent = "drawing the map…"; }, 300);
    try {
      const answer = await fetch(`${tools.dataset.root}/map/${group.value}/${tools.dataset.score}.png`);
      if (request !== requests) return;
      if (!answer.ok) { status.textContent = answer.headers.get("content-type").startsWith("text/plain") ? await answer.text() : "no map"; return; }
      map.src = answer.url;
      map.hidden = false;
      status.textContent = "";
    } catch {
      status.textContent = "the viewer does not respond";
    } finally {
      clearTimeout(waiting);
    }
  };
  box.addEventListener("change", show);
  group.addEventListener("change", () => { box.checked = true; show(); });
  box.checked = readSetting("map") === "on";
  if (box.checked) show();
}

// A chop in the list and its box in the picture are highlighted together.
for (const item of document.querySelectorAll(".chops [data-box]")) {
  const box = document.querySelector(`.overlay [data-box="${item.dataset.box}"]`);
  if (!box) continue;
  const light = (on) => { $("drop").classList.toggle("one", on); box.classList.toggle("lit", on); };
  for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) {
    item.addEventListener(name, () => light(on));
  }
}

// ---- zoom and pan: the layers move and scale inside the stage

const stage = $("stage"), layers = $("layers");
const MAX_ZOOM = 12;
const view = { zoom: 1, x: 0, y: 0 };
const fingers = new Map();

function draw() {
  const width = layers.offsetWidth, height = layers.offsetHeight;
  view.x = Math.min(0, Math.max(stage.clientWidth - width * view.zoom, view.x));
  view.y = Math.min(0, Math.max(stage.clientHeight - height * view.zoom, view.y));
  layers.style.transform = view.zoom === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
  layers.style.setProperty("--zoom", view.zoom);
  stage.classList.toggle("zoomed", view.zoom > 1);
}
function zoomTo(zoom, at) {
  zoom = Math.min(Math.max(zoom, 1), MAX_ZOOM);
  const place = at || { x: stage.clientWidth / 2, y: stage.clientHeight / 2 };
  view.x = place.x - (place.x - view.x) * zoom / view.zoom;
  view.y = place.y - (place.y - view.y) * zoom / view.zoom;
  view.zoom = zoom;
  draw();
}
function placeOf(event) {
  const at = stage.getBoundingClientRect();
  return { x: event.clientX - at.left, y: event.clientY - at.top };
}
function fullSize() {
  return Math.max(1, $("original").naturalWidth / layers.offsetWidth);
}

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
    view.x += now.x - before.x;
    view.y += now.y - before.y;
    draw();
  }
  fingers.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel", "pointerleave"]) {
  stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
}
stage.addEventListener("dragstart", (event) => event.preventDefault());
window.addEventListener("resize", draw);
$("zoom-tools").hidden = false;
$("zoom-in").addEventListener("click", () => zoomTo(view.zoom * 1.5));
$("zoom-out").addEventListener("click", () => zoomTo(view.zoom / 1.5));
$("zoom-fit").addEventListener("click", () => zoomTo(1));

// ---- keys

const form = $("score-form");
const digits = $("digits");
let first = "", forget = 0;

const stay = $("stay");
if (stay) {
  stay.checked = readSetting("stay") === "on";
  stay.addEventListener("change", () => saveSetting("stay", stay.checked ? "on" : "off"));
}

function type(digit) {
  clearTimeout(forget);
  const buttons = [...form.querySelectorAll("[data-digits]")];
  const typed = first + digit;
  const chosen = buttons.find((button) => button.dataset.digits === typed);
  const possible = buttons.filter((button) => button.dataset.digits.startsWith(typed));
  const clear = () => { first = ""; digits.textContent = ""; buttons.forEach((button) => button.classList.remove("possible")); };
  clear();
  if (chosen) { chosen.click(); return; }
  if (!possible.length) { digits.textContent = `no score ${typed}`; forget = setTimeout(clear, 1500); return; }
  first = typed;
  digits.textContent = `${typed}_`;
  possible.forEach((button) => button.classList.add("possible"));
  forget = setTimeout(clear, 3000);
}

function follow(id, event) {
  const link = $(id);
  if (!link) return;
  event.preventDefault();
  link.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const inside = view.zoom > 1 && document.activeElement === stage;
  const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (inside && step) {  // the arrow keys pan the enlarged picture
    event.preventDefault();
    view.x += step[0] * 60; view.y += step[1] * 60; draw();
    return;
  }
  const link = { ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "earlier", ArrowDown: "later" }[event.key];
  if (link) { follow(link, event); return; }
  if (event.key === "Escape") { if (view.zoom > 1) zoomTo(1); else follow("up", event); return; }
  if (event.key === "+" || event.key === "=") zoomTo(view.zoom * 1.5);
  else if (event.key === "-") zoomTo(view.zoom / 1.5);
  else if (event.key === "f") zoomTo(1);
  else if (form && /^[0-9]$/.test(event.key)) type(event.key);
  else if (form && event.key === "a" && form.querySelector("[data-agrees]")) form.querySelector("[data-agrees]").click();
  else if (event.key === "u" && $("undo-form")) $("undo-form").requestSubmit();
  const toggle = { b: "show-boxes", o: "show-outline", h: "show-map" }[event.key];
  if (toggle && $(toggle)) $(toggle).click();
});
