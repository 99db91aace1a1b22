// Where paths come from in a page without a server: they lie in it, for a grid of learning rates.

const NOTHING = 65535;

export class Baked {
  baked = true;

  static async open(text) {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Baked(await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
  }

  constructor(buffer) {
    const length = new DataView(buffer).getUint32(0, true);
    this.head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
    let at = 4 + length;
    const take = (count) => new Uint16Array(buffer, (at += 2 * count) - 2 * count, count);
    this.steps = this.head.steps;
    for (const surface of Object.values(this.head.surfaces)) {
      surface.heights = take(surface.rows * surface.columns);
      surface.codes = new Map();
      for (const [name, rates] of Object.entries(surface.rates)) for (const lr of rates) surface.codes.set(`${name} ${lr}`, [take(this.steps + 1), take(this.steps + 1), take(this.steps + 1), take(this.steps + 1)]);
    }
  }

  async choices() {
    return this.head.choices;
  }

  async ground({ surface: { name } }) {
    const { view, floor, rows, columns, heights, decades, start, minima, saddles, log, shape } = this.head.surfaces[name];
    return { view, floor, start, minima, saddles, log, shape, heights: { shape: [rows, columns], data: Float64Array.from(heights, (code) => floor + above(code, decades)) } };
  }

  async race({ surface: { name }, runs }) {
    const surface = this.head.surfaces[name], count = this.steps + 1;
    const out = { points: 2, losses: 1, norms: 1, evaluations: 1 };
    for (const key in out) out[key] = { shape: [runs.length], data: new Float64Array(out[key] * count * runs.length) };
    runs.forEach((run, i) => {
      const [x, y, loss, norm] = surface.codes.get(`${run.name} ${this.rate(name, run.name, run.set.lr)}`).map(summed);
      for (let k = 0; k < count; k++) {
        [x, y].forEach((codes, axis) => (out.points.data[2 * (i * count + k) + axis] = along(codes[k], surface.box[axis])));
        out.losses.data[i * count + k] = surface.lowest + above(loss[k], surface.decades);
        out.norms.data[i * count + k] = above(norm[k], surface.decades);
        out.evaluations.data[i * count + k] = k;
      }
    });
    return out;
  }

  async tune({ surface: { name }, runs }) {
    return { rate: this.head.surfaces[name].tuned[runs[0].name] };
  }

  async rates({ surface, runs: [{ name }] }) {
    const rates = this.head.rates, { losses } = await this.race({ surface, runs: rates.map((lr) => ({ name, set: { lr } })) });
    return { rates, losses: { shape: [rates.length, this.steps + 1], data: losses.data } };
  }

  // The rates that were computed: of one method on a surface, or those of all.
  grid(surface, name) {
    return surface ? this.head.surfaces[surface].rates[name] : this.head.rates;
  }

  // The computed rate next to this one, in ratio; the method's own default where none is asked.
  rate(surface, name, lr) {
    const rates = this.head.surfaces[surface].rates[name], wanted = lr ?? this.head.choices.optimizers.find((o) => o.name === name).controls.find((c) => c.name === "lr").default;
    return rates.reduce((a, b) => (Math.abs(Math.log(b / wanted)) < Math.abs(Math.log(a / wanted)) ? b : a));
  }
}

const along = (code, [low, high]) => (code === NOTHING ? NaN : low + (code / (NOTHING - 1)) * (high - low));
const above = (code, decades) => (code === 0 ? 0 : 10 ** along(code, decades));

// Codes from their differences, in 16 bits.
function summed(differences) {
  let now = 0;
  return differences.map((d) => (now = (now + d) & 0xffff));
}
