// Scores that wait for the viewer. Each is kept in this browser, under the name of the person who gave it, until the
// viewer has stored it; it is sent again until then, under a key by which the viewer stores it once.

const viewer = new URL(document.querySelector(".brand").href);  // all addresses are relative to it
const me = document.body.dataset.visitor;
let token = document.body.dataset.formToken;

const SHELF = `xtalgrid-waiting ${viewer.pathname} `;  // then the person's name and the score's place, as a key of localStorage
const MOST = 50;  // scores in one request
const LONGEST_WAIT = 10_000, PATIENCE = 20_000;  // milliseconds
const SIGN_IN_FIRST = Symbol("sign in first");

export const changes = new EventTarget();  // "change": a score was given, stored or refused; "sign-in": the person must sign in
const unshelved = new Map();  // scores that localStorage has no room for
const given = new Map();  // by image: the newest score given on this page, with its state
let sending = false, failures = 0, timer = 0, count = 0, most = MOST, problem = "";
let unreadable = 0;  // what lies on the shelf and cannot be read
let latest = 0;  // when the newest score was given: a clock that is set back changes no order
let shelf = null;  // what was read of it a moment ago: a page of 1,536 drops asks that often

// ---- the shelf

function placeOf(entry) {
  return `${SHELF}${encodeURIComponent(entry.who)} ${entry.place}`;
}
function put(entry) {
  shelf = null;
  try {
    localStorage.setItem(placeOf(entry), JSON.stringify(entry));
  } catch {  // full, or not available in private windows
    unshelved.set(placeOf(entry), entry);
  }
}
function take(entry) {
  shelf = null;
  unshelved.delete(placeOf(entry));
  try { localStorage.removeItem(placeOf(entry)); } catch { /* it never was there */ }
}
// What stands at a place of the shelf; undefined if that cannot be read, as after a write that the browser cut off.
function read(place, text) {
  try {
    const entry = JSON.parse(text);
    if (placeOf(entry) === place && typeof entry.key === "string") return entry;
  } catch { /* neither JSON nor an entry */ }
}
function everybodys() {
  if (shelf) return shelf;
  const entries = [...unshelved.values()];
  unreadable = 0;
  try {
    for (const place of Object.keys(localStorage)) {
      const text = place.startsWith(SHELF) && localStorage.getItem(place);  // another tab may have taken it
      const entry = text ? read(place, text) : undefined;
      if (entry) entries.push(entry); else if (text) unreadable++;  // it stays: somebody may make sense of it
    }
  } catch { /* not available */ }
  queueMicrotask(() => { shelf = null; });
  return shelf = entries.sort((a, b) => (a.place < b.place ? -1 : 1));
}
const kept = () => everybodys().filter((entry) => entry.who === me);
const waiting = () => kept().filter((entry) => !entry.refused);

export const refused = () => kept().filter((entry) => entry.refused);
export const entries = () => kept().filter((entry) => entry.entry);
export const isLate = (entry) => Boolean(problem) || Date.now() - entry.at > 600;
export const isWaiting = () => waiting().length > 0;

// ---- giving scores

