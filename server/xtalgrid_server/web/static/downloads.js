// The menu of downloads closes with Escape, after a click beside it, and when a file was chosen.
const menu = document.getElementById("downloads");

function close() {
  menu.open = false;
}

document.addEventListener("click", (event) => {
  if (!menu.contains(event.target) || event.target.closest("a")) close();
});
menu.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  event.stopPropagation();
  close();
  menu.querySelector("summary").focus();
});
