// The scores given in this tab, the newest last, so that people can undo as many as they like, also after a page load.

import * as kept from "./kept.js";

const SHELF = `given ${new URL(document.querySelector(".brand").href).pathname} ${document.body.dataset.visitor}`;
const MOST = 2000;

// `given`: what can be undone; `undone`: the names of what was; `said`: what was undone last, for people.
const tab = { given: [], undone: [], said: "", ...kept.readKept(SHELF) };

const keep = () => kept.keep(SHELF, tab);

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
