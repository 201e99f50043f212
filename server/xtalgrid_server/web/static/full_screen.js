// The drop's picture and score on the whole screen. Going to another drop changes the page within it.

const $ = (id) => document.getElementById(id);
const root = document.documentElement;

function fill(on) {
  root.classList.toggle("full", on);
  $("full")?.setAttribute("aria-pressed", String(on));
  window.dispatchEvent(new Event("resize"));
}
function toggle() {
  const on = !root.classList.contains("full");
  fill(on);
  if (on) root.requestFullscreen?.().catch(() => {});  // where the browser refuses, it fills the window
  else if (document.fullscreenElement) document.exitFullscreen();
}
document.addEventListener("fullscreenchange", () => { if (!document.fullscreenElement) fill(false); });

export function setUp() {
  if (!$("full")) return;
  $("full").hidden = false;
  $("full").setAttribute("aria-pressed", String(root.classList.contains("full")));
  $("full").addEventListener("click", toggle);
}

export function useKey(key) {
  if (key === "g" && $("full")) toggle();
  else if (key === "Escape" && root.classList.contains("full")) toggle();
  else return false;
  return true;
}
