/**
 * Camera, microphone and screen: getting their tracks, and how each is sent.
 *
 * Errors are `CaptureError`s whose code is a key of `words.errors`.
 */

/**
 * How video is to be sent.
 * @typedef {object} Wish
 * @property {string} codec `vp8`, `vp9`, `h264` or `av1`
 * @property {string} [scalability] mode of the camera's one stream; simulcast without it
 */

/** Why there is no camera, microphone or screen. */
export class CaptureError extends Error {
  /** @param {string} code `insecure`, `denied`, `no_camera`, `busy`, `cancelled` or `capture_failed` */
  constructor(code, cause) {
    super(code, { cause });
    this.name = 'CaptureError';
    this.code = code;
  }
}

const CODES = {
  NotAllowedError: 'denied',
  SecurityError: 'denied',
  NotFoundError: 'no_camera',
  DevicesNotFoundError: 'no_camera',
  OverconstrainedError: 'no_camera',
  NotReadableError: 'busy',
  TrackStartError: 'busy',
  AbortError: 'busy',
};

/** Three layers of a 1280x720 camera: 320x180, 640x360 and 1280x720. */
const CAMERA_ENCODINGS = [
  { scaleResolutionDownBy: 4, maxBitrate: 160_000, scalabilityMode: 'L1T3' },
  { scaleResolutionDownBy: 2, maxBitrate: 600_000, scalabilityMode: 'L1T3' },
  { scaleResolutionDownBy: 1, maxBitrate: 2_200_000, scalabilityMode: 'L1T3' },
];

/** What one stream takes whose layers lie inside of it. */
const LAYERED_BPS_MAX = 2_500_000;

/** One layer: text on a screen must stay sharp, and changes seldom. */
const SCREEN_ENCODINGS = [{ maxBitrate: 3_000_000, maxFramerate: 15 }];

const VIDEO = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30, max: 30 },
};
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/**
 * Open camera and microphone; the camera alone where there is no microphone.
 * @returns {Promise<{camera: MediaStreamTrack, microphone: MediaStreamTrack | null}>}
 */
export async function captureCamera() {
  let stream;
  try {
    stream = await userMedia({ video: VIDEO, audio: AUDIO });
  } catch (error) {
    if (error.code !== 'no_camera') throw error;
    stream = await userMedia({ video: VIDEO });
  }
  const [camera] = stream.getVideoTracks();
  const [microphone = null] = stream.getAudioTracks();
  return { camera, microphone };
}

/** Open the camera alone, to switch it on again. */
export async function captureCameraAgain() {
  return (await userMedia({ video: VIDEO })).getVideoTracks()[0];
}

/**
 * Ask for a screen, window or tab, with its sound where the browser offers it.
 * @returns {Promise<{screen: MediaStreamTrack, screenAudio: MediaStreamTrack | null}>}
 */
export async function captureScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: 15, max: 30 } },
      audio: true,
    });
    const [screen] = stream.getVideoTracks();
    const [screenAudio = null] = stream.getAudioTracks();
    screen.contentHint = 'detail';
    return { screen, screenAudio };
  } catch (error) {
    throw new CaptureError(error.name === 'NotAllowedError' ? 'cancelled' : 'capture_failed', error);
  }
}

/** Whether this browser can share a screen (phones can't). */
export const canShareScreen = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/**
 * The codec that a page's `?codec=` names, out of what browser and router share.
 * @param {Array<{mimeType: string}>} codecs of the device's sendRtpCapabilities
 * @param {string} name `vp8`, `vp9`, `h264` or `av1`
 * @returns {object | undefined} undefined when it is not there: the first common one is used
 */
export function chooseCodec(codecs, name) {
  const mimeType = `video/${name}`.toLowerCase();
  return codecs.find((codec) => codec.mimeType.toLowerCase() === mimeType);
}

/** How the camera is sent: simulcast, or one stream if a scalability mode is wanted. */
const cameraEncodings = (scalabilityMode) =>
  scalabilityMode ? [{ maxBitrate: LAYERED_BPS_MAX, scalabilityMode }] : CAMERA_ENCODINGS;

/**
 * mediasoup-client's options for producing a source.
 * @param {string} source
 * @param {Wish} wish
 */
export const sendingOptions = (source, { codec, scalability }) => (device) => {
  if (source === 'microphone') return { codecOptions: { opusFec: true, opusDtx: false } };
  if (source === 'screenAudio') return { codecOptions: { opusStereo: true, opusFec: true } };
  const encodings = source === 'camera' ? cameraEncodings(scalability) : SCREEN_ENCODINGS;
  return {
    codec: chooseCodec(device.sendRtpCapabilities.codecs, codec),
    codecOptions: { videoGoogleStartBitrate: 1000 },
    encodings: encodings.map((encoding) => ({ ...encoding })),
  };
};

async function userMedia(constraints) {
  if (!navigator.mediaDevices?.getUserMedia) throw new CaptureError('insecure');
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    throw new CaptureError(CODES[error.name] ?? 'capture_failed', error);
  }
}
