// The scores given in this tab, the newest last, so that people can undo as many as they like, also after a page load.

const viewer = new URL(document.querySelector(".brand").href);
const SHELF = `xtalgrid-given ${viewer.pathname} ${document.body.dataset.visitor}`;
const MOST = 2000;

// `given`: what can be undone; `undone`: the names of what was; `said`: what was undone last, for people.
const tab = { given: [], undone: [], said: "", ...read() };

function read() {
  try { return JSON.parse(sessionStorage.getItem(SHELF)); } catch { return null; }
}
function keep() {
  try { sessionStorage.setItem(SHELF, JSON.stringify(tab)); } catch { /* full, or not available in private windows */ }
}

export const said = () => tab.said;
export const last = () => tab.given.at(-1);
export const isUndone = (name) => tab.undone.includes(name);

export function push({ key, image, drop, address, outcome, batch, mark }) {
  tab.given = [...tab.given, { key, image, drop, address, outcome, batch, mark }].slice(-MOST);
  tab.said = "";
  keep();
}

// Note that a score was undone: the last one given here, or one that a page named.
export function undid(name, text) {
  if (tab.given.at(-1)?.key === name) tab.given.pop();
  tab.undone = [...tab.undone, name].slice(-MOST);
  tab.said = text;
  keep();
}
