// The well page: going from drop to drop and scoring by keys, without page loads. A score belongs to the drop that was
// on the screen when its first key was pressed. Without scripts, the page's forms and links do the same.

import { readSetting, saveSetting } from "./kept.js";
import { keyOf } from "./keyboard.js";
import { pictureKey, setUpChops, setUpPicture } from "./picture.js";
import * as given from "./given.js";
import * as marks from "./marks.js";
import * as pages from "./pages.js";
import * as scores from "./waiting.js";
import "./sign_in.js";

const $ = (id) => document.getElementById(id);
const me = document.body.dataset.visitor;
const AHEAD = 4;  // pages read ahead
const SECOND_CLICK = 250;  // milliseconds: a click so soon after a drop appeared was meant for the one before

// The list of an inspection's drops stays as it was when the person came, also if scores change its order.
let drops, folder, at;
function readList() {
  drops = $("steps").dataset.drops.split(",").map((text) => {
    const [well, image, score, known] = text.split(" ");
    return { well, image: Number(image), score: Number(score) || null, scored: known.includes("s"), likely: known.includes("l") };
  });
  folder = location.pathname.replace(/[^/]*$/, "");
  at = drops.findIndex((drop) => drop.well === decodeURIComponent(location.pathname.slice(folder.length)));
}
readList();
const keys = [...document.querySelectorAll("#score-form [data-digits]")].map((button) =>
  ({ digits: button.dataset.digits, key: button.dataset.key, outcome: button.value, name: button.querySelector("span").textContent, letter: button.querySelector("b").cloneNode(true) }));
const view = new URLSearchParams(location.search);
view.delete("image");
view.delete("undone");
const query = view.size ? `?${view}` : "";

let typed = null;  // the first digit and the drop it was typed for
let forgetting = 0, appeared = 0;

function pathOf(address) {
  const { pathname, search } = new URL(address, location);
  return pathname + search;
}
function addressOf(drop) {
  return `${folder}${encodeURIComponent(drop.well)}${query}`;
}
// The drop on the screen: as its page shows it, or as the list says while the page is on its way.
function current() {
  const drop = drops[at], form = $("score-form");
  if (!drop) return null;
  if (!form) return { ...drop, address: addressOf(drop) };
  return { well: drop.well, image: Number(form.image.value), score: Number(form.score?.value) || null, address: addressOf(drop) };
}

// ---- going from drop to drop

function goTo(place, push = true) {
  if (place < 0) return;
  forgetDigits();
  at = place;
  const drop = drops[at];
  if (!drop) { show(message("end-of-list")); return; }
  const address = addressOf(drop);
  if (push) history.pushState(null, "", address);
  const page = pages.ready(address);
  if (page) open(page, address); else { show(message("loading", drop.well)); load(address); }
  readAhead();
}

