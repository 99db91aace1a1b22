// Two ways to look at a surface: from above, and from the side. Each says where a point is, and draws the ground.

import { mix } from "./ground.js";
import { points } from "./trail.js";

const far = (x) => Math.min(Math.max(x, -1e5), 1e5); // what diverged may be anywhere

export function flat(ground, width, height) {
  const [[x0, x1], [y0, y1]] = ground.view;
  return {
    unit: (x1 - x0) / 100,
    holds: () => true,
    point: (x, y) => [far(((x - x0) / (x1 - x0)) * width), far((1 - (y - y0) / (y1 - y0)) * height)],
    draw(pen, theme) {
      pen.imageSmoothingQuality = "high";
      const dx = width / (ground.columns - 1) / 2, dy = height / (ground.rows - 1) / 2; // pixels lie around their points
      pen.drawImage(ground.picture(theme.ramp), -dx, -dy, width + 2 * dx, height + 2 * dy);
      ground.levels.forEach((lines, i) => {
        pen.beginPath();
        for (const line of lines) line.forEach(([a, b], k) => pen[k ? "lineTo" : "moveTo"](a * width, (1 - b) * height));
        Object.assign(pen, { strokeStyle: theme.ink, lineWidth: i % 4 === 3 ? 1 : 0.6, globalAlpha: i % 4 === 3 ? 0.22 : 0.13 });
        pen.stroke();
      });
      pen.globalAlpha = 1;
    },
  };
}

function add(lists, key, one) {
  if (!lists.has(key)) lists.set(key, []);
  lists.get(key).push(one);
}

