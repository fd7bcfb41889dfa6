/**
 * The time axis: which stretch of time is seen, and where in it a time lies. Pure.
 *
 * Times are nanoseconds since 1970 as plain numbers: exact to a quarter of a microsecond, which is
 * what a screen needs. The log's order is by position, never by these.
 */

export const MS = 1e6;
export const S = 1e9;
/** The shortest stretch that can be seen. */
const SPAN_MIN = 0.1 * MS;

const STEPS = [
  ...[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500].map((ms) => ms * MS),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((s) => s * S),
];

export class Axis {
  /**
   * @param {{begin: number, end: number}} limits all that can be seen
   * @param {{from: number, to: number}} [view] what is seen first; all of it otherwise
   */
  constructor(limits, view) {
    this.width = 1;
    this.setLimits(limits);
    this.from = this.begin;
    this.to = this.end;
    if (view) this.show(view.from, view.to);
  }

  /** Take other limits, as a live session grows; what is seen stays. */
  setLimits({ begin, end }) {
    this.begin = begin;
    this.end = Math.max(end, begin + SPAN_MIN * 10);
  }

  get span() {
    return this.to - this.from;
  }

  /** Whether all there is can be seen. */
  get whole() {
    return this.from <= this.begin && this.to >= this.end;
  }

  x(time) {
    return ((time - this.from) / this.span) * this.width;
  }

  time(x) {
    return this.from + (x / this.width) * this.span;
  }

  /** Show a stretch, kept within the limits and not too short. */
  show(from, to) {
    const most = this.end - this.begin;
    const span = Math.min(Math.max(to - from, SPAN_MIN), most);
    const middle = (from + to) / 2;
    const start = Math.min(Math.max(middle - span / 2, this.begin), this.end - span);
    this.from = start;
    this.to = start + span;
  }

  fit() {
    this.show(this.begin, this.end);
  }

  /** Zoom by a factor (above 1: out) so that the time under `x` stays there. */
  zoom(factor, x = this.width / 2) {
    const at = this.time(x);
    const span = Math.min(Math.max(this.span * factor, SPAN_MIN), this.end - this.begin);
    const from = at - (x / this.width) * span;
    this.show(from, from + span);
  }

  /** Move by pixels: positive is later. */
  pan(dx) {
    const shift = (dx / this.width) * this.span;
    this.show(this.from + shift, this.to + shift);
  }

  /** Move as little as needed to see a time, with some room around it. */
  reveal(time, margin = 0.08) {
    const room = this.span * margin;
    if (time < this.from + room) this.show(time - room, time - room + this.span);
    else if (time > this.to - room) this.show(time + room - this.span, time + room);
  }

  /** The distance of ticks so that they are at least `gap` pixels apart. */
  step(gap = 90) {
    const least = (gap / this.width) * this.span;
    return STEPS.find((step) => step >= least) ?? STEPS.at(-1) * Math.ceil(least / STEPS.at(-1));
  }

  /** Times of ticks, round since the beginning of the session. */
  ticks(gap) {
    const step = this.step(gap);
    const first = Math.ceil((this.from - this.begin) / step);
    const found = [];
    for (let n = first; this.begin + n * step <= this.to && found.length < 200; n += 1) {
      found.push(this.begin + n * step);
    }
    return found;
  }
}
