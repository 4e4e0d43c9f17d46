// How figures are written for people: the same as figures.py writes them on the server. Volumes are BigInt
// microlitres from the answer's own digits to the text: no float ever holds one.

const UL_PER_LITRE = 1_000_000n;
const MINUTE_MS = 60_000;
const NORMAL_WAIT_S = 10;
const SPARK_MINUTES = 60;
const SPARK_HEIGHT = 24;
const UNITS = [[172_800, 86_400, "days"], [7_200, 3_600, "h"], [120, 60, "min"]];

/** JSON in which integers beyond 2^53 keep every digit: they are read as strings, and BigInt takes both. */
export function parse(text) {
  return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g, (token) => (token[0] === '"' ? token : `"${token}"`)));
}

const thousands = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, ",");

/** Whole litres with separators, and the two groups of three decimals. */
export function splitLitres(value) {
  const ul = BigInt(value);
  const size = ul < 0n ? -ul : ul;
  const rest = String(size % UL_PER_LITRE).padStart(6, "0");
  return [(ul < 0n ? "−" : "") + thousands(String(size / UL_PER_LITRE)), rest.slice(0, 3), rest.slice(3)];
}

export function plainLitres(value) {
  const [whole, millis, micros] = splitLitres(value);
  return `${whole}.${millis}${micros} L`;
}

export function count(value) {
  return value === null || value === undefined ? "–" : thousands(String(value));
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [from, size, unit] of UNITS) if (seconds >= from) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(seconds, 0)} s`;
}

export function ago(at, now) {
  if (at === null || at === undefined) return "never";
  const seconds = Math.floor(Math.max(0, now - at) / 1000);
  return seconds < 5 ? "just now" : `${duration(seconds)} ago`;
}

const today = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const thisYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const earlier = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** A moment in the reader's own time zone; of the date only what does not go without saying. */
export function clockTime(at, now) {
  if (at === null || at === undefined) return "–";
  const moment = new Date(at);
  const reader = new Date(now);
  if (moment.toDateString() === reader.toDateString()) return today.format(moment);
  return (moment.getFullYear() === reader.getFullYear() ? thisYear : earlier).format(moment);
}

export function backlog(pending, oldest) {
  if (pending === null || pending === undefined) return "not known";
  if (!pending) return "none";
  const since = oldest >= NORMAL_WAIT_S ? `, oldest ${duration(oldest)}` : "";
  return `${count(pending)} ${pending === 1 ? "event" : "events"}${since}`;
}

/** An SVG path of one bar a minute for the last hour, scaled to its own peak. */
export function sparkPath(minutes, now) {
  const first = Math.floor(now / MINUTE_MS) - SPARK_MINUTES + 1;
  const bars = minutes
    .map(([at, volume]) => [Math.floor(at / MINUTE_MS) - first, BigInt(volume)])
    .filter(([slot, volume]) => slot >= 0 && slot < SPARK_MINUTES && volume > 0n);
  const peak = bars.reduce((most, [, volume]) => (volume > most ? volume : most), 1n);
  return bars
    .map(([slot, volume]) => {
      const height = Number((volume * BigInt(SPARK_HEIGHT - 1) + peak - 1n) / peak);
      return `M${slot * 2} ${SPARK_HEIGHT}h1.4v-${Math.max(2, height)}h-1.4z`;
    })
    .join("");
}
