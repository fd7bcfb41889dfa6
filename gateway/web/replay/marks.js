/** Marks on the timeline: unpacking what the server counts, and finding what the pointer is at. Pure. */

/**
 * Stack the counts of a lane's categories bucket by bucket.
 * @param {Object<string, number[]>} density by category: bucket, count, bucket, count, …
 * @param {string[]} categories in the order in which they are stacked
 * @returns {Map<number, {total: number, parts: number[]}>} by bucket
 */
export function stacked(density, categories) {
  const found = new Map();
  categories.forEach((category, number) => {
    const counts = density[category] ?? [];
    for (let n = 0; n < counts.length; n += 2) {
      let bucket = found.get(counts[n]);
      if (!bucket) {
        bucket = { total: 0, parts: new Array(categories.length).fill(0) };
        found.set(counts[n], bucket);
      }
      bucket.parts[number] += counts[n + 1];
      bucket.total += counts[n + 1];
    }
  });
  return found;
}

/** Of a height between 0 and 1: few are seen beside many. */
export const height = (count, most) => (count ? Math.log1p(count) / Math.log1p(Math.max(most, 3)) : 0);

/**
 * The mark nearest to a place.
 * @param {{x: number, y: number}[]} marks in any order
 * @returns {object | null} null if none is within `reach` pixels
 */
export function nearest(marks, x, y, reach = 9) {
  let best = null;
  let least = reach * reach;
  for (const mark of marks) {
    const far = (mark.x - x) ** 2 + ((mark.y - y) * 1.4) ** 2;
    if (far <= least) {
      least = far;
      best = mark;
    }
  }
  return best;
}

/**
 * The points of a step line between two times: `[x, value]`, each value held to the next, but no
 * longer than `hold`; a null stands where the line breaks.
 */
export function steps(points, axis, end, hold = Infinity) {
  const line = [];
  points.forEach(([time, value], n) => {
    const next = Math.min(n + 1 < points.length ? points[n + 1][0] : end, time + hold);
    if (next < axis.from || time > axis.to) return;
    line.push([axis.x(Math.max(time, axis.from)), value], [axis.x(Math.min(next, axis.to)), value]);
    if (n + 1 < points.length && next < points[n + 1][0]) line.push(null);
  });
  return line;
}

/** The value of a step line at a time; undefined before its first point. */
export function valueAt(points, time) {
  let found;
  for (const [at, value] of points) {
    if (at > time) break;
    found = value;
  }
  return found;
}
