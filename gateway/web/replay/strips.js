/** What lies above and below the lanes on the same axis: overview, scrubber, charts. */
import { h } from '../ui/dom.js';
import { ask, Latest } from './api.js';
import { prepared, theme } from './canvas.js';
import { sinceBegin, written } from './format.js';
import { height, stacked, steps, valueAt } from './marks.js';
import { CATEGORIES, METRICS } from './words.js';

const EDGE = 8;

/** Follow the pointer on an element while it is held down. */
function onDrag(element, begin, move) {
  let held = null;
  element.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    held = begin(event.offsetX, event) ?? {};
    move(event.offsetX, held);
  });
  element.addEventListener('pointermove', (event) => held && move(event.offsetX, held));
  for (const end of ['pointerup', 'pointercancel']) element.addEventListener(end, () => (held = null));
}

/** The whole session at a glance, with a window on what is seen. */
export class Overview {
  constructor(canvas, axis, changed) {
    Object.assign(this, { canvas, axis, time: null, told: null });
    const at = (x) => axis.begin + (x / canvas.clientWidth) * (axis.end - axis.begin);
    onDrag(
      canvas,
      (x) => {
        const [left, right] = [this.#x(axis.from), this.#x(axis.to)];
        if (Math.abs(x - left) < EDGE && right - left > 3 * EDGE) return { edge: 'from' };
        if (Math.abs(x - right) < EDGE && right - left > 3 * EDGE) return { edge: 'to' };
        if (x > left && x < right) return { grip: at(x) - axis.from };
        return { grip: axis.span / 2 };
      },
      (x, held) => {
        if (held.edge === 'from') axis.show(Math.min(at(x), axis.to - 1e5), axis.to);
        else if (held.edge === 'to') axis.show(axis.from, Math.max(at(x), axis.from + 1e5));
        else axis.show(at(x) - held.grip, at(x) - held.grip + axis.span);
        changed();
      },
    );
  }

  #x(time) {
    return ((time - this.axis.begin) / (this.axis.end - this.axis.begin)) * this.canvas.clientWidth;
  }

  async load(path) {
    const { begin, end } = this.axis;
    const buckets = Math.max(60, Math.round(this.canvas.clientWidth / 3));
    const told = await ask(`${path}/density`, { lanes: '*', from: begin, to: end + 1e3, buckets });
    const all = stacked(told.lanes['*'] ?? {}, CATEGORIES);
    let most = 1;
    for (const { total } of all.values()) most = Math.max(most, total);
    this.told = { ...told, all, most };
    this.draw();
  }

