// The plate page: selecting several wells and scoring them at once. The scores go the same way as those of a drop's page.

import * as given from "./given.js";
import { keyOf } from "./keyboard.js";
import * as scores from "./waiting.js";
import "./sign_in.js";

const $ = (id) => document.getElementById(id);
const tiles = [...document.querySelectorAll("a.tile[data-image]")];
const keys = [...document.querySelectorAll("#selected [data-digits]")].map((button) =>
  ({ digits: button.dataset.digits, key: button.dataset.key, outcome: button.value, name: button.title, letter: button.querySelector("b") }));
let selecting = false, from = null, typed = "", forgetting = 0;

const selected = () => tiles.filter((tile) => tile.classList.contains("selected"));

function show() {
  const number = selected().length;
  $("selected").hidden = !selecting;
  $("select").setAttribute("aria-pressed", String(selecting));
  $("selected-number").textContent = typed ? `${typed}_` : `${number} selected`;
  for (const button of document.querySelectorAll("#selected [data-digits]")) button.disabled = !number;
  const last = given.last();
  $("undo-selected").hidden = !last?.batch;
  if (last?.batch) $("undo-selected").firstChild.textContent = `Undo ${saying(last)} `;
  if (given.said()) $("selected-said").textContent = given.said();
}

function saying({ batch, outcome }) {
  return `${keys.find((key) => key.outcome === outcome)?.name ?? "scores"} of ${batch.number} well${batch.number === 1 ? "" : "s"}`;
}

function start(on) {
  selecting = on;
  from = null;
  if (!on) for (const tile of tiles) tile.classList.remove("selected");
  document.body.classList.toggle("selecting", on);
  show();
}

function score(outcome) {
  const chosen = selected(), batch = { name: `${Date.now()}`, number: chosen.length };
  forget();
  for (const tile of chosen) {
    const { image, score, well } = tile.dataset, { pathname, search } = new URL(tile.href);
    given.push({ ...scores.give({ image: Number(image), score: Number(score) || null, outcome, drop: well, address: pathname + search }), batch });
    mark(tile, outcome);
    tile.classList.remove("selected");
  }
  show();
}

function undo() {
  const batch = given.last()?.batch;
  if (!batch) return;
  while (given.last()?.batch?.name === batch.name) {
    const undone = given.last();
    given.undid(undone.key, `Undone: ${saying(undone)}`);
    const refused = scores.refused().find((entry) => entry.key === undone.key);
    if (refused) scores.discard(refused);  // it never was saved
    else scores.give({ image: undone.image, score: null, outcome: "", undoes: undone.key, drop: undone.drop, address: undone.address });
    tiles.find((tile) => Number(tile.dataset.image) === undone.image)?.querySelector(".by-me")?.remove();
  }
  show();
}

function mark(tile, outcome) {
  tile.querySelector(".by-me")?.remove();
  const letter = keys.find((key) => key.outcome === outcome).letter.cloneNode(true);
  letter.classList.add("letter", "by-person", "by-me", "waiting");
  const said = tile.querySelector(".said") ?? document.createElement("span");
  said.className = "said";
  said.append(letter);
  tile.querySelector(".picture").append(said);
}

function forget() {
  clearTimeout(forgetting);
  typed = "";
}

function isOfScore(digits) {
  return keys.some((key) => key.digits.startsWith(digits));
}

document.addEventListener("click", (event) => {
  const tile = event.target.closest("a.tile[data-image]");
  if (!selecting || !tile || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const on = !tile.classList.contains("selected");
  const ends = [tiles.indexOf(tile), event.shiftKey && from !== null ? from : tiles.indexOf(tile)].sort((a, b) => a - b);
  for (const each of tiles.slice(ends[0], ends[1] + 1)) {
    if (each === tile || !each.classList.contains("dim")) each.classList.toggle("selected", event.shiftKey || on);  // not what is filtered out
  }
  from = tiles.indexOf(tile);
  show();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || document.querySelector("dialog:modal")) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const key = keyOf(event, (digit) => isOfScore(typed + digit));
  if (key === "s") { start(!selecting); return; }
  if (!selecting) return;
  if (key === "Escape") start(false);
  else if (key === " " && document.activeElement?.matches("a.tile")) { event.preventDefault(); document.activeElement.click(); }
  else if (key === "u") undo();
  else if (/^[0-9]$/.test(key)) {
    const text = typed + key, chosen = keys.find((each) => each.digits === text);
    forget();
    if (chosen) score(chosen.outcome);
    else if (isOfScore(text)) { typed = text; forgetting = setTimeout(() => { forget(); show(); }, 3000); }
    show();
  } else {
    const chosen = keys.find((each) => each.key && each.key === key);
    if (chosen) score(chosen.outcome);
  }
});

$("select").addEventListener("click", () => start(!selecting));
$("undo-selected").addEventListener("click", undo);
$("selected").addEventListener("click", (event) => {
  const button = event.target.closest("[data-digits]");
  if (button) score(button.value);
});
scores.changes.addEventListener("settled", ({ detail }) => {
  const state = scores.givenTo(detail.image)?.state ?? "stored";
  const letter = tiles.find((tile) => Number(tile.dataset.image) === detail.image)?.querySelector(".by-me");
  if (!letter) return;
  letter.classList.remove("waiting");
  letter.classList.add(state);
  letter.title = scores.givenTo(detail.image)?.refused || "saved";
});
$("select").hidden = false;
show();
