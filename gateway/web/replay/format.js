/** How times, durations and values are written. Pure. */
import { MS, S } from './axis.js';

const two = (n) => String(n).padStart(2, '0');

/** A time since the session's beginning, as exact as `step` (a distance of ticks) needs. */
export function sinceBegin(ns, step = MS) {
  const sign = ns < 0 ? '−' : '';
  const total = Math.abs(ns);
  const digits = step >= S ? 0 : step >= MS ? 3 : 6;
  const scale = 10 ** digits;
  let units = Math.round((total / S) * scale);
  const fraction = units % scale;
  units = (units - fraction) / scale;
  const hours = Math.floor(units / 3600);
  const clock = `${two(Math.floor(units / 60) % 60)}:${two(units % 60)}`;
  const head = hours ? `${hours}:${clock}` : clock;
  const tail = digits ? `.${String(fraction).padStart(digits, '0')}` : '';
  return `${sign}${head}${tail}`;
}

/** A length of time in words that are short: `1 h 4 min`, `12.5 s`, `3.2 ms`. */
export function duration(ns) {
  const s = ns / S;
  if (s >= 86400) return `${Math.floor(s / 86400)} d ${Math.round((s % 86400) / 3600)} h`;
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  if (s >= 60) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s >= 1) return `${trim(s, 1)} s`;
  if (ns >= MS) return `${trim(ns / MS, 1)} ms`;
  return `${Math.round(ns / 1e3)} µs`;
}

/** A time of day in UTC, to the microsecond, as `reprise replay` prints it. */
export function timeOfDay(ns) {
  const micros = Math.round(ns / 1e3);
  const date = new Date(Math.floor(micros / 1e3));
  return `${date.toISOString().slice(11, 23)}${String(micros % 1000).padStart(3, '0')}Z`;
}

/** A day in UTC: `2026-03-01`. */
export const day = (ns) => new Date(ns / MS).toISOString().slice(0, 10);

/** `1,234,567` */
export const count = (n) => n.toLocaleString('en');

/** A value of the state in one line. */
export function plain(value) {
  if (value === null || value === undefined) return '–';
  if (typeof value === 'string') return value === '' ? '""' : value;
  if (typeof value !== 'object') return String(value);
  if ('…' in value && Object.keys(value).length === 1) return `${value['…']} entries`;
  return JSON.stringify(value);
}

/** A measured value with its unit. */
export function written(value, unit) {
  if (unit !== 'bps') return unit ? `${trim(value, 1)} ${unit}` : trim(value, 1);
  if (value >= 1e6) return `${trim(value / 1e6, 2)} Mbit/s`;
  return `${trim(value / 1e3, 0)} kbit/s`;
}

/** A share as per cent: `0.4 %`. */
export const share = (value) => `${trim(value * 100, value < 0.1 ? 2 : 1)} %`;

/** An id shortened to what tells it from others: `p_cnxh…`. */
export const shortId = (id) => (id.length > 9 ? `${id.slice(0, 7)}…` : id);

const trim = (value, digits) => String(Number(value.toFixed(digits)));
