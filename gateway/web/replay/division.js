/** The chart of how a viewer's bandwidth was divided among all that it is sent. */
import { h } from '../ui/dom.js';
import { ask, Latest } from './api.js';
import { prepared, theme } from './canvas.js';
import { bands, runs, sampled, scale } from './dividing.js';
import { shortId, written } from './format.js';

const COLUMN = 2;
/** A band's strength by its spatial layer: none, 0, 1, 2 and above. */
const STRENGTHS = [0.16, 0.36, 0.62, 0.9];
const strength = (layer) => STRENGTHS[Math.min(layer, 2) + 1];

export class Division {
  /** @param {HTMLElement} root hidden while there is nothing to show */
  constructor(root, axis, onSeek) {
    Object.assign(this, { root, axis, time: null, told: null });
    this.values = h('div.division-values');
    this.canvas = h('canvas.chart.division-chart', { 'aria-hidden': 'true' });
    this.canvas.addEventListener('pointerdown', (event) => onSeek(axis.time(event.offsetX)));
    const name = h('span.chart-name', {}, 'Bandwidth, divided');
    root.append(h('div.chart-row', {}, h('div.chart-label.division-label', {}, name, this.values), this.canvas));
  }

  #latest = new Latest();

  /** Show the transport of a lane; nothing for lanes that receive nothing. */
  async load(path, lane) {
    if (!/^(peer|transport|consumer)\//.test(lane ?? '')) {
      this.#latest.run(async () => null).catch(() => {});
      this.#take(null);
      return;
    }
    const margin = this.axis.span * 0.25;
    const span = { from: Math.max(0, this.axis.from - margin), to: this.axis.to + margin };
    const told = await this.#latest.run((signal) => ask(`${path}/division`, { ...span, lanes: lane }, signal));
    if (told) this.#take(told.division);
  }

  #take(division) {
    const seen = division?.shares.some(({ points }) => points.length) ? division : null;
    this.told = seen;
    this.root.hidden = !seen;
    this.root.dataset.lane = seen?.lane ?? '';
    this.draw();
  }

  draw() {
    if (!this.told) return;
    const { context, width, height: tall } = prepared(this.canvas);
    const colours = theme();
    const times = [];
    for (let x = 0; x <= width; x += COLUMN) times.push(this.axis.time(x));
    const stacked = bands(this.told, times);
    const estimates = sampled(this.told.estimated, times, this.#hold);
    const sent = Math.max(0, ...(stacked.at(-1)?.high ?? []));
    const most = scale(sent, Math.max(0, ...estimates.filter((value) => value !== undefined)));
    const y = (value) => tall - 4 - (Math.min(value, most) / most) * (tall - 10);
    context.fillStyle = colours.line;
    for (const level of [0, most / 2, most]) context.fillRect(0, Math.round(y(level)), width, 1);
    context.font = colours.font;
    context.textBaseline = 'middle';
    let number = 0;
    for (const band of stacked) {
      const colour = band.share ? colours.lines[number++ % colours.lines.length] : colours.muted;
      band.colour = colour;
      this.#band(context, band, y, colour, colours);
    }
    this.#estimate(context, estimates, y, colours);
    context.fillStyle = colours.muted;
    context.textAlign = 'right';
    context.textBaseline = 'top';
    context.fillText(`up to ${written(most, 'bps')}`, width - 6, 6);
    context.textAlign = 'left';
    if (this.time !== null) {
      context.fillStyle = colours.accent;
      context.fillRect(this.axis.x(this.time) - 0.75, 0, 1.5, tall);
    }
    this.#say(colours);
  }

  /** An estimate of the log holds until the next; a measured one a few seconds. */
  get #hold() {
    return this.told.estimate_from === 'telemetry' ? this.told.hold_ns : Infinity;
  }

  #band(context, { low, high, layers, share }, y, colour, colours) {
    for (const [first, last, layer] of runs(share ? layers : low.map(() => 1))) {
      const end = Math.min(last + 1, low.length - 1);
      context.beginPath();
      for (let n = first; n <= end; n += 1) context.lineTo(n * COLUMN, y(high[Math.min(n, last)]));
      for (let n = end; n >= first; n -= 1) context.lineTo(n * COLUMN, y(low[Math.min(n, last)]));
      context.globalAlpha = strength(layer);
      context.fillStyle = colour;
      context.fill();
      context.globalAlpha = 1;
      const middle = Math.round((first + end) / 2);
      const thick = y(low[Math.min(middle, last)]) - y(high[Math.min(middle, last)]);
      if (share && layer >= 0 && thick > 12 && (end - first) * COLUMN > 30) {
        context.fillStyle = layer > 1 ? colours.card : colours.ink;
        context.textAlign = 'center';
        context.fillText(`L${layer}`, middle * COLUMN, y(low[Math.min(middle, last)]) - thick / 2);
      }
    }
    context.strokeStyle = colours.card;
    context.lineWidth = 1;
    context.beginPath();
    high.forEach((value, n) => context.lineTo(n * COLUMN, y(value)));
    context.stroke();
  }

  #estimate(context, estimates, y, colours) {
    context.strokeStyle = colours.ink;
    context.lineWidth = 1.75;
    context.lineJoin = 'round';
    context.beginPath();
    estimates.forEach((value, n) => {
      if (value === undefined) return;
      context[n && estimates[n - 1] !== undefined ? 'lineTo' : 'moveTo'](n * COLUMN, y(value));
    });
    context.stroke();
  }

  /** What each had at the playhead, in words. */
  #say(colours) {
    const at = this.time === null ? null : [this.time];
    const parts = bands(this.told, at ?? []);
    const estimate = at && sampled(this.told.estimated, at, this.#hold)[0];
    const lines = [[colours.ink, 1, 'estimate', estimate ?? undefined, '']];
    let number = 0;
    for (const { share, count, layers, priorities, values } of parts) {
      const colour = share ? colours.lines[number++ % colours.lines.length] : colours.muted;
      const name = share ? share.name || shortId(share.lane.split('/')[1]) : `audio, ${count}`;
      const there = !share || (at && at[0] >= share.begin_ns && at[0] <= share.end_ns);
      const layer = layers[0] >= 0 ? `layer ${layers[0]}` : 'nothing';
      const note = share && there ? `priority ${priorities[0]}, ${layer}` : '';
      const value = there && at ? values[0] : undefined;
      lines.push([colour, share && there ? strength(layers[0]) : 0.62, name, value, note, share?.lane ?? '']);
    }
    if (this.told.more) lines.push([colours.muted, 0, `and ${this.told.more} more`, undefined, '']);
    const said = JSON.stringify(lines);
    if (this.values.dataset.said === said) return;
    this.values.dataset.said = said;
    this.values.replaceChildren(
      ...lines.map(([colour, alpha, name, value, note, lane = '']) => {
        const swatch = h('i.swatch', { 'aria-hidden': 'true' });
        swatch.style.background = colour;
        swatch.style.opacity = String(alpha);
        const figure = h('b', {}, value === undefined ? '–' : written(value, 'bps'));
        return h('span.chart-value', { title: `${name} ${lane}` }, swatch, `${name} `, figure, note && ` ${note}`);
      }),
    );
  }
}
