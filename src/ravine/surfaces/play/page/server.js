// Where paths come from: the server that `ravine play` started. Its answers are JSON, or numbers behind a JSON head.

export class Gone extends Error {}
export class Refused extends Error {
  constructor({ error, at, field }) {
    super(error);
    Object.assign(this, { at, field });
  }
}

export class Server {
  baked = false;

  choices = () => this.#ask("choices");
  ground = (what) => this.#ask("ground", what);
  race = (what) => this.#ask("race", what);
  tune = (what) => this.#ask("tune", what);
  rates = (what) => this.#ask("rates", what);
  basins = (what) => this.#ask("basins", what);

  async alive() {
    try {
      return (await fetch("api/alive")).ok;
    } catch {
      return false;
    }
  }

  async #ask(path, what) {
    const post = what && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what) };
    let answer;
    try {
      answer = await fetch(`api/${path}`, post);
    } catch {
      throw new Gone();
    }
    if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
      const read = await answer.json();
      if (!answer.ok) throw new Refused(read);
      return read;
    }
    if (!answer.ok) throw new Refused({ error: `the server answered ${answer.status}` });
    return unpack(await answer.arrayBuffer());
  }
}

// The length of the head, the head, and then one array of float64 after another, as the head says.
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  let at = 8 + length;
  for (const [name, shape] of Object.entries(head.arrays)) {
    const size = shape.reduce((a, b) => a * b, 1);
    head[name] = { shape, data: new Float64Array(buffer, at, size) };
    at += 8 * size;
  }
  return head;
}
