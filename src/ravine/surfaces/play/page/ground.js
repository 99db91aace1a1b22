// The surface from above: a shade for each height, and lines of equal height.

const LEVELS = 16;

// grid: heights row by row from the lowest y to the highest; what is not finite lies as high as the highest.
export class Ground {
  constructor({ view, heights: { shape, data }, log, floor }) {
    [this.rows, this.columns] = shape;
    Object.assign(this, { view, log, data });
    const finite = data.filter(Number.isFinite).sort();
    const at = (q) => finite[Math.min(finite.length - 1, Math.floor(q * finite.length))];
    this.floor = Math.min(floor ?? Infinity, at(0));
    this.top = log ? at(1) : at(0.995);
    this.unit = Math.max(at(0.01) - this.floor, (this.top - this.floor) * 1e-6) || 1;
    this.shades = Float64Array.from(data, (z) => this.shade(z));
    this.levels = Array.from({ length: LEVELS - 1 }, (_, i) => contour(this, (i + 1) / LEVELS));
    this.pictures = new Map();
  }

  // From 0 at the lowest loss to 1 at the highest, in equal ratios where the surface says so.
  shade(z) {
    if (!Number.isFinite(z)) return 1;
    const high = Math.max(z - this.floor, 0), all = this.top - this.floor || 1;
    return Math.min(1, this.log ? Math.log1p(high / this.unit) / Math.log1p(all / this.unit) : high / all);
  }

  // The loss at parts of the view from left and from below.
  loss(a, b) {
    return this.data[Math.round(b * (this.rows - 1)) * this.columns + Math.round(a * (this.columns - 1))];
  }

  // The shades as a small picture; the canvas smooths it when it draws it large.
  picture(ramp) {
    const key = ramp.join();
    if (!this.pictures.has(key)) {
      const canvas = Object.assign(document.createElement("canvas"), { width: this.columns, height: this.rows });
      const image = new ImageData(this.columns, this.rows);
      for (let row = 0; row < this.rows; row++) for (let column = 0; column < this.columns; column++) {
        const rgb = mix(ramp, this.shades[row * this.columns + column]), to = 4 * ((this.rows - 1 - row) * this.columns + column);
        for (let i = 0; i < 3; i++) image.data[to + i] = rgb[i];
        image.data[to + 3] = 255;
      }
      canvas.getContext("2d").putImageData(image, 0, 0);
      this.pictures.set(key, canvas);
    }
    return this.pictures.get(key);
  }
}

// The colour at a part of a ramp of two or more, each [r, g, b].
export function mix(ramp, part) {
  const place = Math.min(Math.max(part, 0), 1) * (ramp.length - 1), i = Math.min(Math.floor(place), ramp.length - 2), f = place - i;
  return ramp[i].map((c, k) => c + f * (ramp[i + 1][k] - c));
}

// Marching squares: the lines of one height, each as points [x, y] in parts of the grid from 0 to 1.
function contour({ rows, columns, shades }, level) {
  const pieces = [], at = (c, r) => [c / (columns - 1), r / (rows - 1)];
  for (let r = 0; r + 1 < rows; r++) for (let c = 0; c + 1 < columns; c++) {
    const i = r * columns + c, a = shades[i], b = shades[i + 1], d = shades[i + columns], e = shades[i + columns + 1];
    const cut = (p, q) => (level - p) / (q - p), crossings = [];
    if (a < level !== b < level) crossings.push(at(c + cut(a, b), r));
    if (b < level !== e < level) crossings.push(at(c + 1, r + cut(b, e)));
    if (d < level !== e < level) crossings.push(at(c + cut(d, e), r + 1));
    if (a < level !== d < level) crossings.push(at(c, r + cut(a, d)));
    for (let k = 0; k + 1 < crossings.length; k += 2) pieces.push([crossings[k], crossings[k + 1]]);
  }
  return joined(pieces);
}

// Pieces that share an end are one line.
function joined(pieces) {
  const ends = new Map(), used = new Set();
  for (const piece of pieces) for (const end of piece) ends.set(String(end), [...(ends.get(String(end)) ?? []), piece]);
  const onward = (line) => {
    for (let next; (next = ends.get(String(line.at(-1))).find((piece) => !used.has(piece))); ) {
      used.add(next);
      line.push(String(next[0]) === String(line.at(-1)) ? next[1] : next[0]);
    }
    return line;
  };
  return pieces.filter((piece) => !used.has(piece) && used.add(piece)).map((piece) => onward(onward([...piece]).reverse()));
}
