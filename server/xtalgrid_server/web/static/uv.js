// The picture in UV or other light over the visible one, in the same zoom: half transparent, or in turn with it.

import { keep, readKept, wantsLessMotion } from "./kept.js";

const $ = (id) => document.getElementById(id);
const MODES = ["off", "over", "blink"];
const BLINK = 700;  // milliseconds for each of the two: slower than what may harm people
let timer = 0;

async function align(picture, address) {
  const status = $("uv-status");
  picture.style.transform = "";
  status.textContent = "aligning…";
  let found;
  try {
    const answer = await fetch(address);
    found = answer.ok ? await answer.json() : { problem: `the viewer answered ${answer.status}` };
  } catch {
    found = { problem: "the viewer does not respond" };
  }
  if ($("uv") !== picture || picture.dataset.alignment !== address || picture.hidden) return;
  if (!found.problem) picture.style.transform = `translate(${100 * found.right}%, ${100 * found.down}%)`;
  status.textContent = found.problem ? `not aligned: ${found.problem}` : "aligned";
}

function show() {
  const picture = $("uv"), mode = $("uv-mode").value, opacity = $("uv-opacity");
  clearInterval(timer);
  keep("uv", { mode, opacity: opacity.value });
  picture.hidden = mode === "off";
  opacity.disabled = mode !== "over";
  picture.style.opacity = mode === "over" ? opacity.value / 100 : 1;
  if (mode === "off") { $("uv-status").textContent = ""; return; }
  const { picture: source, alignment } = $("uv-which").selectedOptions[0].dataset;
  if (picture.dataset.alignment !== alignment || !$("uv-status").textContent) {
    picture.src = source;
    picture.dataset.alignment = alignment;
    align(picture, alignment);
  }
  if (mode === "blink" && !wantsLessMotion()) {
    timer = setInterval(() => { picture.style.opacity = 1 - picture.style.opacity; }, BLINK);
  }
}

export function setUp() {
  clearInterval(timer);
  const tools = $("uv-tools");
  if (!tools) return;
  const kept = readKept("uv"), mode = $("uv-mode"), opacity = $("uv-opacity");
  tools.hidden = false;
  if (wantsLessMotion()) mode.querySelector("[value=blink]").textContent = "alone";
  mode.value = MODES.includes(kept?.mode) ? kept.mode : "off";
  opacity.value = kept?.opacity ?? opacity.value;
  for (const field of [mode, $("uv-which")]) field.addEventListener("change", show);
  opacity.addEventListener("input", show);
  $("uv").addEventListener("error", () => { $("uv-status").textContent = "there is no picture in this light"; });
  show();
}

export function useKey(key) {
  if (key !== "v") return false;
  const mode = $("uv-mode");
  if (mode) { mode.value = MODES[(MODES.indexOf(mode.value) + 1) % MODES.length]; show(); }
  return true;
}
