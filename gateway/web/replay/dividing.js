/** Reckoning how a viewer's bandwidth was divided: what was sent at each instant, stacked. Pure. */

/**
 * The values of a step line at some times.
 * @param {[number, number][]} points time and value, in order of time
 * @param {number[]} times rising
 * @param {number} [hold] how long a value holds at most
 * @returns {(number | undefined)[]} undefined before the first point, and where none holds
 */
export function sampled(points, times, hold = Infinity) {
  let n = -1;
  return times.map((time) => {
    while (n + 1 < points.length && points[n + 1][0] <= time) n += 1;
    return n >= 0 && time - points[n][0] <= hold ? points[n][1] : undefined;
  });
}

/**
 * Bands that lie upon each other: audio together at the bottom, then each video, those of the higher
 * priority below the others.
 * @param {object} division as `/division` tells it
 * @param {number[]} times rising
 * @returns {{key: string, about: string, share: object | null, layers: number[], priorities: number[],
 *   values: number[], low: number[], high: number[]}[]} a value, and where its band begins and ends, at
 *   each of `times`; layer -1 where nothing is sent, or where none is known
 */
export function bands(division, times) {
  const { shares, hold_ns: hold } = division;
  const measured = (share) =>
    sampled(share.points, times, hold).map((value, n) =>
      times[n] >= share.begin_ns && times[n] <= share.end_ns ? (value ?? 0) : 0,
    );
  const audio = shares.filter(({ about }) => about === 'audio').map(measured);
  const found = [];
  if (audio.length) {
    const values = times.map((_, n) => audio.reduce((sum, each) => sum + each[n], 0));
    found.push({ key: 'audio', about: 'audio', count: audio.length, share: null, layers: [], priorities: [], values });
  }
  const videos = shares.filter(({ about }) => about !== 'audio');
  const most = (share) => Math.max(...share.priorities.map(([, value]) => value));
  videos.sort((a, b) => most(b) - most(a) || a.begin_ns - b.begin_ns);
  for (const share of videos) {
    found.push({
      key: share.lane,
      about: share.about,
      share,
      layers: sampled(share.layers, times).map((layer) => layer ?? -1),
      priorities: sampled(share.priorities, times).map((priority) => priority ?? 1),
      values: measured(share),
    });
  }
  let low = times.map(() => 0);
  for (const band of found) {
    band.low = low;
    band.high = low = band.values.map((value, n) => band.low[n] + value);
  }
  return found;
}

/** Stretches in which a list has the same value: `[first, last, value]`, `last` with it. */
export function runs(values) {
  const found = [];
  values.forEach((value, n) => {
    const last = found.at(-1);
    if (last && last[2] === value) last[1] = n;
    else found.push([n, n, value]);
  });
  return found;
}

/**
 * What the scale must hold: all that was sent, and as much of the estimate as leaves that to be seen.
 * @param {number} sent the most that was sent at once
 * @param {number} estimated the highest estimate
 */
export const scale = (sent, estimated) => Math.max(1, sent * 1.15, Math.min(estimated * 1.1, sent * 2.5 || estimated));
