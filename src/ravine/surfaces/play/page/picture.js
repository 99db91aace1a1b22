// The race as a picture, seen from above or from the side, on a canvas or on the pen that writes SVG.

import { flat, relief } from "./look.js";
import { points, progress } from "./trail.js";

const DASHES = { solid: [], dash: [9, 5], dot: [2, 4], dashdot: [9, 4, 2, 4] };
const SHAPES = { circle: [0], square: [4, 0.125], diamond: [4, 0], "triangle-up": [3, 0], "triangle-down": [3, 0.5], star: [5, 0, 0.45], hexagon: [6, 0], pentagon: [5, 0] };

export function picture(pen, width, height, scene) {
  const { theme, ground, look, time, unit, paths } = scene;
  const seen = look === "relief" ? relief(ground, width, height, scene.turn, theme.ink) : flat(ground, width, height);
  const trails = paths.map((path) => ({ ...path, done: progress(path, time, unit) }));
  pen.save();
  pen.beginPath();
  pen.rect(0, 0, width, height);
  pen.clip();
  pen.fillStyle = theme.paper;
  pen.fillRect(0, 0, width, height);
  pen.lineCap = pen.lineJoin = "round";
  seen.draw(pen, theme, trails);
  for (const [x, y] of scene.minima) place(pen, seen, ground, x, y, "minimum", theme);
  for (const [x, y] of scene.saddles) place(pen, seen, ground, x, y, "saddle", theme);
  for (const trail of trails) drawTrail(pen, seen, trail, theme, look === "relief" ? 0.35 : 1);
  start(pen, seen.point(...scene.start), theme);
  for (const trail of trails) drawArrows(pen, seen, trail, scene.arrows, theme);
  for (const trail of trails) drawHead(pen, seen, trail, theme);
  if (look !== "relief") ticks(pen, width, height, scene);
  caption(pen, width, height, scene);
  pen.restore();
}

function drawTrail(pen, seen, trail, theme, opacity) {
  const line = [...points(trail)].map(([x, y]) => (seen.holds(x, y) ? seen.point(x, y) : null));
  pen.beginPath();
  line.forEach((here, i) => here && (line[i - 1] ? pen.lineTo(...here) : pen.moveTo(...here)));
  pen.setLineDash([]);
  stroke(pen, theme.paper, 4.5, 0.55 * opacity);
  pen.setLineDash(DASHES[trail.ink.dash]);
  stroke(pen, trail.ink.colour, 2.2, opacity);
  pen.setLineDash([]);
  if (opacity < 1) return;
  pen.beginPath(); // a dot for each step, where they can be told apart
  let last = [-99, -99];
  for (const [x, y] of line.slice(0, 400).filter(Boolean)) if (Math.hypot(x - last[0], y - last[1]) > 7) {
    pen.moveTo(x + 2.4, y);
    pen.arc(x, y, 2.4, 0, 2 * Math.PI);
    last = [x, y];
  }
  pen.fillStyle = trail.ink.colour;
  pen.fill();
}

function drawHead(pen, seen, trail, theme) {
  let end = null;
  for (const point of points(trail)) end = point;
  if (end === null || !seen.holds(...end)) return;
  marker(pen, ...seen.point(...end), trail.ink.marker, 7);
  pen.fillStyle = trail.ink.colour;
  pen.fill();
  stroke(pen, theme.paper, 1.8, 1);
}

// Directions from where a path is. Their lengths are for the eye: a gradient of 10⁵ would leave the picture.
function drawArrows(pen, seen, trail, which, theme) {
  const k = Math.min(Math.floor(trail.done), trail.losses.length - 1), at = (data, i = k) => [data[2 * i], data[2 * i + 1]];
  const [x, y] = at(trail.points);
  if (!Number.isFinite(x + y) || !seen.holds(x, y)) return;
  const from = seen.point(x, y);
  const vectors = {
    gradient: trail.gradients && at(trail.gradients).map((g) => -g),
    momentum: trail.momentum && at(trail.momentum).map((m) => -m),
    step: k + 1 < trail.losses.length && [0, 1].map((i) => at(trail.points, k + 1)[i] - [x, y][i]),
  };
  for (const name of which) {
    const v = vectors[name], size = v ? Math.hypot(...v) : 0;
    if (!(size > 0 && Number.isFinite(size))) continue;
    const far = seen.point(x + (v[0] / size) * seen.unit, y + (v[1] / size) * seen.unit), long = Math.hypot(far[0] - from[0], far[1] - from[1]);
    const length = { gradient: 64, momentum: 48, step: 34 }[name], to = from.map((c, i) => c + ((far[i] - c) / (long || 1)) * length);
    const angle = Math.atan2(to[1] - from[1], to[0] - from[0]), tip = (turn) => [to[0] - 9 * Math.cos(angle + turn), to[1] - 9 * Math.sin(angle + turn)];
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.setLineDash({ gradient: [], momentum: [5, 4], step: [] }[name]);
    const width = { gradient: 1.4, momentum: 1.8, step: 4 }[name];
    stroke(pen, theme.paper, width + 2.5, 0.7);
    stroke(pen, name === "gradient" ? theme.ink : trail.ink.colour, width, 1);
    pen.setLineDash([]);
    pen.beginPath();
    pen.moveTo(...tip(0.5));
    pen.lineTo(...to);
    pen.lineTo(...tip(-0.5));
    stroke(pen, name === "gradient" ? theme.ink : trail.ink.colour, Math.min(width, 2.6), 1);
  }
}

