/** The clock of playing: session time that runs faster or slower than the wall's. Pure. */

export const SPEEDS = [0.5, 1, 2, 4, 8, 16, 32, 64];

export class Player {
  #since = 0;
  #from = 0;
  speed = 1;
  playing = false;

  /** Play on from a time of the session. `now` is the wall's clock in milliseconds. */
  play(time, now) {
    this.#from = time;
    this.#since = now;
    this.playing = true;
  }

  pause() {
    this.playing = false;
  }

  /** Change the speed without a jump. */
  setSpeed(speed, now) {
    if (this.playing) this.play(this.time(now), now);
    this.speed = speed;
  }

  /** The time of the session that is now, in nanoseconds. */
  time(now) {
    return this.#from + (now - this.#since) * 1e6 * this.speed;
  }
}
