// Keys on every page: the help dialog and the search field. Without scripts, links and forms do the same.
"use strict";

const help = document.getElementById("help");
const opener = document.getElementById("help-open");
opener.hidden = false;
opener.addEventListener("click", () => help.showModal());

const MOST = 400;

// Thumbnails below the window are loaded when it is idle, some at a time, so that a printed page has them all.
async function loadTheRest() {
  const lazy = [...document.querySelectorAll("img[loading=lazy]")];
  if (lazy.length > MOST) return;  // these come as they are scrolled to, and all before printing
  for (let n = 0; n < lazy.length; n += 12) {
    const some = lazy.slice(n, n + 12).filter((image) => !image.complete || !image.naturalWidth);
    for (const image of some) image.loading = "eager";
    await Promise.allSettled(some.map((image) => image.decode()));
  }
}
window.addEventListener("load", () => setTimeout(loadTheRest, 500));
window.addEventListener("beforeprint", () => {
  for (const image of document.querySelectorAll("img[loading=lazy]")) image.loading = "eager";
});

// A button is pressed once, however long Enter is held down. In a checkbox, Enter would press the first button of its
// form, such as Approve.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  if (event.target.matches("input[type=checkbox]") || (event.repeat && event.target.matches("button"))) event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "?") { event.preventDefault(); if (!help.open) help.showModal(); }
  if (event.key === "/" && !help.open) {
    event.preventDefault();
    const field = document.getElementById("q");
    if (field) field.focus(); else location.assign(document.querySelector(".brand").href);
  }
});
