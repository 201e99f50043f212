// Brightness, contrast and gamma of the pictures on the screen; scores and files never see them.

import { keep, readKept } from "./kept.js";

const $ = (id) => document.getElementById(id);
const NAMES = ["brightness", "contrast", "gamma"];
const NEUTRAL = { brightness: 0, contrast: 0, gamma: 0 };  // of the sliders, -100..100
const STEPS = 64;
const tone = { ...NEUTRAL, ...readKept("tone") };

let middle = null;  // the picture's own brightness, 0..1, which contrast leaves as it is; null: not measured yet

// What a slider means: brightness adds up to half of the range, contrast and gamma are factors from 1/4 to 4.
const meaning = {
  brightness: (value) => value / 200,
  contrast: (value) => 4 ** (value / 100),
  gamma: (value) => 4 ** (value / 100),
};
function words(name) {
  const value = meaning[name](tone[name]);
  return name === "brightness" ? `${value > 0 ? "+" : ""}${Math.round(100 * value)} %` : `${value.toFixed(2)}×`;
}

function curve() {
  const [brightness, contrast, gamma] = NAMES.map((name) => meaning[name](tone[name]));
  if (contrast !== 1) middle ??= brightnessOf($("original"));
  const around = middle ?? 0.5;
  const inside = (value) => Math.min(Math.max(value, 0), 1);
  const tones = Array.from({ length: STEPS + 1 }, (_, n) => inside((n / STEPS - around) * contrast + around) ** (1 / gamma));
  return tones.map((value) => inside(value + brightness).toFixed(4)).join(" ");
}

function brightnessOf(picture) {
  if (!picture.naturalWidth) return null;
  const canvas = document.createElement("canvas"), side = 32;
  canvas.width = canvas.height = side;
  const drawing = canvas.getContext("2d");
  drawing.drawImage(picture, 0, 0, side, side);
  const { data } = drawing.getImageData(0, 0, side, side);
  return data.reduce((sum, value, n) => sum + (n % 4 === 3 ? 0 : value), 0) / (side * side * 3 * 255);
}

function filter() {
  const found = $("tone-filter");
  if (found) return found;
  const make = (name, parent, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    parent.append(element);
    return element;
  };
  const svg = make("svg", document.body, { width: 0, height: 0, class: "sr", "aria-hidden": "true" });
  const made = make("filter", svg, { id: "tone-filter", x: 0, y: 0, width: 1, height: 1, "color-interpolation-filters": "sRGB" });
  const transfer = make("feComponentTransfer", made, {});
  for (const channel of "RGB") make(`feFunc${channel}`, transfer, { type: "table" });
  return made;
}

function apply() {
  const isNeutral = NAMES.every((name) => !tone[name]);
  if (!isNeutral) for (const channel of filter().querySelectorAll("[type=table]")) channel.setAttribute("tableValues", curve());
  for (const id of ["original", "lapse", "uv"]) {
    if ($(id)) $(id).style.filter = isNeutral ? "" : "url(#tone-filter)";
  }
  for (const name of NAMES) {
    const slider = $(`tone-${name}`);
    slider.value = tone[name];
    slider.setAttribute("aria-valuetext", words(name));
    $(`tone-${name}-value`).textContent = words(name);
  }
  $("tone-changed").hidden = isNeutral;
  keep("tone", tone);
}

export function setUp() {
  const panel = $("tone");
  if (!panel) return;
  panel.hidden = false;
  panel.open = readKept("tone-open") === true;
  panel.addEventListener("toggle", () => keep("tone-open", panel.open));
  for (const name of NAMES) {
    const slider = $(`tone-${name}`);
    slider.addEventListener("input", () => { tone[name] = Number(slider.value); apply(); });
  }
  $("tone-reset").addEventListener("click", () => { Object.assign(tone, NEUTRAL); apply(); });
  middle = null;
  $("original").addEventListener("load", apply);
  apply();
}
