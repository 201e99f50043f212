// A drop's pictures at all its inspections, one after the other at the same place. Scores go to the page's inspection,
// whichever picture is shown.

import { keep, readKept, wantsLessMotion } from "./kept.js";

const $ = (id) => document.getElementById(id);
const AHEAD = 2, KEPT = 4;  // pictures loaded ahead, and kept
let frames = [];  // the data of the page's list, and once known shift: {right, down, problem}
let here = 0, at = 0, run = null, aligning = null;
const pictures = new Map();  // by address, the last used last

// ---- pictures, and how they lie on the page's own

function load(n) {
  const address = frames[n].picture, picture = pictures.get(address) ?? new Image();
  if (!picture.src) { picture.src = address; picture.alt = ""; }
  pictures.delete(address);
  pictures.set(address, picture);
  while (pictures.size > KEPT) pictures.delete(pictures.keys().next().value);
  return picture;
}

async function shiftBetween(image, other) {
  try {
    const answer = await fetch($("lapse-tools").dataset.aligned.replace("IMAGE", image).replace("OTHER", other));
    return answer.ok ? await answer.json() : { problem: `the viewer answered ${answer.status}` };
  } catch {
    return { problem: "the viewer does not respond" };
  }
}

// Each picture is laid on its neighbour towards the page's own, which it resembles most; one that can't be is passed
// over.
async function align() {
  const mine = frames;
  frames[here].shift = { right: 0, down: 0 };
  for (const step of [-1, 1]) {
    let neighbour = mine[here];
    for (let n = here + step; mine[n]; n += step) {
      const { right, down, problem } = await shiftBetween(neighbour.image, mine[n].image);
      if (mine !== frames) return;
      mine[n].shift = problem ? { right: 0, down: 0, problem } : { right: neighbour.shift.right + right, down: neighbour.shift.down + down };
      if (!problem) neighbour = mine[n];
      paint();
    }
  }
}

// ---- showing

async function show(n) {
  const mine = frames;
  at = n;
  aligning ??= align();
  $("lapse-status").textContent = "";
  const picture = load(n);
  const isThere = await picture.decode().then(() => true, () => false);
  if (mine !== frames || at !== n) return;
  $("lapse").replaceChildren(...(isThere ? [picture] : []));
  if (!isThere) $("lapse-status").textContent = "there is no picture of this inspection";
  for (let ahead = 1; ahead <= AHEAD; ahead += 1) load((n + ahead) % frames.length);
  $("stage").classList.add("lapsing");
  paint();
}

function paint() {
  const stage = $("stage"), isOn = stage.classList.contains("lapsing"), frame = frames[at];
  stage.classList.remove(...[...stage.classList].filter((name) => name.startsWith("o-")));
  $("lapse").hidden = $("lapse-label").hidden = $("lapse-leave").hidden = !isOn;
  $("lapse-play").setAttribute("aria-pressed", String(Boolean(run)));
  $("lapse-play").firstChild.textContent = run ? "Pause " : "Play ";
  const known = frames.filter((each) => each.shift).length;
  if (run && known < frames.length) $("lapse-status").textContent = `aligning ${known} of ${frames.length}…`;
  else if ($("lapse-status").textContent.startsWith("aligning")) $("lapse-status").textContent = "";
  if (!isOn) return;
  const { right = 0, down = 0, problem } = frame.shift ?? {};
  $("lapse").style.transform = `translate(${100 * right}%, ${100 * down}%)`;
  stage.classList.add(`o-${frame.kind}`);
  $("lapse-letter").className = `letter o-${frame.kind}`;
  $("lapse-letter").textContent = frame.letter;
  const aligned = frame.shift ? (problem && `not aligned: ${problem}`) : "not aligned yet";
  const scored = at === here ? "" : `scores go to inspection ${frames[here].inspection}`;
  $("lapse-words").textContent = [frame.when, `${frame.hours} h after the first inspection`, `inspection ${frame.inspection}`, frame.name, aligned, scored].filter(Boolean).join(" · ");
  $("lapse-label").setAttribute("aria-live", run ? "off" : "polite");
}

function leave() {
  run = null;
  at = here;
  $("stage").classList.remove("lapsing");
  $("lapse").replaceChildren();
  paint();
}

function step(by) {
  run = null;
  show((at + by + frames.length) % frames.length);
}

async function play() {
  if (wantsLessMotion()) { step(1); return; }
  const mine = run = {};
  aligning ??= align();
  paint();
  await aligning;
  for (let n = at === frames.length - 1 ? 0 : at; run === mine; n = (n + 1) % frames.length) {
    await show(n);
    const seconds = (n === frames.length - 1 ? 2 : 1) / Number($("lapse-speed").value);
    await new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
  }
}

function toggle() {
  if (run) { run = null; paint(); } else play();
}

export function setUp() {
  run = aligning = null;
  frames = [];
  pictures.clear();
  const tools = $("lapse-tools");
  if (!tools) return;
  tools.hidden = false;
  frames = [...document.querySelectorAll("#inspections li")].map((item) => ({ ...item.dataset }));
  at = here = frames.findIndex((frame) => "here" in frame);
  const speed = $("lapse-speed");
  speed.value = readKept("lapse-speed") ?? speed.value;
  speed.addEventListener("change", () => keep("lapse-speed", speed.value));
  $("lapse-play").addEventListener("click", toggle);
  $("lapse-back").addEventListener("click", () => step(-1));
  $("lapse-on").addEventListener("click", () => step(1));
  $("lapse-leave").addEventListener("click", leave);
}

export function useKey(key) {
  if (!frames.length) return false;
  if (key === " ") toggle();
  else if (key === ",") step(-1);
  else if (key === ".") step(1);
  else if (key === "Escape" && (run || $("stage").classList.contains("lapsing"))) leave();
  else return false;
  return true;
}
