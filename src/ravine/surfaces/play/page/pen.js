// A canvas context that writes SVG: what is drawn on the page is drawn into the file by the same lines.

export class Pen {
  fillStyle = "#000"; strokeStyle = "#000"; lineWidth = 1; globalAlpha = 1; font = "12px sans-serif"; textAlign = "left"; textBaseline = "alphabetic";
  lineCap = "butt"; lineJoin = "miter"; imageSmoothingQuality = "high";
  #out = []; #path = ""; #dash = []; #open = [0]; #clips = 0;

  constructor(width, height) {
    Object.assign(this, { width, height });
  }

  beginPath() { this.#path = ""; }
  moveTo(x, y) { this.#path += `M${short(x)} ${short(y)}`; }
  lineTo(x, y) { this.#path += `L${short(x)} ${short(y)}`; }
  closePath() { this.#path += "Z"; }
  rect(x, y, w, h) { this.#path += `M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}Z`; }
  arc(x, y, r) { this.#path += `M${short(x - r)} ${short(y)}a${short(r)} ${short(r)} 0 1 0 ${short(2 * r)} 0a${short(r)} ${short(r)} 0 1 0 ${short(-2 * r)} 0`; } // whole circles
  setLineDash(dash) { this.#dash = dash; }

  fill() { this.#out.push(`<path d="${this.#path}" fill="${this.fillStyle}"${this.#seen()}/>`); }
  stroke() {
    const dash = this.#dash.length ? ` stroke-dasharray="${this.#dash.join(" ")}"` : "";
    this.#out.push(`<path d="${this.#path}" fill="none" stroke="${this.strokeStyle}" stroke-width="${short(this.lineWidth)}" stroke-linecap="${this.lineCap}" stroke-linejoin="${this.lineJoin}"${dash}${this.#seen()}/>`);
  }
  fillRect(x, y, w, h) { this.#out.push(`<rect x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}" fill="${this.fillStyle}"${this.#seen()}/>`); }
  fillText(text, x, y) {
    const [, weight, size, family] = /^(\d+ )?([\d.]+px) (.*)$/.exec(this.font), anchor = { left: "start", center: "middle", right: "end" }[this.textAlign];
    const shift = this.textBaseline === "middle" ? ' dominant-baseline="central"' : "";
    this.#out.push(`<text x="${short(x)}" y="${short(y)}" fill="${this.fillStyle}" font-family="${escaped(family)}" font-size="${size}" font-weight="${(weight ?? "400").trim()}" text-anchor="${anchor}"${shift}${this.#seen()}>${escaped(text)}</text>`);
  }
  measureText(text) {
    const context = document.createElement("canvas").getContext("2d");
    context.font = this.font;
    return context.measureText(text);
  }
  drawImage(canvas, x, y, w, h) { this.#out.push(`<image x="${short(x)}" y="${short(y)}" width="${short(w)}" height="${short(h)}" preserveAspectRatio="none" href="${canvas.toDataURL()}"/>`); }

  save() { this.#open.push(0); }
  clip() {
    this.#out.push(`<clipPath id="clip${++this.#clips}"><path d="${this.#path}"/></clipPath><g clip-path="url(#clip${this.#clips})">`);
    this.#open[this.#open.length - 1]++;
  }
  restore() { this.#out.push("</g>".repeat(this.#open.pop())); }

  #seen() { return this.globalAlpha < 1 ? ` opacity="${short(this.globalAlpha)}"` : ""; }
  toString() { return `<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}">${this.#out.join("\n")}</svg>\n`; }
}

const short = (x) => String(Math.round(x * 100) / 100);
const escaped = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
