// The station page: its figures, its chart, and the lists of its books.

import { fillAll, list } from "./bind.js";
import { Chart } from "./chart.js";
import { live } from "./live.js";

const identity = document.getElementById("station").dataset.station;
const chart = new Chart(document.getElementById("chart"), document.getElementById("readout"));
let hours = 1;
let latest = null;

function show(station) {
  latest = station;
  fillAll("station", station, station.server_time);
  for (const container of document.querySelectorAll("[data-list]")) {
    list(container, station[container.dataset.list], station.server_time);
  }
  document.getElementById("alerts").hidden = station.alerts.length === 0;
  document.getElementById("no-differences").hidden = station.differences.length > 0;
  chart.show(station.minutes, hours, station.server_time);
}

for (const button of document.querySelectorAll("[data-hours]")) {
  button.addEventListener("click", () => {
    hours = Number(button.dataset.hours);
    for (const other of document.querySelectorAll("[data-hours]")) other.setAttribute("aria-pressed", String(other === button));
    if (latest) show(latest);
  });
}
chart.begin();
live(`/api/stations/${encodeURIComponent(identity)}`, show);
