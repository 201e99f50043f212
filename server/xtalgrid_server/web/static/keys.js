// Keys on every page: the help dialog and the search field. Without scripts, links and forms do the same.
"use strict";

const help = document.getElementById("help");
const opener = document.getElementById("help-open");
opener.hidden = false;
opener.addEventListener("click", () => help.showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input:not([type=checkbox]), select, textarea")) return;
  if (event.key === "?") { event.preventDefault(); if (!help.open) help.showModal(); }
  if (event.key === "/" && !help.open) {
    event.preventDefault();
    const field = document.getElementById("q");
    if (field) field.focus(); else location.assign(document.querySelector(".brand").href);
  }
});
