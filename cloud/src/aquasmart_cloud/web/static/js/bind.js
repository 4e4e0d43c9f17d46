// Puts an answer's fields where the server's page put them: [data-f] names the field, [data-as] how it is
// written, [data-list] a list of such items cloned from its <template>. Touches only what has changed.

import * as format from "./format.js";

function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function litres(element, value) {
  if (value === null || value === undefined) return text(element, "–");
  const [whole, millis, micros] = format.splitLitres(value);
  if (element.dataset.shown === `${whole}.${millis}${micros}`) return undefined;
  element.dataset.shown = `${whole}.${millis}${micros}`;
  const small = document.createElement("i");
  small.append(micros);
  const fraction = document.createElement("span");
  fraction.className = "frac";
  fraction.append(`.${millis}`, small);
  const unit = document.createElement("span");
  unit.className = "unit";
  unit.append(" L");
  return element.replaceChildren(whole, fraction, unit);
}

function mark(element, shape, label) {
  attribute(element.querySelector("use"), "href", `#shape-${shape}`);
  text(element.lastElementChild, label ?? "");
}

const shapes = {
  litres,
  text: (element, value) => text(element, value === null || value === undefined || value === "" ? "–" : String(value)),
  maybe: (element, value) => text(element, value || ""),
  count: (element, value) => text(element, format.count(value)),
  duration: (element, value) => text(element, format.duration(value)),
  ago: (element, value, item, now) => text(element, format.ago(value, now)),
  time: (element, value, item, now) => text(element, format.clockTime(value, now)),
  backlog: (element, value, item) => text(element, format.backlog(value, item.oldest_pending_s)),
  short: (element, value) => text(element, value ? String(value).slice(0, 8) : "–"),
  href: (element, value) => attribute(element, "href", element.dataset.base + encodeURIComponent(value)),
  link: (element, value) => attribute(element, "href", value),
  severity: (element, value) => {
    attribute(element, "data-severity", value);
    text(element.lastElementChild, value);
  },
  spark: (element, value, item, now) => attribute(element, "d", format.sparkPath(value, now)),
  state: (element, value, item) => {
    attribute(element, "data-state", value);
    mark(element, value, item.state_label);
  },
  books: (element, value, item) => {
    attribute(element, "data-open", value ? "yes" : "no");
    mark(element, value ? "named" : "balanced", item.books_label);
  },
};

/** Fill every figure that belongs to `root` itself, not to an item nested within it. */
export function fill(root, item, now) {
  for (const element of root.querySelectorAll("[data-f]")) {
    if (element.closest("[data-item]") === root) shapes[element.dataset.as](element, item[element.dataset.f], item, now);
  }
}

/** Make the list's rows be `items`, in their order, keyed by the field that data-key names. */
export function list(container, items, now) {
  const template = container.querySelector(":scope > template");
  const rows = new Map();
  for (const row of container.querySelectorAll(":scope > [data-item]")) rows.set(row.dataset.key, row);
  let place = template;
  for (const item of items) {
    const key = String(item[container.dataset.key]);
    const row = rows.get(key) ?? template.content.firstElementChild.cloneNode(true);
    rows.delete(key);
    row.dataset.key = key;
    fill(row, item, now);
    if (place.nextElementSibling !== row) place.after(row);
    place = row;
  }
  for (const gone of rows.values()) gone.remove();
}

/** Fill everything of one name: `<… data-item="fleet">` may stand in several places. */
export function fillAll(name, item, now) {
  for (const root of document.querySelectorAll(`[data-item="${name}"]`)) fill(root, item, now);
}