// Load a drop's page, `from` its address with another of its images.
async function load(address, from = address) {
  for (let pause = 200; drops[at] && addressOf(drops[at]) === address; pause = Math.min(2 * pause, 5000)) {
    try {
      const page = await pages.get(from);
      if (drops[at] && addressOf(drops[at]) === address) open(page, from);
      return;
    } catch {
      const line = $("loading-problem");
      if (line) line.textContent = "The viewer does not answer; trying again.";
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }
}

function open(page, address) {
  pages.forget(address);  // it can be shown once
  if (page.visitor !== me) {
    show(message("loading", drops[at].well));
    $("loading-problem").textContent = "Sign in to see it.";
    scores.changes.dispatchEvent(new Event("sign-in"));
    return;
  }
  if (page.version !== document.body.dataset.version) { location.assign(address); return; }  // the viewer was upgraded
  document.title = page.title;
  const facts = page.main.querySelector(".facts"), picture = page.main.querySelector("#original");
  if (facts && picture.dataset.image === $("original")?.dataset.image) {  // the picture stays, with its zoom
    marks.keepTyped(document.querySelector(".facts"), facts);
    document.querySelector(".facts").replaceWith(facts);
    setUpChops();
    setUpForm();
    marks.setUp(current);
    paint();
  } else {
    scores.forgetStored(Number(picture?.dataset.image), page.asked);
    show(page.main);
  }
}

// Another inspection has a list of its own, in the page's head.
async function goToInspection(address) {
  const before = location.href;
  const page = await pages.get(address).catch(() => null);
  if (location.href !== before) return;  // the person went on
  if (page?.visitor !== me || !page.tools.querySelector("#steps")) { location.assign(address); return; }
  forgetDigits();
  history.pushState(null, "", address);
  document.querySelector(".tools").replaceWith(page.tools);
  readList();
  open(page, address);
  readAhead();
}

function readAhead() {
  for (const drop of drops.slice(at + 1, at + 1 + AHEAD)) pages.get(addressOf(drop)).catch(() => {});
}

function message(template, well = "") {
  const main = document.createElement("main");
  main.id = "main";
  main.append($(template).content.cloneNode(true));
  for (const place of main.querySelectorAll("[data-well]")) place.textContent = well;
  return main;
}

function show(main) {
  $("main").replaceWith(main);
  appeared = performance.now();
  $("shown-drop").textContent = document.title;
  setUpPicture();
  setUpForm();
  marks.setUp(current);
  paint();
}

function setUpForm() {
  const stay = $("stay");
  if (!stay) return;
  stay.checked = readSetting("stay") === "on";
  stay.addEventListener("change", () => saveSetting("stay", stay.checked ? "on" : "off"));
}

// ---- scoring

function score(outcome, drop = current()) {
  forgetDigits();
  if (!drop || !keys.length) return;
  given.push(scores.give({ image: drop.image, score: drop.score, outcome, drop: drop.well, address: drop.address }));
  pages.forget(drop.address);
  const stays = $("stay") ? $("stay").checked : readSetting("stay") === "on";
  if (outcome && !stays) goTo(at + 1);
}

// What "undo" undoes: the last score given in this tab, or the one that the page names.
function undoable() {
  const { name, image, drop, outcome, address } = $("undo-form")?.dataset ?? {};
  const named = name && !given.isUndone(name) && { key: name, image: Number(image), drop, outcome, address: pathOf(address) };
  return given.last() ?? named;
}
function saying({ drop, outcome, address, mark }) {
  const plate = address.startsWith(folder) ? "" : `${decodeURIComponent(address.split("/well/")[1].split("/").slice(0, -2).join("/"))} `;
  return `${plate}${drop}, ${mark ?? keys.find((key) => key.outcome === outcome)?.name ?? "withdrawn"}`;
}

function undo() {
  const undone = undoable();
  if (!undone) return;
  given.undid(undone.key, `Undone: ${saying(undone)}`);
  const refused = scores.refused().find((entry) => entry.key === undone.key);
  if (refused) { scores.discard(refused); return; }  // it never was saved
  const undoes = undone.key.length === 32 ? undone.key : "";  // a plain form's score has no key
  const { image, drop, address } = undone;
  if (undone.mark) scores.give({ image, drop, address, entry: { what: "undo", undoes: undone.key } });
  else scores.give({ image: undone.image, score: null, outcome: "", undoes, drop: undone.drop, address: undone.address });
  pages.forget(undone.address);
  const place = drops.findIndex((drop) => addressOf(drop) === undone.address);
  if (undone.mark && place === at) paint();
  else if (place >= 0) goTo(place, place !== at);
  else if (undone.address) scores.settled(2000).then(() => location.assign(undone.address));
}

function isOfScore(digits) {
  return keys.some((key) => key.digits.startsWith(digits));
}
function type(digit) {
  clearTimeout(forgetting);
  const drop = typed ? typed.drop : current();
  const text = (typed ? typed.digits : "") + digit;
  const chosen = keys.find((key) => key.digits === text);
  forgetDigits();
  if (!drop) return;
  if (chosen) { score(chosen.outcome, drop); return; }
  if (isOfScore(text)) typed = { digits: text, drop };
  forgetting = setTimeout(forgetDigits, typed ? 3000 : 1500);
  paintDigits(typed ? `${text}_` : `no score ${text}`);
}
function forgetDigits() {
  clearTimeout(forgetting);
  typed = null;
  paintDigits("");
}

// ---- what this page knows better than the viewer's page did

function paintDigits(text) {
  for (const place of document.querySelectorAll(".digits")) place.textContent = text;
  for (const button of document.querySelectorAll("#score-form [data-digits]")) {
    button.classList.toggle("possible", Boolean(typed) && button.dataset.digits.startsWith(typed.digits));
  }
}

// Whether anybody has scored a drop: this person since the list was made, or somebody before.
function isScored(drop) {
  const own = scores.givenTo(drop.image);
  return own?.outcome ? own.state !== "refused" : drop.scored;
}
function nextUnscored() {
  const place = [...drops.keys()].map((n) => (at + 1 + n) % drops.length).find((n) => n !== at && !isScored(drops[n]));
  return place ?? -1;
}

function paintLink(id, place, text) {
  const link = $(id), drop = drops[place];
  link.classList.toggle("off", !drop);
  link.textContent = drop ? text(drop.well) : text("");
  if (drop) link.href = addressOf(drop); else link.removeAttribute("href");
}

function paint() {
  marks.paint();
  paintLink("previous", at - 1, (well) => `← ${well}`);
  paintLink("next", at + 1, (well) => `${well} →`);
  $("place").textContent = Math.min(at + 1, drops.length);
  const unscored = $("unscored"), place = nextUnscored();
  unscored.classList.toggle("off", place < 0);
  if (place >= 0) unscored.href = addressOf(drops[place]); else unscored.removeAttribute("href");
  const counted = "likely" in $("progress").dataset ? drops.filter((each) => each.likely) : drops;
  $("progress").textContent = `${counted.filter(isScored).length} of ${counted.length}`;
  paintDigits(typed ? `${typed.digits}_` : "");
  for (const tile of document.querySelectorAll(".strip [data-image]")) paintMark(tile);
  const drop = current(), own = drop && scores.givenTo(drop.image);
  const form = $("score-form");
  if (own && form) {
    const undone = own.undoes !== undefined;
    for (const button of form.querySelectorAll("[data-digits]")) {
      if (!(undone && own.state === "stored")) button.setAttribute("aria-pressed", String(!undone && button.value === own.outcome));
    }
    paintOwn(own);
  }
  if ($("undo-form")) {
    const last = undoable();
    $("undo-form").hidden = !last;
    if (last) $("last-score").textContent = `Last: ${saying(last)}`;
    if (given.said()) $("undone").textContent = given.said();
  }
}

function paintOwn(own) {
  const line = $("own-score");
  const name = keys.find((key) => key.outcome === own.outcome)?.name ?? (own.undoes === undefined ? "withdrawn" : "undone");
  const words = { waiting: "waiting to be saved", stored: own.warning || "saved", refused: `not saved: ${own.refused}` };
  line.textContent = `${name}: ${words[own.state]}`;
  line.className = `own-score ${own.state}`;
  if (own.state !== "refused") return;
  for (const [text, act] of [["Try again", scores.retry], ["Discard", scores.discard]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", () => { act(own); if (act === scores.discard) line.textContent = ""; });
    line.append(" ", button);
  }
}

function paintMark(tile) {
  const own = scores.givenTo(Number(tile.dataset.image));
  tile.querySelector(".by-me")?.remove();
  if (!own || (own.state === "stored" && (!own.outcome || tile.querySelector(`.said .o-${own.outcome.split("/")[0]}`)))) return;
  const letter = keys.find((key) => key.outcome === own.outcome)?.letter.cloneNode(true) ?? document.createElement("b");
  letter.classList.add("letter", "by-person", "by-me", own.state);
  letter.title = { waiting: "waiting to be saved", stored: "saved", refused: `not saved: ${own.refused}` }[own.state];
  const said = tile.querySelector(".said") ?? document.createElement("span");
  said.className = "said";
  said.append(letter);
  tile.querySelector(".picture").append(said);
}

// ---- keys, clicks and the browser's history

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog:modal")) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  const key = keyOf(event, (digit) => isOfScore((typed?.digits ?? "") + digit));
  if (event.repeat && !key.startsWith("Arrow")) return;  // a key held down is pressed once
  if (key === " ") {
    if (!event.target.matches("button, summary, input") && pictureKey(key)) event.preventDefault();  // it presses those
    return;
  }
  const steps = { ArrowLeft: at - 1, ArrowRight: at + 1 };
  const link = $({ ArrowUp: "earlier", ArrowDown: "later", Escape: "up" }[key]);
  if (marks.key(key)) return;
  if (pictureKey(key)) { if (key.startsWith("Arrow")) event.preventDefault(); return; }
  if (key in steps) { event.preventDefault(); if (drops[steps[key]]) goTo(steps[key]); }
  else if (link) { event.preventDefault(); link.click(); }
  else if (/^[0-9]$/.test(key)) type(key);
  else if (key === "a") { const agreed = document.querySelector("#score-form [data-agrees]"); if (agreed) score(agreed.value); }
  else if (key === "u") undo();
  else if (key === "n") goTo(nextUnscored());
  else {
    const chosen = keys.find((each) => each.key && each.key === key);
    if (chosen) score(chosen.outcome);
  }
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("#score-form, #undo-form")) return;
  event.preventDefault();
  if (performance.now() - appeared <= SECOND_CLICK) return;
  appeared = performance.now();  // where the drop stays, too
  if (event.target.id === "undo-form") undo(); else score(event.submitter.value);
});

