// The plate page: arrow keys go from well to well, and a tile without a picture shows it in the corner.

const tiles = [...document.querySelectorAll("a.tile[data-well]")];
const peek = document.getElementById("peek");

// Of all tiles only one is in the tab order: that of the drop that one comes from, or the first.
const from = decodeURIComponent(document.referrer.match(/\/well\/[^?#]*\/([^/?#]+)/)?.[1] ?? "");
let current = tiles.find((tile) => tile.dataset.well === from) ?? tiles[0];
for (const tile of tiles) tile.tabIndex = tile === current ? 0 : -1;

function goTo(tile) {
  current.tabIndex = -1;
  current = tile;
  tile.tabIndex = 0;
  tile.focus();
}

// The nearest tile to the left (-1, 0), right, above or below, in the same row or column of the screen.
function beside(tile, x, y) {
  const at = tile.getBoundingClientRect();
  let nearest = null, least = Infinity;
  for (const other of tiles) {
    const box = other.getBoundingClientRect();
    const along = x ? x * (box.left - at.left) : y * (box.top - at.top);
    const across = x ? Math.min(box.bottom, at.bottom) - Math.max(box.top, at.top) : Math.min(box.right, at.right) - Math.max(box.left, at.left);
    if (along > 1 && across > 1 && along < least) [nearest, least] = [other, along];
  }
  return nearest;
}

function end(tile, x) {
  for (let next = tile; next; next = beside(tile, x, 0)) tile = next;
  return tile;
}

const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
document.addEventListener("keydown", (event) => {
  if (!current || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog:modal")) return;
  const on = document.activeElement?.closest?.("a.tile[data-well]");
  if (!on && document.activeElement !== document.body && !document.activeElement?.matches(".plate-scroll")) return;
  const [x, y] = moves[event.key] ?? [];
  let next = null;
  if (x !== undefined) next = on ? beside(on, x, y) : current;
  else if (on && (event.key === "Home" || event.key === "End")) next = end(on, event.key === "End" ? 1 : -1);
  else return;
  event.preventDefault();
  if (next) goTo(next);
});
document.addEventListener("focusin", (event) => {
  const tile = event.target.closest("a.tile[data-well]");
  if (tile && tile !== current) goTo(tile);
});

let waiting = 0;
function look(tile) {
  clearTimeout(waiting);
  if (!tile) { peek.hidden = true; return; }
  waiting = setTimeout(() => {
    peek.querySelector("img").src = `${peek.dataset.thumbnails}${tile.dataset.image}.jpg`;
    peek.querySelector("figcaption").textContent = tile.ariaLabel;
    peek.classList.toggle("left", tile.getBoundingClientRect().left > innerWidth / 2);
    peek.hidden = false;
  }, 120);
}
if (peek) {
  const tile = (event) => event.target.closest?.("a.tile.filled");
  document.addEventListener("pointerover", (event) => look(tile(event) ?? document.activeElement.closest("a.tile.filled")));
  document.addEventListener("focusin", (event) => look(tile(event)));
}
