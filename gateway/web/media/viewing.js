/**
 * How pictures are seen, and which of them is worth sending. Pure.
 *
 * @typedef {object} View
 * @property {boolean} seen whether any of it is on the screen
 * @property {number} height_px of the screen's own pixels
 * @property {number} [priority] among all that is seen, 1 to 255: higher ones get bandwidth first
 */

/** Heights of the layers of a 1280x720 camera, from the lowest. */
const LAYER_HEIGHTS_PX = [180, 360, 720];

/** A layer may be stretched by this much before the next one is worth its bytes. */
const STRETCH = 1.2;

/** The spatial layer for a picture of this height. */
export function layerFor(height_px) {
  const layer = LAYER_HEIGHTS_PX.findIndex((height) => height_px <= height * STRETCH);
  return layer < 0 ? LAYER_HEIGHTS_PX.length - 1 : layer;
}

/** What the large picture, and a shared screen, are worth beside the others. */
const PRIORITIES = { large: 3, screen: 2, other: 1 };

/** The priority of a picture. */
export function priorityFor(large, screen) {
  if (large) return PRIORITIES.large;
  return screen ? PRIORITIES.screen : PRIORITIES.other;
}

/**
 * Columns in which so many 16:9 pictures come out largest.
 * @returns {{columns: number, width_px: number}} of one picture
 */
export function arrange(count, width_px, height_px, gap_px) {
  let best = { columns: 1, width_px: 0 };
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.ceil(count / columns);
    const byWidth = (width_px - gap_px * (columns - 1)) / columns;
    const byHeight = (((height_px - gap_px * (rows - 1)) / rows) * 16) / 9;
    const size = Math.floor(Math.min(byWidth, byHeight));
    if (size > best.width_px) best = { columns, width_px: size };
  }
  return best;
}

/**
 * Who is large: whom this person pinned, else a shared screen, else who speaks, else whoever was
 * large before. Oneself is large only when pinned or alone.
 * @param {Array<{key: string, peer: string, screen: boolean, self: boolean}>} seats
 */
export function spotlight(seats, { pinned, speaker, before }) {
  const others = seats.filter(({ self }) => !self);
  return (
    seats.find(({ key }) => key === pinned) ??
    others.find(({ screen }) => screen) ??
    others.find(({ peer }) => peer === speaker) ??
    others.find(({ key }) => key === before) ??
    others[0] ??
    seats[0] ??
    null
  );
}