document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || link.origin !== location.origin) return;
  const place = drops.findIndex((drop) => addressOf(drop) === link.pathname + link.search);
  if (place >= 0) {
    event.preventDefault();
    goTo(place);
  } else if (link.matches("#earlier, #later, #inspections a")) {
    event.preventDefault();
    goToInspection(link.pathname + link.search);
  } else if (scores.isWaiting()) {  // the next page should show them
    event.preventDefault();
    await scores.settled(1500);
    location.assign(link.href);
  }
});

window.addEventListener("popstate", () => {
  const place = drops.findIndex((drop) => addressOf(drop) === location.pathname + location.search);
  if (place >= 0) goTo(place, false); else location.reload();
});

scores.changes.addEventListener("change", paint);
scores.changes.addEventListener("settled", (event) => {  // the facts beside the picture changed
  const drop = drops[at];
  if (!drop || addressOf(drop) !== event.detail.address) return;
  const address = event.detail.address, shown = current().image;
  const from = shown === drop.image ? address : `${address}${address.includes("?") ? "&" : "?"}image=${shown}`;
  pages.forget(address);
  pages.forget(from);
  load(address, from);
});
$("sign-in").addEventListener("signed-in", () => { pages.forget(); if (drops[at]) load(addressOf(drops[at])); });

setUpPicture();
setUpForm();
marks.setUp(current);
paint();
readAhead();
