/**
 * How pictures are seen, and which of them is worth sending. Pure.
 *
 * @typedef {object} View
 * @property {boolean} seen whether any of it is on the screen
 * @property {number} height_px of the screen's own pixels; a picture that stands upright is as wide
 * @property {number} [priority] among all that is seen, 1 to 255: higher ones get bandwidth first
 */

/** Heights of the layers of a 1280x720 camera, from the lowest. */
const LAYER_HEIGHTS_PX = [180, 360, 720];

/** A layer may be stretched by this much before the next one is worth its bytes. */
const STRETCH = 1.2;

/** Screens with more pixels than this to a CSS pixel show what eyes do not see. */
const DENSITY_MAX = 2;

/**
 * How high a picture comes out in its box, in the screen's own pixels; how wide if it is upright,
 * for that is what the layers of its camera go by.
 * @param {{width: number, height: number}} box in CSS pixels
 * @param {{width: number, height: number}} picture as it came; zeros: not yet known
 * @param {{covers: boolean, density: number}} how `covers`: it fills the box and is cut, else it is
 *   whole inside of it; `density`: pixels of the screen to a CSS pixel
 */
export function shownHeight(box, picture, { covers, density }) {
  const { width, height } = picture.width && picture.height ? picture : { width: 16, height: 9 };
  const scales = [box.width / width, box.height / height];
  const scale = covers ? Math.max(...scales) : Math.min(...scales);
  return Math.round(Math.min(width, height) * scale * Math.min(density, DENSITY_MAX));
}

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

/** Of the height, for the others beneath a large picture; more if it cannot use the rest. */
const OTHERS_SHARE = 0.22;
/** Smaller than this nobody is recognised: then one scrolls. */
const OTHER_PX_MIN = 96;

/**
 * One 16:9 picture large, and so many others in rows beneath it.
 * @returns {{main_px: number, width_px: number}} widths of the large one and of each other one
 */
export function arrangeAround(others, width_px, height_px, gap_px) {
  const seat = (room_px) =>
    Math.max(OTHER_PX_MIN, arrange(others, width_px, room_px, gap_px).width_px);
  const room_px = height_px * OTHERS_SHARE;
  const rows_px = usedBy(others, seat(room_px), width_px, gap_px);
  const taken_px = Math.min(rows_px, Math.max(room_px, (OTHER_PX_MIN * 9) / 16)) + gap_px;
  const main_px = Math.floor(Math.max(0, Math.min(width_px, ((height_px - taken_px) * 16) / 9)));
  const left_px = height_px - (main_px * 9) / 16 - gap_px;
  return { main_px, width_px: Math.min(seat(left_px), main_px) };
}

/** How high so many pictures of this width stand. */
function usedBy(count, each_px, width_px, gap_px) {
  const columns = Math.max(1, Math.floor((width_px + gap_px) / (each_px + gap_px)));
  return Math.ceil(count / columns) * ((each_px * 9) / 16 + gap_px) - gap_px;
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
