/**
 * Layers inside of one stream (SVC): the address setting `scalability`, and what browsers make of it.
 */

/** Modes whose spatial layers build upon each other (W3C webrtc-svc, 7), at most three of each sort. */
const MODE = /^L(1T[1-3]|[23]T[1-3](h|_KEY|_KEY_SHIFT)?)$/;

/** Whether `text` names a mode that a page may be asked for, such as `L3T3_KEY`. */
export const isScalabilityMode = (text) => MODE.test(text);

/** How many spatial layers a mode has; 1 without one. */
export const spatialLayers = (mode) => Number(/^L([123])T/.exec(mode ?? '')?.[1] ?? 1);

/**
 * What is left of a mode without its upper spatial layers.
 * @param {string} mode such as `L3T3_KEY`
 * @param {number} count how many are left out: 1 or more, fewer than there are
 * @returns {{mode: string, scale: number}} how much smaller the picture is then
 */
export function withoutUpper(mode, count) {
  const [, temporal, kind] = /^L[123]T([123])(.*)$/.exec(mode);
  const layers = spatialLayers(mode) - count;
  // The letter is for layers that are larger by a half each (W3C webrtc-svc, 7).
  const scale = (kind.startsWith('h') ? 1.5 : 2) ** count;
  return { mode: `L${layers}T${temporal}${layers > 1 ? kind : ''}`, scale };
}

/**
 * Whether this browser sends a codec in that mode. One that knows no modes would send without layers,
 * and say nothing.
 * @param {string} codec `vp8`, `vp9`, `h264` or `av1`
 * @param {string} mode see `isScalabilityMode`
 * @returns {Promise<boolean>}
 */
export async function canSendLayers(codec, mode) {
  return takesMode(mode) && (await encodes(codec, mode));
}

/** Some codec of the browser takes the mode, and the browser remembers it. */
function takesMode(mode) {
  const connection = new RTCPeerConnection();
  try {
    const sendEncodings = [{ scalabilityMode: mode }];
    const { sender } = connection.addTransceiver('video', { direction: 'sendonly', sendEncodings });
    return sender.getParameters().encodings[0]?.scalabilityMode === mode;
  } catch {
    return false; // NotSupportedError or OperationError, as its age has it
  } finally {
    connection.close();
  }
}

async function encodes(codec, scalabilityMode) {
  const video = { width: 1280, height: 720, framerate: 30, bitrate: 2_500_000, scalabilityMode };
  const contentType = `video/${codec.toUpperCase()}`;
  try {
    const { supported } = await navigator.mediaCapabilities.encodingInfo({
      type: 'webrtc',
      video: { ...video, contentType },
    });
    return supported;
  } catch {
    return false; // no such codec
  }
}
