// The fleet page: the total as it flows, and every station. Filter and search work on what is already here.

import { fillAll, list } from "./bind.js";
import { count } from "./format.js";
import { live } from "./live.js";

const body = document.querySelector('[data-list="stations"]');
const find = document.getElementById("find");
let wanted = "";
let latest = null;

function needsAttention(station) {
  return station.open_differences > 0 || station.state === "late" || station.state === "offline";
}

function passes(station, filter) {
  return !filter || (filter === "attention" ? needsAttention(station) : station.state === filter);
}

function named(station, words) {
  return `${station.station_id} ${station.name}`.toLowerCase().includes(words);
}

function show(fleet) {
  latest = fleet;
  const words = find.value.trim().toLowerCase();
  const shown = fleet.stations.filter((station) => passes(station, wanted) && named(station, words));
  fillAll("fleet", fleet, fleet.server_time);
  list(body, shown, fleet.server_time);
  list(document.querySelector('[data-list="alerts"]'), fleet.alerts, fleet.server_time);
  document.getElementById("alerts").hidden = fleet.alerts.length === 0;
  for (const label of document.querySelectorAll("[data-count]")) {
    label.textContent = count(fleet.stations.filter((station) => passes(station, label.dataset.count)).length);
  }
  document.getElementById("stations").hidden = fleet.stations.length === 0;
  document.getElementById("empty").hidden = fleet.stations.length > 0;
  document.getElementById("none-shown").hidden = shown.length > 0;
}

for (const button of document.querySelectorAll("[data-filter]")) {
  button.addEventListener("click", () => {
    wanted = button.dataset.filter;
    for (const other of document.querySelectorAll("[data-filter]")) other.setAttribute("aria-pressed", String(other === button));
    if (latest) show(latest);
  });
}
find.addEventListener("input", () => latest && show(latest));
live("/api/fleet", show);