function place(pen, seen, ground, x, y, kind, theme) {
  const [[x0, x1], [y0, y1]] = ground.view;
  if (x < x0 || x > x1 || y < y0 || y > y1) return;
  const [px, py] = seen.point(x, y);
  pen.beginPath();
  if (kind === "minimum") star(pen, px, py, 7.5, 5, 0, 0.42);
  else for (const s of [-1, 1]) {
    pen.moveTo(px - 5, py - 5 * s);
    pen.lineTo(px + 5, py + 5 * s);
  }
  if (kind === "minimum") {
    stroke(pen, theme.paper, 3, 0.9);
    pen.fillStyle = theme.ink;
    pen.fill();
  } else {
    stroke(pen, theme.paper, 4, 0.7);
    stroke(pen, theme.ink, 1.6, 0.8);
  }
}

function start(pen, [x, y], theme) {
  pen.beginPath();
  pen.arc(x, y, 9, 0, 2 * Math.PI);
  stroke(pen, theme.paper, 5, 0.9);
  stroke(pen, theme.ink, 2, 1);
}

// Numbers along the upper edge for x, and along the right one for y; the caption is below.
function ticks(pen, width, height, { theme, ground: { view: [[x0, x1], [y0, y1]] }, caption: lines }) {
  pen.font = `10.5px ${theme.family}`;
  pen.textBaseline = "middle";
  const mark = (text, [x, y], [dx, dy]) => {
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + 5 * dx, y + 5 * dy);
    stroke(pen, theme.ink, 1, 0.6);
    pen.fillStyle = theme.ink;
    pen.globalAlpha = 0.75;
    pen.fillText(text, x + 8 * dx, y + 12 * dy);
    pen.globalAlpha = 1;
  };
  pen.textAlign = "center";
  for (const x of round(x0, x1, width / 80)) {
    const at = ((x - x0) / (x1 - x0)) * width;
    if (at > 16 && at < width - 40) mark(named(x), [at, 0], [0, 1]);
  }
  pen.textAlign = "right";
  for (const y of round(y0, y1, height / 80)) {
    const at = (1 - (y - y0) / (y1 - y0)) * height;
    if (at > 26 && at < height - 20 * lines.length - 16) mark(named(y), [width, at], [-1, 0]);
  }
}

// Round numbers between two, about so many.
function round(low, high, count) {
  const rough = (high - low) / Math.max(count, 2), ten = 10 ** Math.floor(Math.log10(rough));
  const step = ten * [1, 2, 5, 10].find((k) => k * ten >= rough), first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

const named = (x) => String(+x.toPrecision(6)).replace("-", "−");

// What this is, always on it: the surface, the start, the time, and how the learning rates were chosen.
function caption(pen, width, height, scene) {
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  pen.font = `${width < 480 ? 11 : 12.5}px ${scene.theme.family}`;
  const lines = scene.caption.flatMap((line) => broken(pen, line, width - 22)), high = width < 480 ? 15 : 18, wide = Math.max(...lines.map((line) => pen.measureText(line).width));
  pen.globalAlpha = 0.82;
  pen.fillStyle = scene.theme.paper;
  pen.fillRect(0, height - high * lines.length - 9, Math.min(wide + 22, width), high * lines.length + 9);
  pen.globalAlpha = 1;
  pen.fillStyle = scene.theme.ink;
  lines.forEach((line, i) => pen.fillText(line, 11, height - 9 - high * (lines.length - 1 - i)));
}

// A line as several that are no wider than this, broken between words.
function broken(pen, line, width) {
  const words = line.split(" "), lines = [words.shift()];
  for (const word of words) {
    const longer = `${lines.at(-1)} ${word}`;
    if (pen.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

// A line of names under a picture that leaves the page.
export function legend(pen, width, y, scene) {
  pen.font = `13px ${scene.theme.family}`;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  let x = 14, line = y + 16;
  for (const { label, ink } of scene.paths) {
    const wide = pen.measureText(label).width + 38;
    if (x + wide > width - 6 && x > 14) [x, line] = [14, line + 24];
    marker(pen, x + 6, line, ink.marker, 6);
    pen.fillStyle = ink.colour;
    pen.fill();
    pen.fillStyle = scene.theme.ink;
    pen.fillText(label, x + 18, line);
    x += wide;
  }
  return line + 18 - y;
}

export function marker(pen, x, y, name, size) {
  const [corners, turn, depth] = SHAPES[name];
  pen.beginPath();
  if (corners) star(pen, x, y, size * 1.12, corners, turn, depth);
  else pen.arc(x, y, size * 0.9, 0, 2 * Math.PI);
}

function star(pen, x, y, size, corners, turn, depth) {
  const count = depth ? 2 * corners : corners;
  for (let i = 0; i < count; i++) {
    const angle = 2 * Math.PI * (i / count + turn) - Math.PI / 2, r = depth && i % 2 ? size * depth : size;
    pen[i ? "lineTo" : "moveTo"](x + r * Math.cos(angle), y + r * Math.sin(angle));
  }
  pen.closePath();
}

function stroke(pen, colour, width, opacity) {
  Object.assign(pen, { strokeStyle: colour, lineWidth: width, globalAlpha: opacity });
  pen.stroke();
  pen.globalAlpha = 1;
}