function newKey() {  // crypto.randomUUID exists over HTTPS only
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Give a score: {image, score, outcome, drop, address}, with `undoes` to undo one. Of a mark, note or favourite:
// {image, drop, address, entry: what it says}.
export function give(score) {
  const at = latest = Math.max(Date.now(), latest), key = newKey();
  const entry = { ...score, who: me, key, at, place: `${at}`.padStart(14, "0") + `${count++}`.padStart(6, "0") + key };
  put(entry);
  if (!entry.entry) given.set(entry.image, { ...entry, state: "waiting" });
  changes.dispatchEvent(new Event("change"));
  send();
  return entry;
}

// The newest score that this person gave an image on this page, or that still waits: {outcome, state, refused}.
export function givenTo(image) {
  if (given.has(image)) return given.get(image);
  const left = kept().findLast((entry) => entry.image === image && !entry.entry);
  return left && { ...left, state: left.refused ? "refused" : "waiting" };
}

// Forget a score that was stored before a page was asked for: the page knows better.
export function forgetStored(image, asked) {
  if (given.get(image)?.settled < asked && given.get(image).state === "stored") given.delete(image);
}

export function discard(entry) {
  take(entry);
  if (!entry.entry) given.delete(entry.image);
  changes.dispatchEvent(new Event("change"));
}
export function retry(entry) {
  put({ ...entry, refused: "" });
  if (!entry.entry) given.set(entry.image, { ...entry, refused: "", state: "waiting" });
  send();
}

// ---- sending them

export async function send() {
  clearTimeout(timer);
  const all = waiting(), other = all.findIndex((one) => !one.entry !== !all[0].entry);  // scores and entries go apart, in order
  const batch = all.slice(0, other < 0 ? most : Math.min(most, other));
  if (sending || !batch.length || !me) return;
  sending = true;
  let pause = 0;
  try {
    pause = await post(batch);
    failures = 0;
    problem = "";
  } catch (error) {
    if (error === SIGN_IN_FIRST) {
      problem = "sign-in";
      changes.dispatchEvent(new Event("sign-in"));
    } else {
      problem = error.message;
    }
    pause = Math.min(250 * 2 ** failures++, LONGEST_WAIT);
  }
  sending = false;
  changes.dispatchEvent(new Event("change"));
  if (problem !== "sign-in" && isWaiting()) timer = setTimeout(send, pause);
}

async function post(batch) {
  const kept = JSON.stringify(batch.map(({ key, image, score, outcome, undoes, entry, at }) =>
    ({ ...(entry ?? { score, outcome, undoes }), key, image, seconds_ago: (Date.now() - at) / 1000 })));
  const [where, what] = batch[0].entry ? ["marks/typed", { entries: kept }] : ["corrections/typed", { scores: kept }];
  const answer = await fetch(new URL(where, viewer), {
    method: "POST",
    headers: { Accept: "application/json" },
    body: new URLSearchParams({ form_token: token, who: me, ...what }),
    keepalive: true,  // it arrives also when the page closes
    signal: AbortSignal.timeout(PATIENCE),
  }).catch(() => { throw new Error("The viewer does not answer."); });
  if (answer.status === 401 || answer.redirected) throw SIGN_IN_FIRST;
  if (answer.status === 403 && await newToken()) throw new Error("The page was out of date.");
  const said = await answer.json().catch(() => ({}));
  if (answer.ok && said.results) {
    most = MOST;
    for (const { key, refused, warning } of said.results) {
      settle(batch.find((entry) => entry.key === key), refused, warning);
    }
  } else if (answer.status >= 500 || [403, 408, 425, 429].includes(answer.status) || answer.ok) {
    throw new Error(said.text || "The viewer cannot save now.");
  } else if (batch.length > 1) {  // which of them is it?
    most = 1;
  } else {
    settle(batch[0], said.text || `The viewer refused it (${answer.status}).`, "");
  }
  return 0;
}

function settle(entry, refused, warning) {
  if (refused) put({ ...entry, refused }); else take(entry);
  const state = refused ? "refused" : "stored";
  if (given.get(entry.image)?.key === entry.key) {
    given.set(entry.image, { ...entry, refused, warning, state, settled: performance.now() });
  }
  changes.dispatchEvent(new CustomEvent("settled", { detail: entry }));
}

// Read a page anew for its form token; true if it is another one.
async function newToken() {
  const before = token;
  const answer = await fetch(location.href);
  const { body } = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (body.dataset.visitor !== me) throw SIGN_IN_FIRST;
  token = body.dataset.formToken;
  return token !== before;
}

// Go on after signing in, with the token of the new session.
export function signedIn(newToken) {
  token = newToken;
  problem = "";
  failures = 0;
  send();
}

// Wait until all is stored, or for some milliseconds.
export function settled(patience) {
  return new Promise((resolve) => {
    const look = () => { if (!isWaiting()) resolve(); };
    changes.addEventListener("change", look);
    setTimeout(resolve, patience);
    look();
  });
}

// ---- the line in the page's header, and closing the tab

const line = document.getElementById("waiting");
let shown = 0;

function show() {
  const own = waiting().length, no = refused().length;
  const others = [...new Set(everybodys().map((entry) => entry.who))].filter((who) => who !== me);
  const what = entries().length ? ["entry", "entries"] : ["score", "scores"];
  const scores = (number) => `${number} ${what[number === 1 ? 0 : 1]}`;
  const parts = [];
  const why = problem === "sign-in" ? "sign in to save them" : `${problem} They are kept and sent again.`;
  if (own) parts.push(`${scores(own)} waiting${problem && `: ${why}`}`);
  if (no) parts.push(`${scores(no)} refused: ${refused().map((entry) => entry.drop).join(", ")}`);
  if (others.length) parts.push(`scores of ${others.join(", ")} wait for them to sign in`);
  if (unreadable) parts.push(`${unreadable} that this browser kept cannot be read: look whether your last scores are there`);
  line.textContent = parts.join(" · ");
  line.classList.toggle("alert", Boolean(no || unreadable || (own && problem)));
}
changes.addEventListener("change", () => {
  clearTimeout(shown);
  if (problem || !isWaiting()) show(); else shown = setTimeout(show, 600);  // most are stored before anybody could read it
});

window.addEventListener("online", send);
window.addEventListener("storage", (event) => {  // another tab gave, stored or refused a score
  if (!event.key?.startsWith(SHELF)) return;
  const entry = [...given.values()].find((one) => one.state === "waiting" && placeOf(one) === event.key);
  const refused = event.newValue && read(event.key, event.newValue)?.refused;
  if (entry && (refused || !event.newValue)) {
    given.set(entry.image, { ...entry, refused, state: refused ? "refused" : "stored", settled: performance.now() });
  }
  changes.dispatchEvent(new Event("change"));
});
window.addEventListener("pagehide", send);
window.addEventListener("pageshow", (event) => {
  if (event.persisted && me) location.reload();  // Back showed it as it was left, before later scores or signing out
});
window.addEventListener("beforeunload", (event) => {
  send();
  if (unshelved.size || (problem && isWaiting())) event.preventDefault();  // the browser asks whether to leave
});
setInterval(send, PATIENCE);  // those of a tab that was closed
show();
send();