  draw() {
    const { context, width, height: tall } = prepared(this.canvas);
    const colours = theme();
    if (this.told) {
      const { from, to, buckets, all, most } = this.told;
      const w = this.#x(from + (to - from) / buckets) - this.#x(from) + 0.25;
      for (const [bucket, { total, parts }] of all) {
        const x = this.#x(from + (bucket / buckets) * (to - from));
        let at = tall - 2;
        const room = Math.max(height(total, most) * (tall - 10), 1.5);
        parts.forEach((part, n) => {
          const trouble = CATEGORIES[n] === 'trouble';
          const share = (part / total) * room;
          context.fillStyle = colours.of[CATEGORIES[n]];
          context.globalAlpha = 0.85;
          if (!trouble) context.fillRect(x, (at -= share), w, share);
          else if (part) context.fillRect(x, 1, Math.max(w, 2), 4);
        });
      }
    }
    const [left, right] = [this.#x(this.axis.from), this.#x(this.axis.to)];
    context.globalAlpha = 0.72;
    context.fillStyle = colours.paper;
    context.fillRect(0, 0, left, tall);
    context.fillRect(right, 0, width - right, tall);
    context.globalAlpha = 1;
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.5;
    context.beginPath();
    context.roundRect(left + 0.75, 0.75, Math.max(right - left - 1.5, 3), tall - 1.5, 5);
    context.stroke();
    if (this.time !== null) {
      context.fillStyle = colours.accent;
      context.fillRect(this.#x(this.time) - 0.75, 0, 1.5, tall);
    }
  }
}

/** The axis with its times; dragging on it scrubs. */
export class Scrubber {
  constructor(canvas, axis, seek) {
    Object.assign(this, { canvas, axis, time: null });
    onDrag(canvas, () => ({}), (x) => seek(axis.time(Math.min(Math.max(x, 0), axis.width))));
  }

  draw() {
    const { context, height: tall } = prepared(this.canvas);
    const { axis } = this;
    const colours = theme();
    const step = axis.step();
    context.font = colours.font;
    context.textBaseline = 'middle';
    for (const time of axis.ticks()) {
      const x = Math.round(axis.x(time));
      context.fillStyle = colours.line;
      context.fillRect(x, tall - 6, 1, 6);
      context.fillStyle = colours.muted;
      context.fillText(sinceBegin(time - axis.begin, step), x + 4, tall / 2);
    }
    if (this.time === null) return;
    const x = axis.x(this.time);
    if (x < -4 || x > axis.width + 4) return;
    const text = sinceBegin(this.time - axis.begin, Math.min(step, 1e6));
    const w = context.measureText(text).width + 14;
    const left = Math.min(Math.max(x - w / 2, 0), axis.width - w);
    context.fillStyle = colours.accent;
    context.beginPath();
    context.roundRect(left, 3, w, tall - 9, 6);
    context.fill();
    context.beginPath();
    context.moveTo(x - 5, tall - 7);
    context.lineTo(x + 5, tall - 7);
    context.lineTo(x, tall - 1);
    context.fill();
    context.fillStyle = colours.paper;
    context.fillText(text, left + 7, tall / 2 - 1);
  }
}

/** Charts of streams, one strip a metric, all on the timeline's axis. */
export class Charts {
  constructor(root, axis, onSeek) {
    Object.assign(this, { root, axis, onSeek, series: [], time: null, strips: [] });
  }

  #latest = new Latest();

  async load(path, session, lanes, nameOf) {
    const margin = this.axis.span * 0.25;
    const span = { from: Math.max(0, this.axis.from - margin), to: this.axis.to + margin };
    const parameters = { ...span, session, lanes: lanes.join(',') };
    const told = await this.#latest.run((signal) => ask(`${path}/series`, parameters, signal));
    if (!told) return;
    this.series = told.series;
    this.#arrange(nameOf);
    this.draw();
  }

  #arrange(nameOf) {
    const found = new Set(this.series.map((each) => each.metric));
    const metrics = [...Object.keys(METRICS).filter((each) => found.delete(each)), ...found];
    const lanes = [...new Set(this.series.map((each) => each.lane))];
    const said = metrics.join() + lanes.join();
    if (this.said === said) {
      this.strips.forEach((strip) => (strip.series = this.series.filter((each) => each.metric === strip.metric)));
      return;
    }
    this.said = said;
    this.strips = metrics.map((metric) => {
      const words = METRICS[metric] ?? { label: metric, unit: '' };
      const canvas = h('canvas.chart', { 'aria-hidden': 'true' });
      const series = this.series.filter((each) => each.metric === metric);
      const values = h('span.chart-values');
      const row = h('div.chart-row', {}, h('div.chart-label', {}, h('span.chart-name', {}, words.label), values), canvas);
      canvas.addEventListener('pointerdown', (event) => this.onSeek(this.axis.time(event.offsetX)));
      return { metric, words, canvas, series, row, values };
    });
    this.lanes = lanes;
    this.nameOf = nameOf;
    this.root.replaceChildren(...this.strips.map((strip) => strip.row));
    this.root.hidden = !this.strips.length;
  }

  draw() {
    const colours = theme();
    for (const { canvas, series, words, values } of this.strips) {
      const { context, width, height: tall } = prepared(canvas);
      const peak = Math.max(...series.flatMap((each) => each.points.map(([, value]) => value)), 1);
      const low = words.low ?? 0;
      const high = words.high ?? peak * 1.5; // room for the scale above the line
      const y = (value) => tall - 5 - ((value - low) / (high - low)) * (tall - 12);
      context.fillStyle = colours.line;
      for (const level of [low, (low + high) / 2, high]) context.fillRect(0, Math.round(y(level)), width, 1);
      context.font = colours.font;
      context.fillStyle = colours.muted;
      context.textBaseline = 'top';
      context.textAlign = 'right';
      if (words.high === undefined) context.fillText(`at most ${written(peak, words.unit)}`, width - 6, 6);
      context.textAlign = 'left';
      const shown = [];
      series.forEach((each) => {
        const colour = colours.lines[this.lanes.indexOf(each.lane) % colours.lines.length];
        const line = words.bars ? [] : steps(each.points, this.axis, each.end_ns, each.hold_ns);
        if (words.bars) this.#bars(context, each.points, y, colour);
        context.strokeStyle = colour;
        context.lineWidth = 1.75;
        context.lineJoin = 'round';
        context.beginPath();
        line.forEach((point, n) => point && context[n && line[n - 1] ? 'lineTo' : 'moveTo'](point[0], y(point[1])));
        context.stroke();
        const value = this.time === null ? undefined : valueAt(each.points, this.time);
        shown.push([colour, value, this.nameOf(each)]);
      });
      if (this.time !== null) {
        context.fillStyle = colours.accent;
        context.fillRect(this.axis.x(this.time) - 0.75, 0, 1.5, tall);
      }
      this.#say(values, shown, words);
    }
  }

  /** A bar at each instant, with a head, so that one of 0 is seen too. */
  #bars(context, points, y, colour) {
    context.fillStyle = colour;
    for (const [time, value] of points) {
      if (time < this.axis.from || time > this.axis.to) continue;
      const x = this.axis.x(time);
      context.fillRect(x - 1, y(value), 2, y(0) - y(value));
      context.beginPath();
      context.arc(x, y(value), 3, 0, 2 * Math.PI);
      context.fill();
    }
  }

  #say(values, shown, words) {
    const said = JSON.stringify(shown);
    if (values.dataset.said === said) return;
    values.dataset.said = said;
    values.replaceChildren(
      ...shown.slice(0, 3).map(([colour, value, name]) => {
        const swatch = h('i.swatch', { 'aria-hidden': 'true' });
        swatch.style.background = colour;
        return h('span.chart-value', { title: name }, swatch, `${name} `, h('b', {}, value === undefined ? '–' : written(value, words.unit)));
      }),
    );
  }
}
