// Time: played, stopped, moved by hand.

import { still } from "./theme.js";

const SECONDS = 8; // a whole race at 1×

export class Clock {
  time = 0; end = 300; speed = 1; playing = null;

  constructor(tick, turned) {
    Object.assign(this, { tick, turned });
  }

  // A race has come that ends here. Who was at the end stays there.
  reach(end) {
    const whole = this.time >= this.end;
    this.end = end;
    this.time = whole ? end : Math.min(this.time, end);
  }

  // From the beginning; or, where motion is not wanted, the whole of it at once.
  begin() {
    this.time = still.matches ? this.end : 0;
    if (!still.matches) this.play();
    this.tick();
  }

  play() {
    if (this.playing) return;
    if (this.time >= this.end) this.time = 0;
    const run = (this.playing = Symbol()); // stopped and played again within a frame, the older one ends
    this.turned();
    let last = performance.now();
    const frame = (now) => {
      if (this.playing !== run) return;
      this.time = Math.min(this.end, this.time + ((now - last) / 1000 / SECONDS) * this.speed * this.end);
      last = now;
      if (this.time >= this.end) this.stop();
      this.tick();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  stop() {
    this.playing = null;
    this.turned();
  }

  to(time) {
    this.stop();
    this.time = Math.min(Math.max(time, 0), this.end);
    this.tick();
  }
}
