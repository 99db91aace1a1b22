// Maps on demand, a tile for each racer: the loss at every step for every learning rate, and where every start leads to.

import { element } from "./element.js";
import { mix } from "./ground.js";
import { swatch } from "./panel.js";
import { Gone, Stopped } from "./server.js";
import { rgb } from "./theme.js";

const BELOW = 8; // powers of ten under the loss of the start that have a shade
const LEAD = {
  rates: "The loss at every step (across) for every learning rate (up), from the start of the race. The line is the rate of the race; click to take another.",
  basins: "Where the race would end from every start: a colour for each minimum, stronger where it is reached sooner. Grey arrives nowhere in these steps, hatched diverges.",
};

export class Maps {
  // take(racer, lr): a rate was chosen on a map.
  constructor(place, backend, take) {
    Object.assign(this, { place, backend, take, round: 0, answers: new Map() });
  }

  // What is being asked for is of no use any more.
  stale() {
    this.round++;
    this.stop?.abort();
  }

  // Draws a tile for each path, one question after another, until something changes.
  async show(look, { question, paths, ground, colours, inks }) {
    if (look !== "rates" && look !== "basins") return;
    const round = ++this.round, draw = look === "rates" ? drawRates : drawBasins;
    const tiles = paths.map((path) => {
      const canvas = element("canvas", { role: "img" }), words = element("p", { textContent: "computing …" });
      const axis = element("div", { className: "axis" });
      return { canvas, words, axis, figure: element("figure", {}, element("figcaption", {}, swatch(path.ink), path.label), canvas, axis, words) };
    });
    this.place.replaceChildren(element("p", { className: "note lead", textContent: LEAD[look] }), ...tiles.map((tile) => tile.figure));
    for (const [i, path] of paths.entries()) {
      const asked = { ...question, aspect: 4 / 3, runs: [path.asked] }, key = JSON.stringify([look, asked]);
      try {
        const { signal } = (this.stop = new AbortController()), tell = (part) => (tiles[i].words.textContent = `computing … ${percent(part)}`);
        if (!this.answers.has(key)) this.answers.set(key, await this.backend[look](asked, { signal, tell }));
      } catch (error) {
        if (error instanceof Stopped) return;
        if (error instanceof Gone) throw error;
        tiles[i].words.textContent = error.message;
        continue;
      }
      if (round !== this.round) return;
      if (this.answers.size > 60) this.answers.delete(this.answers.keys().next().value);
      draw(tiles[i], this.answers.get(key), path, { ground, colours, question, inks }, (lr) => this.take(path.racer, lr));
    }
    this.place.dataset.shown = look;
  }
}

export const percent = (part) => `${Math.floor(100 * part)} %`;

function drawRates({ canvas, words, axis }, { rates, losses: { shape: [rows, count], data } }, path, { ground, colours }, take) {
  const columns = Math.min(count, 300), at = (row, column) => data[row * count + Math.round((column * (count - 1)) / (columns - 1 || 1))];
  const top = Math.log10(Math.max(at(0, 0) - ground.floor, 1e-300)) + 1;
  paint(canvas, columns, rows, (column, row) => {
    const loss = at(row, column) - ground.floor;
    return Number.isFinite(loss) && loss < 10 ** (top + 3) ? mix(colours.heat, (Math.log10(Math.max(loss, 1e-300)) - top + BELOW + 1) / (BELOW + 1)) : null;
  }, colours);
  const position = (lr) => 1 - (Math.log(lr / rates[0]) / Math.log(rates.at(-1) / rates[0])) * (1 - 1 / rows) - 0.5 / rows;
  const context = canvas.getContext("2d"), y = position(path.rate) * canvas.height;
  context.strokeStyle = colours.ink;
  context.lineWidth = 2;
  context.setLineDash([6, 4]);
  context.beginPath();
  context.moveTo(0, y);
  context.lineTo(canvas.width, y);
  context.stroke();
  canvas.style.cursor = "pointer";
  canvas.onclick = (event) => take(rates[Math.min(rows - 1, Math.max(0, Math.floor((1 - event.offsetY / canvas.clientHeight) * rows)))]);
  axis.replaceChildren(element("span", { textContent: `up: lr ${rates[0]} to ${rates.at(-1)}` }), element("span", { textContent: `across: step 0 to ${count - 1}` }));
  const ends = rates.map((_, row) => data[(row + 1) * count - 1]).map((x) => (Number.isFinite(x) ? x : Infinity)), best = ends.indexOf(Math.min(...ends));
  words.textContent = `Lowest at the end: ${ends[best].toPrecision(3)} with lr ${rates[best]}.`;
  canvas.ariaLabel = `${path.label}: ${words.textContent}`;
}

function drawBasins({ canvas, words }, { view: [[x0, x1], [y0, y1]], minima, ends: { shape: [rows, columns], data: ends }, steps: { data: steps } }, path, { colours, question, inks }) {
  const most = question.steps, hues = inks.slice(0, 8).map(({ colour }) => rgb(colour)).filter(([r, g, b]) => r !== g || g !== b); // grey is nowhere
  const paper = mix([colours.ramp[2], colours.ramp[2]], 0), grey = colours.nowhere;
  paint(canvas, columns, rows, (column, row) => {
    const i = row * columns + column;
    if (ends[i] === -2) return null;
    return ends[i] < 0 ? grey : mix([hues[ends[i] % hues.length], paper], 0.15 + (0.65 * steps[i]) / most);
  }, colours);
  const context = canvas.getContext("2d");
  for (const [x, y] of minima) {
    context.beginPath();
    context.arc(((x - x0) / (x1 - x0)) * canvas.width, (1 - (y - y0) / (y1 - y0)) * canvas.height, 5, 0, 2 * Math.PI);
    context.fillStyle = colours.ink;
    context.fill();
    context.strokeStyle = colours.paper;
    context.lineWidth = 2;
    context.stroke();
  }
  const share = (end) => (100 * ends.reduce((n, e) => n + (e === end), 0)) / ends.length;
  const parts = minima.map(([x, y], i) => [share(i), `${share(i).toFixed(0)} % to (${+x.toPrecision(3)}, ${+y.toPrecision(3)})`]);
  words.textContent = [...parts.filter(([n]) => n > 0).map(([, text]) => text), share(-1) ? `${share(-1).toFixed(0)} % nowhere` : "", share(-2) ? `${share(-2).toFixed(0)} % diverge` : ""].filter(Boolean).join(", ");
  canvas.ariaLabel = `${path.label}: ${words.textContent}`;
}

// A picture of so many squares, rows from below; null is hatched.
function paint(canvas, columns, rows, colour, { rule, soft }) {
  Object.assign(canvas, { width: 480, height: 360 });
  const context = canvas.getContext("2d"), [w, h] = [canvas.width / columns, canvas.height / rows];
  context.fillStyle = rule;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = soft;
  context.globalAlpha = 0.35;
  context.beginPath();
  for (let x = -canvas.height; x < canvas.width; x += 9) {
    context.moveTo(x, canvas.height);
    context.lineTo(x + canvas.height, 0);
  }
  context.stroke();
  context.globalAlpha = 1;
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    const rgb = colour(column, row);
    if (!rgb) continue;
    context.fillStyle = `rgb(${rgb.map(Math.round)})`;
    context.fillRect(Math.floor(column * w), Math.floor(canvas.height - (row + 1) * h), Math.ceil(w) + 1, Math.ceil(h) + 1);
  }
}
