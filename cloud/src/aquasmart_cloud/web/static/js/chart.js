// Volume per minute as bars, drawn by uPlot. The drawing uses floats of litres; the readout beside it shows
// the exact figure from the ledger.

import { plainLitres } from "./format.js";

const MINUTE_S = 60;
const HEIGHT = { wide: 270, narrow: 222 };
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** One value for every minute of the range: [seconds, litres to draw, microlitres to tell]. */
function dense(minutes, hours, now) {
  const known = new Map(minutes.map(([at, volume]) => [Math.floor(at / 1000), volume]));
  const last = Math.floor(now / 1000 / MINUTE_S) * MINUTE_S;
  const times = [];
  const drawn = [];
  const exact = [];
  for (let at = last - (hours * 60 - 1) * MINUTE_S; at <= last; at += MINUTE_S) {
    const volume = known.get(at) ?? 0;
    times.push(at);
    drawn.push(Number(volume) / 1e6);
    exact.push(volume);
  }
  return { times, drawn, exact };
}

function axes() {
  const common = { stroke: colour("--ink-3"), font: "12px Inter, system-ui, sans-serif", ticks: { show: false } };
  const grid = { stroke: colour("--line"), width: 1 };
  return [
    { ...common, size: 32, grid: { show: false }, values: (u, splits) => splits.map((at) => clock.format(at * 1000)), space: 70 },
    { ...common, grid, values: (u, splits) => splits.map((litres) => `${+litres.toFixed(3)} L`), size: 58, space: 46 },
  ];
}

export class Chart {
  constructor(host, readout) {
    this.host = host;
    this.readout = readout;
    this.hours = 1;
    this.plot = null;
    this.data = null;
  }

  /** Draw once, and again when the size or the colours of the page change. */
  begin() {
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.host.addEventListener("keydown", (event) => this.step(event));
  }

  size() {
    const style = getComputedStyle(this.host);
    const width = this.host.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return { width, height: window.innerWidth > 760 ? HEIGHT.wide : HEIGHT.narrow };
  }

  show(minutes, hours, now) {
    const redraw = !this.plot || hours !== this.hours;
    this.hours = hours;
    this.data = dense(minutes, hours, now);
    if (redraw) this.draw();
    else this.plot.setData([this.data.times, this.data.drawn]);
  }

  draw() {
    if (!this.data) return;
    this.plot?.destroy();
    this.host.replaceChildren();
    const fill = colour("--accent-2");
    this.plot = new window.uPlot(
      {
        ...this.size(),
        padding: [12, 12, 0, 0],
        scales: { x: { range: (u, first, last) => [first - MINUTE_S / 2, last + MINUTE_S / 2] }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
        axes: axes(),
        series: [{}, { fill, width: 0, points: { show: false }, paths: window.uPlot.paths.bars({ size: [0.72, 14], radius: 0.18 }) }],
        cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
        hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx)] },
      },
      [this.data.times, this.data.drawn],
      this.host,
    );
  }

  tell(index) {
    const known = index !== null && index !== undefined && this.data.exact[index] !== undefined;
    const figure = document.createElement("b");
    if (known) figure.append(plainLitres(this.data.exact[index]));
    this.readout.replaceChildren(...(known ? [clock.format(this.data.times[index] * 1000), figure] : []));
  }

  step(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.plot) return;
    event.preventDefault();
    const last = this.data.times.length - 1;
    const index = Math.min(last, Math.max(0, (this.plot.cursor.idx ?? last + 1) + by));
    this.plot.setCursor({ left: this.plot.valToPos(this.data.times[index], "x"), top: 0 });
  }
}
