// Where a path is at a time.

// How far each path is at a time of the clock: whole steps done, and the part of the next one.
export function progress(path, time, unit) {
  const last = path.losses.length - 1;
  if (unit === "steps") return Math.min(time, last);
  let k = 0;
  while (k < last && path.evaluations[k + 1] <= time) k++;
  if (k === last) return last;
  return k + (time - path.evaluations[k]) / (path.evaluations[k + 1] - path.evaluations[k]);
}

// Points of a path up to where it is, its last one between two steps; it ends where it stops being finite.
export function* points({ points: p, done }) {
  const whole = Math.floor(done);
  for (let k = 0; k <= whole; k++) {
    if (!Number.isFinite(p[2 * k] + p[2 * k + 1])) return;
    yield [p[2 * k], p[2 * k + 1]];
  }
  const part = done - whole, x = p[2 * whole] + part * (p[2 * whole + 2] - p[2 * whole]), y = p[2 * whole + 1] + part * (p[2 * whole + 3] - p[2 * whole + 1]);
  if (part > 0 && Number.isFinite(x + y)) yield [x, y];
}
