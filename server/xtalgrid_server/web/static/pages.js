// Pages of drops, read ahead with their pictures, so that going to the next drop needs no page load.

const FRESH = 60_000;  // milliseconds: a page read ahead is shown for so long
const PATIENCE = 4_000;  // a page waits for its picture for so long
const pages = new Map();  // by address: {at, page, promise}

// Read a page: {main, tools, title, visitor, version, asked: when}, to be shown once, with its picture decoded.
async function read(address) {
  const asked = performance.now();
  const answer = await fetch(address, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(20_000) });
  if (answer.status >= 500) throw new Error("The viewer has a problem; trying again.");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const main = document.adoptNode(page.getElementById("main"));  // its pictures begin to load
  const picture = main.querySelector("#original")?.decode().catch(() => {});  // a missing one is shown as such
  await Promise.race([picture, new Promise((resolve) => { setTimeout(resolve, PATIENCE); })]);
  const tools = document.adoptNode(page.querySelector(".tools"));
  const { visitor, version } = page.body.dataset;
  return { main, tools, title: page.title, visitor, version, asked };
}

export function get(address) {
  let entry = pages.get(address);
  if (!entry || performance.now() - entry.at > FRESH) {
    entry = { at: performance.now(), page: null };
    entry.promise = read(address);
    pages.set(address, entry);
    entry.promise.then((page) => { entry.page = page; }, () => { if (pages.get(address) === entry) pages.delete(address); });
  }
  return entry.promise;
}

// Take a page that is there already, or nothing.
export function ready(address) {
  const entry = pages.get(address);
  return entry?.page && performance.now() - entry.at <= FRESH ? entry.page : null;
}

// Forget a page that was shown, or has changed; without an address, forget all.
export function forget(address) {
  if (address) pages.delete(address); else pages.clear();
}
