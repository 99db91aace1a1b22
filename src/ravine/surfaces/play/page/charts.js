// Loss and norm of the gradient over time, drawn by uPlot; a line marks the time that the picture shows.

export class Chart {
  constructor(place, seek) {
    Object.assign(this, { place, seek, drawn: null });
    new ResizeObserver(() => this.drawn?.setSize(this.#size())).observe(place);
  }

  // lines: [{label, ink, values, times}]; on a logarithmic scale.
  show(lines, { rule, soft, ink, paper, family }) {
    this.drawn?.destroy();
    const all = [...new Set(lines.flatMap((line) => line.times))].sort((a, b) => a - b), place = new Map(all.map((time, i) => [time, i]));
    const columns = lines.map(({ times, values }) => {
      const column = new Array(all.length).fill(undefined);
      times.forEach((time, k) => (column[place.get(time)] = Number.isFinite(values[k]) && values[k] > 0 ? values[k] : null));
      return column;
    });
    const ceiling = 1e3 * Math.max(...lines.map((line) => line.values[0]).filter(Number.isFinite)); // who diverges leaves the chart
    const font = `11px ${family}`, grid = { stroke: rule, width: 1 }, axis = { stroke: soft, grid, ticks: { show: false }, font, gap: 4 };
    this.drawn = new uPlot({
      ...this.#size(), padding: [8, 10, 0, 0], legend: { show: false }, cursor: { points: { show: false }, y: false, drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { distr: 3, range: (u, low, high) => bounds(low, high, ceiling) } },
      axes: [{ ...axis, size: 26 }, { ...axis, size: 44, filter: (u, ticks) => ticks, splits: (u, i, low, high) => decades(low, high), values: (u, ticks) => ticks.map(label) }],
      series: [{}, ...lines.map((line) => ({ label: line.label, stroke: line.ink.colour, width: 1.6, dash: { solid: [], dash: [8, 4], dot: [2, 3], dashdot: [8, 3, 2, 3] }[line.ink.dash], points: { show: false }, spanGaps: false }))],
    }, [all, ...columns], this.place);
    this.mark = Object.assign(document.createElement("div"), { className: "mark-time" });
    this.mark.style.background = ink;
    this.drawn.over.append(this.mark);
    this.drawn.over.addEventListener("click", (event) => this.seek(this.drawn.posToVal(event.offsetX, "x")));
    this.at(this.time ?? 0);
  }

  at(time) {
    this.time = time;
    if (this.drawn) this.mark.style.transform = `translateX(${this.drawn.valToPos(time, "x")}px)`;
  }

  #size = () => ({ width: this.place.clientWidth, height: this.place.clientHeight });
}

// Whole powers of ten.
function bounds(low, high, ceiling) {
  const most = Math.min(high, ceiling > 0 ? ceiling : Infinity, 1e300), ends = [Math.floor(Math.log10(Math.max(low, 1e-300))), Math.ceil(Math.log10(most))];
  return [10 ** ends[0], 10 ** Math.max(ends[1], ends[0] + 1)];
}

// At most seven of them.
function decades(low, high) {
  const [a, b] = [Math.round(Math.log10(low)), Math.round(Math.log10(high))], every = Math.max(1, Math.ceil((b - a) / 6));
  return Array.from({ length: Math.floor((b - a) / every) + 1 }, (_, i) => 10 ** (a + i * every));
}

const label = (tick) => `10${String(Math.round(Math.log10(tick))).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d])}`;
