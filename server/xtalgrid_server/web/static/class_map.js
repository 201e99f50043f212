// The class map over the picture, of one group or all, with a legend of what it shows.

import { readSetting, saveSetting } from "./kept.js";

const $ = (id) => document.getElementById(id);

async function get(address) {
  const answer = await fetch(address);
  if (answer.ok) return answer.json();
  const isText = answer.headers.get("content-type")?.startsWith("text/plain");
  throw new Error(isText ? await answer.text() : `no map: the viewer answered ${answer.status}`);
}

// What is drawn of the groups, and what is said of them.
function choose(legend, chosen) {
  const visible = legend.filter((one) => one.visible);
  if (!legend.some((one) => one.largest)) return { shown: [], words: "nothing seen: no drop was found" };
  if (chosen !== "all") {
    const shown = visible.filter((one) => one.group === chosen);
    return { shown, words: shown.length ? "" : chosen === "clear" ? "nothing seen: it is clear nowhere" : `nothing seen: no ${chosen} in this drop` };
  }
  const shown = visible.filter((one) => one.group !== "clear");
  const clear = legend.find((one) => one.group === "clear").share;
  return { shown, words: !shown.length ? `nothing seen${clear ? ": the drop is clear" : ""}` : clear ? `clear ${percent(clear)}, not coloured` : "" };
}

function percent(share) {
  return share > 0 && share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`;
}

function draw(legend, { shown, words }, address) {
  $("map").replaceChildren(...shown.map((one) => {
    const picture = new Image();
    picture.alt = "";
    picture.src = address.replace("GROUP", one.group);
    return picture;
  }));
  $("map-legend").replaceChildren(...shown.map((one) => {
    const item = document.createElement("li"), colour = document.createElement("i");
    colour.style.background = one.colour;
    item.append(colour, one.share ? `${one.group} ${percent(one.share)} of the drop` : `${one.group}, nowhere the likeliest`);
    return item;
  }));
  $("map-legend").hidden = !shown.length;
  $("map-status").textContent = words;
  $("map").hidden = false;
}

export function setUp() {
  const tools = $("map-tools");
  if (!tools) return;
  const box = $("show-map"), group = $("map-group"), status = $("map-status");
  let requests = 0;
  tools.hidden = false;
  group.value = readSetting("map-group") || group.value;
  if (!group.value) group.selectedIndex = 0;
  const show = async () => {
    saveSetting("map", box.checked ? "on" : "off");
    saveSetting("map-group", group.value);
    const request = ++requests;
    $("map").hidden = $("map-legend").hidden = true;
    status.textContent = "";
    if (!box.checked) return;
    const waiting = setTimeout(() => { status.textContent = "drawing the map…"; }, 300);
    try {
      const legend = await get(tools.dataset.legend);
      if (request === requests) draw(legend, choose(legend, group.value), tools.dataset.maps);
    } catch (error) {
      if (request === requests) status.textContent = error instanceof TypeError ? "the viewer does not respond" : error.message;
    } finally {
      clearTimeout(waiting);
    }
  };
  box.addEventListener("change", show);
  group.addEventListener("change", () => { box.checked = true; show(); });
  box.checked = readSetting("map") === "on";
  if (box.checked) show();
}