// turn: around the vertical, and up from the side, in radians.
export function relief(ground, width, height, [around, up], ink) {
  const [[x0, x1], [y0, y1]] = ground.view, ratio = (y1 - y0) / (x1 - x0);
  const [cos, sin, flatness, rise] = [Math.cos(around), Math.sin(around), Math.sin(up), Math.cos(up)];
  const wide = Math.abs(cos) + Math.abs(sin) * ratio, deep = (Math.abs(sin) + Math.abs(cos) * ratio) * flatness, tall = 0.8;
  const size = Math.min((width * 0.47) / wide, (height * 0.46) / (deep + (tall * rise) / 2));
  const at = (u, v, s) => {
    const b = (u * sin + v * ratio * cos) * flatness;
    return [width / 2 + (u * cos - v * ratio * sin) * size, height / 2 - (b + tall * rise * (s - 0.5)) * size];
  };
  const part = (x, y) => [(x - x0) / (x1 - x0), (y - y0) / (y1 - y0)];
  return {
    unit: (x1 - x0) / 100,
    holds: (x, y) => x >= x0 && x <= x1 && y >= y0 && y <= y1,
    point(x, y) {
      const [a, b] = part(x, y);
      return at(far(2 * a - 1), far(2 * b - 1), sample(ground, a, b)).map(far);
    },
    draw(pen, theme, trails) {
      const every = Math.max(1, Math.round((ground.columns - 1) / 72)), columns = Math.floor((ground.columns - 1) / every), rows = Math.floor((ground.rows - 1) / every);
      const corner = (c, r) => {
        const s = ground.shades[r * every * ground.columns + c * every];
        return [...at((2 * c * every) / (ground.columns - 1) - 1, (2 * r * every) / (ground.rows - 1) - 1, s), s];
      };
      const corners = Array.from({ length: (rows + 1) * (columns + 1) }, (_, i) => corner(i % (columns + 1), Math.floor(i / (columns + 1))));
      const lying = pieces(trails, columns, rows, part), levels = lines(columns, rows); // by the square they are in
      const order = (count, away) => Array.from({ length: count }, (_, i) => (away ? count - 1 - i : i));
      pen.lineWidth = 0.8;
      for (const r of order(rows, cos > 0)) for (const c of order(columns, sin > 0)) { // from the back to the front
        const i = r * (columns + 1) + c, [a, b, d, e] = [corners[i], corners[i + 1], corners[i + columns + 2], corners[i + columns + 1]];
        const slope = ((b[2] - a[2] + d[2] - e[2]) * columns * cos + (a[2] - e[2] + b[2] - d[2]) * rows * 0.6) / 2;
        const light = 1 + Math.max(-0.28, Math.min(0.16, slope * 0.09)), rgb = mix(theme.ramp, (a[2] + b[2] + d[2] + e[2]) / 4);
        const colour = `rgb(${rgb.map((x) => Math.round(Math.min(255, x * light)))})`;
        pen.beginPath();
        pen.moveTo(a[0], a[1]);
        for (const q of [b, d, e]) pen.lineTo(q[0], q[1]);
        pen.closePath();
        pen.fillStyle = pen.strokeStyle = colour;
        pen.fill();
        pen.stroke();
        for (const [from, to, strokeStyle, lineWidth, globalAlpha] of [...(levels.get(r * columns + c) ?? []), ...(lying.get(r * columns + c) ?? [])]) {
          pen.beginPath();
          pen.moveTo(...at(...from));
          pen.lineTo(...at(...to));
          Object.assign(pen, { strokeStyle, lineWidth, globalAlpha });
          pen.stroke();
        }
        Object.assign(pen, { lineWidth: 0.8, globalAlpha: 1 });
      }
    },
  };

  // The lines of equal height, as pieces on squares.
  function lines(columns, rows) {
    const found = new Map();
    ground.levels.forEach((all, i) => {
      for (const line of all) for (let k = 0; k + 1 < line.length; k++) {
        const [[a, b], [c, d]] = [line[k], line[k + 1]];
        const key = Math.min(Math.floor(((b + d) / 2) * rows), rows - 1) * columns + Math.min(Math.floor(((a + c) / 2) * columns), columns - 1);
        const s = (i + 1) / (ground.levels.length + 1) + 0.002;
        add(found, key, [[2 * a - 1, 2 * b - 1, s], [2 * c - 1, 2 * d - 1, s], ink, 0.7, i % 4 === 3 ? 0.3 : 0.16]);
      }
    });
    return found;
  }

  // Each path laid upon the surface in pieces no longer than a square, so that hills hide what is behind them.
  function pieces(trails, columns, rows, part) {
    const found = new Map();
    for (const trail of trails) {
      let last = null;
      for (const [x, y] of points(trail)) {
        const here = part(x, y);
        if (last && [...last, ...here].every((q) => q > -1 && q < 2)) {
          const count = Math.min(200, Math.ceil(Math.max(Math.abs(here[0] - last[0]) * columns, Math.abs(here[1] - last[1]) * rows)) || 1);
          for (let k = 0; k < count; k++) {
            const [a, b] = [k, k + 1].map((f) => last.map((q, i) => q + (f / count) * (here[i] - q)));
            const c = Math.floor(((a[0] + b[0]) / 2) * columns), r = Math.floor(((a[1] + b[1]) / 2) * rows);
            if (c < 0 || r < 0 || c >= columns || r >= rows) continue;
            const ends = [a, b].map((q) => [2 * q[0] - 1, 2 * q[1] - 1, sample(ground, ...q) + 0.006]);
            add(found, r * columns + c, [...ends, trail.ink.colour, 2.6, 1]);
          }
        }
        last = here;
      }
    }
    return found;
  }
}

// The shade between the points of the grid; at its edge beyond it.
function sample({ rows, columns, shades }, a, b) {
  const x = Math.min(Math.max(a, 0), 1) * (columns - 1), y = Math.min(Math.max(b, 0), 1) * (rows - 1);
  const c = Math.min(Math.floor(x), columns - 2), r = Math.min(Math.floor(y), rows - 2), i = r * columns + c, [f, g] = [x - c, y - r];
  return (1 - g) * ((1 - f) * shades[i] + f * shades[i + 1]) + g * ((1 - f) * shades[i + columns] + f * shades[i + columns + 1]);
}
