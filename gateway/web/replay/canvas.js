/** Canvases that are sharp on every screen, and the colours of the page for drawing. */

/**
 * Fit a canvas's pixels to its size on the page.
 * @returns {{context: CanvasRenderingContext2D, width: number, height: number}} in CSS pixels, cleared
 */
export function prepared(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = Math.min(devicePixelRatio || 1, 3);
  const [w, h] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.globalAlpha = 1;
  return { context, width, height };
}

const NAMES = ['paper', 'card', 'ink', 'muted', 'line', 'field', 'accent', 'sans', 'mono'];
const COLOURS = ['people', 'connection', 'media', 'quality', 'house', 'trouble'];
let known = null;

/** The page's colours, read once for each theme. */
export function theme() {
  if (known) return known;
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  known = Object.fromEntries(NAMES.map((name) => [name, value(name)]));
  known.of = Object.fromEntries(COLOURS.map((name) => [name, value(`c-${name}`)]));
  known.lines = [1, 2, 3, 4, 5, 6].map((n) => value(`series-${n}`));
  known.font = `500 11px ${known.sans}`;
  known.hatch = new Map();
  return known;
}

/** Call `changed` when the theme is another one. */
export function watchTheme(changed) {
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    known = null;
    changed();
  });
}

/** Diagonal stripes in a colour. */
export function hatch(context, colour) {
  const { hatch: made } = theme();
  if (!made.has(colour)) {
    const tile = document.createElement('canvas');
    tile.width = tile.height = 8;
    const draw = tile.getContext('2d');
    draw.strokeStyle = colour;
    draw.lineWidth = 1.6;
    for (const shift of [-8, 0, 8]) {
      draw.moveTo(shift, 8);
      draw.lineTo(shift + 8, 0);
    }
    draw.stroke();
    made.set(colour, context.createPattern(tile, 'repeat'));
  }
  return made.get(colour);
}
