/** Painting the rows of the timeline: lives, odd stretches, densities, marks, arrows, playhead. */
import { hatch, theme } from './canvas.js';
import { height } from './marks.js';
import { CATEGORIES } from './words.js';

export const ROW = 30;
const BAR = 18;
const MARK = 3.6;
const GRAVE = new Set(['silent', 'ice lost', 'away', 'frozen']);
const KIND_COLOUR = { peer: 'people', transport: 'connection', producer: 'media', consumer: 'media', room: 'house' };

/** Vertical lines of the axis behind everything. */
export function paintGrid(context, axis, ticks, h) {
  const { line } = theme();
  context.fillStyle = line;
  context.globalAlpha = 0.6;
  for (const time of ticks) context.fillRect(Math.round(axis.x(time)), 0, 1, h);
  context.globalAlpha = 1;
}

/** The life of a lane as a bar, and its odd stretches. */
export function paintLife(context, axis, lane, y, live) {
  const colours = theme();
  const left = Math.max(axis.x(lane.begin_ns), -20);
  const right = Math.min(axis.x(lane.end_ns), axis.width + 20);
  if (right < -10 || left > axis.width + 10) return;
  const top = y + (ROW - BAR) / 2;
  const w = Math.max(right - left, 2);
  const colour = colours.of[KIND_COLOUR[lane.kind]];
  context.globalAlpha = lane.kind === 'room' ? 0.1 : 0.14;
  context.fillStyle = colour;
  context.beginPath();
  const open = lane.end === null && live;
  context.roundRect(left, top, w, BAR, open ? [5, 0, 0, 5] : 5);
  context.fill();
  context.globalAlpha = 0.55;
  context.fillRect(left, top + 2, 2, BAR - 4);
  if (!open) context.fillRect(left + w - 2, top + 2, 2, BAR - 4);
  for (const [word, from, to] of lane.spans) {
    const [a, b] = [Math.max(axis.x(from), 0), Math.min(axis.x(to), axis.width)];
    if (b <= a) continue;
    context.globalAlpha = GRAVE.has(word) ? 0.75 : 0.4;
    context.fillStyle = hatch(context, GRAVE.has(word) ? colours.accent : colours.muted);
    context.fillRect(a, top, Math.max(b - a, 2), BAR);
  }
  context.globalAlpha = 1;
}

/**
 * Counts by bucket as bars from the row's foot.
 * @param {{from: number, to: number, buckets: number, most: number}} scale what the buckets span
 */
export function paintDensity(context, axis, buckets, scale, y, room = ROW - 6) {
  const colours = theme();
  const step = (scale.to - scale.from) / scale.buckets;
  const w = Math.max((step / axis.span) * axis.width - 0.7, 1);
  const foot = y + ROW - 3;
  for (const [bucket, { total, parts }] of buckets) {
    const x = axis.x(scale.from + bucket * step);
    if (x < -w || x > axis.width) continue;
    const tall = Math.max(height(total, scale.most) * room, 2);
    let at = foot;
    parts.forEach((part, n) => {
      if (!part) return;
      let share = (part / total) * tall;
      if (CATEGORIES[n] === 'trouble') share = Math.max(share, 4);
      context.fillStyle = colours.of[CATEGORIES[n]];
      context.fillRect(x, at - share, w, share);
      at -= share;
    });
  }
}

/** One event: filled if decided, hollow if it is a message; anomalies stand out. */
export function paintMark(context, x, y, { category, kind }, scale = 1) {
  const colours = theme();
  const colour = colours.of[category];
  const r = MARK * scale;
  context.beginPath();
  if (category === 'trouble') {
    context.moveTo(x, y - r * 1.5);
    context.lineTo(x + r * 1.45, y + r * 1.1);
    context.lineTo(x - r * 1.45, y + r * 1.1);
    context.closePath();
  } else {
    context.arc(x, y, r, 0, Math.PI * 2);
  }
  if (kind === 'event' || category === 'trouble') {
    context.fillStyle = colour;
    context.fill();
    context.strokeStyle = colours.paper;
    context.lineWidth = 1;
  } else {
    context.fillStyle = colours.paper;
    context.fill();
    context.strokeStyle = colour;
    context.lineWidth = 1.6;
  }
  context.stroke();
}

/** An arrow from a cause to its effect; bent, so that neighbours stay apart. */
export function paintArrow(context, from, to, colour) {
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  if (Math.abs(dx) < 16 && Math.abs(dy) < 3) return;
  const bend = Math.abs(dx) < 30 ? 12 + Math.abs(dy) * 0.14 : 0; // longer ones swing wider
  const middle = { x: (from.x + to.x) / 2 + bend, y: dy === 0 ? from.y - 18 : (from.y + to.y) / 2 };
  context.strokeStyle = context.fillStyle = colour;
  context.lineWidth = 1.3;
  context.globalAlpha = 0.7;
  context.beginPath();
  context.moveTo(from.x, from.y);
  if (bend) context.quadraticCurveTo(middle.x, middle.y, to.x + 5, to.y);
  else context.bezierCurveTo(from.x + dx / 2, from.y, to.x - dx / 2, to.y, to.x - 5, to.y);
  context.stroke();
  const angle = bend ? Math.atan2(to.y - middle.y, to.x + 5 - middle.x) : 0;
  context.save();
  context.translate(to.x + (bend ? 5 : -5), to.y);
  context.rotate(angle);
  context.beginPath();
  context.moveTo(0, 0);
  context.lineTo(-6, -3);
  context.lineTo(-6, 3);
  context.fill();
  context.restore();
  context.globalAlpha = 1;
}

/** Where one is in time. */
export function paintPlayhead(context, x, h) {
  context.fillStyle = theme().accent;
  context.fillRect(Math.round(x) - 0.75, 0, 1.5, h);
}
