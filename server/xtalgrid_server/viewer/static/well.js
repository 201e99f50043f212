// The well page's keys and toggles. Without it the page shows everything and its links do the rest.
"use strict";

const $ = (id) => document.getElementById(id);

function remembered(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}
function remember(key, value) {
  try { localStorage.setItem(key, value); } catch { /* private windows keep nothing */ }
}

for (const part of ["boxes", "outline"]) {
  const box = $(`show-${part}`);
  if (!box) continue;
  const apply = () => $("drop").classList.toggle(`no-${part}`, !box.checked);
  box.checked = remembered(part) !== "off";
  box.addEventListener("change", () => { remember(part, box.checked ? "on" : "off"); apply(); });
  apply();
}

const zoom = $("zoom");
const stage = $("stage");
function toggleZoom(at) {
  const picture = stage.querySelector("img");
  const on = stage.classList.toggle("full");
  zoom.setAttribute("aria-pressed", String(on));
  const layers = stage.querySelector(".layers");
  const width = Number(layers.dataset.width) || picture.naturalWidth;
  layers.style.width = on ? `${width}px` : "";
  if (on) {
    const part = at || { x: 0.5, y: 0.5 };
    stage.scrollLeft = part.x * layers.scrollWidth - stage.clientWidth / 2;
    stage.scrollTop = part.y * layers.scrollHeight - stage.clientHeight / 2;
  }
}
zoom.hidden = false;
zoom.addEventListener("click", () => toggleZoom());
stage.addEventListener("dblclick", (event) => {
  const place = stage.querySelector("img").getBoundingClientRect();
  toggleZoom({ x: (event.clientX - place.left) / place.width, y: (event.clientY - place.top) / place.height });
});

// A chop of the list and its box in the picture light up together.
for (const item of document.querySelectorAll(".chops [data-box]")) {
  const box = document.querySelector(`.overlay [data-box="${item.dataset.box}"]`);
  if (!box) continue;
  const light = (on) => { $("drop").classList.toggle("one", on); box.classList.toggle("lit", on); };
  for (const [name, on] of [["mouseenter", true], ["mouseleave", false], ["focus", true], ["blur", false]]) {
    item.addEventListener(name, () => light(on));
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  const full = stage.classList.contains("full") && document.activeElement === stage;
  if (full && event.key.startsWith("Arrow")) return;  // the arrows move about in the large picture
  const go = { ArrowLeft: "previous", ArrowRight: "next", Escape: "up" }[event.key];
  if (go) {
    if (go === "up" && stage.classList.contains("full")) toggleZoom();
    else if ($(go)) { event.preventDefault(); $(go).click(); }
    return;
  }
  if (event.key === "z") toggleZoom();
  const toggle = { b: "show-boxes", o: "show-outline" }[event.key];
  if (toggle && $(toggle)) $(toggle).click();
});
