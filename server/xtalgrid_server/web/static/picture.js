// A drop's picture: the overlay, the class map, zoom and pan.

const $ = (id) => document.getElementById(id);

export function readSetting(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}
export function saveSetting(key, value) {
  try { localStorage.setItem(key, value); } catch { /* not available in private windows */ }
}

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

function setUpMap() {
  const tools = $("map-tools");
  if (!tools) return;
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
      const answer = await fetch(tools.dataset.maps.replace("GROUP", group.value));
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

// ---- zoom and pan: the layers move and scale inside the stage

const MAX_ZOOM = 12, MAX_ENLARGED = 4;
const view = { zoom: 1, x: 0, y: 0 };
const fingers = new Map();
let stage = null, layers = null;

function draw() {
  if (!stage) return;
  const width = layers.offsetWidth, height = layers.offsetHeight;
  view.x = Math.min(0, Math.max(stage.clientWidth - width * view.zoom, view.x));
  view.y = Math.min(0, Math.max(stage.clientHeight - height * view.zoom, view.y));
  layers.style.transform = view.zoom === 1 ? "" : `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
  layers.style.setProperty("--zoom", view.zoom);
  stage.classList.toggle("zoomed", view.zoom > 1);
}
function zoomTo(zoom, at) {
  if (!stage) return;
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
  $("zoom-tools").hidden = false;
  $("zoom-in").addEventListener("click", () => zoomTo(view.zoom * 1.5));
  $("zoom-out").addEventListener("click", () => zoomTo(view.zoom / 1.5));
  $("zoom-fit").addEventListener("click", () => zoomTo(1));
}
// A picture smaller than its place is enlarged to it.
function enlarge() {
  const picture = $("original");
  const width = Number(picture.getAttribute("width")) || picture.naturalWidth, height = Number(picture.getAttribute("height")) || picture.naturalHeight;
  const room = $("drop").clientWidth * (document.querySelector(".mates") ? 0.65 : 1);
  const times = Math.min(room / width, parseFloat(getComputedStyle(picture).maxHeight) / height, MAX_ENLARGED);
  picture.style.width = times > 1 ? `${Math.floor(width * times)}px` : "";
}
window.addEventListener("resize", () => { if (stage) { enlarge(); draw(); } });

// Set up the picture that is on the page now; without one, nothing zooms.
export function setUpPicture() {
  Object.assign(view, { zoom: 1, x: 0, y: 0 });
  fingers.clear();
  stage = $("stage");
  layers = $("layers");
  if (!stage) return;
  enlarge();
  $("original").addEventListener("load", enlarge);
  setUpOverlay();
  setUpChops();
  setUpMap();
  setUpZoom();
}

// Use a key for the picture; true if it was one.
export function pictureKey(key) {
  const inside = view.zoom > 1 && document.activeElement === stage;
  const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key];
  if (inside && step) { view.x += step[0] * 60; view.y += step[1] * 60; draw(); }
  else if (key === "Escape" && view.zoom > 1) zoomTo(1);
  else if (key === "+" || key === "=") zoomTo(view.zoom * 1.5);
  else if (key === "-") zoomTo(view.zoom / 1.5);
  else if (key === "f") zoomTo(1);
  else {
    const toggle = $({ b: "show-boxes", d: "show-outline", h: "show-map" }[key]);
    if (!toggle) return false;
    toggle.click();
  }
  return true;
}
