/**
 * What of a track a browser sends: layers that nobody takes rest, and come back as they were.
 *
 * Simulcast encodings are switched off. Layers inside of one stream (SVC) have no switch: the stream is sent in
 * a mode of fewer layers, and as much smaller as those above would have made it larger. So what is left keeps
 * its size. Fewer bits alone would not do: browsers then make the picture smaller, and its lower layers too.
 */
import { spatialLayers, withoutUpper } from './scalability.js';

/** Of the bits of a stream, what is left to it without its highest layer: as from one simulcast encoding to the next. */
const BITRATE_SHARE = 0.26;

/** Which layers of one `RTCRtpSender` are sent. One change at a time. */
export class Layers {
  #sender;
  /** What the only stream has when no layer rests; null while none does. */
  #whole = null;

  /** @param {RTCRtpSender | undefined} sender */
  constructor(sender) {
    this.#sender = sender;
  }

  /** Whether nothing is sent at all. */
  get rest() {
    const encodings = this.#sender?.getParameters().encodings ?? [];
    return !encodings.some(({ active }) => active ?? true);
  }

  /**
   * Send layers up to this one, and none above; null: nothing.
   * @param {number | null} highest an encoding, or of the only one a spatial layer inside of it
   * @throws {DOMException} the browser cannot; what was sent is sent on
   */
  async send(highest) {
    const parameters = this.#sender?.getParameters();
    if (!parameters?.encodings?.length) return;
    const before = JSON.stringify(parameters.encodings);
    const [only, ...others] = parameters.encodings;
    parameters.encodings.forEach((encoding, layer) => {
      const active = highest !== null && (others.length === 0 || layer <= highest);
      if ((encoding.active ?? true) !== active) encoding.active = active;
    });
    let whole = this.#whole;
    if (others.length === 0 && highest !== null) whole = this.#thin(only, highest);
    if (JSON.stringify(parameters.encodings) !== before) {
      await this.#sender.setParameters(parameters);
    }
    this.#whole = whole;
  }

  /** Leave the layers above one out of a stream, or none; returns what it has with all of them. */
  #thin(encoding, highest) {
    const { scalabilityMode, scaleResolutionDownBy, maxBitrate } = this.#whole ?? encoding;
    const resting = spatialLayers(scalabilityMode) - 1 - highest;
    if (resting <= 0) {
      if (this.#whole) Object.assign(encoding, this.#whole);
      return null;
    }
    const { mode, scale } = withoutUpper(scalabilityMode, resting);
    encoding.scalabilityMode = mode;
    encoding.scaleResolutionDownBy = (scaleResolutionDownBy ?? 1) * scale;
    if (maxBitrate) encoding.maxBitrate = Math.round(maxBitrate * BITRATE_SHARE ** resting);
    const whole = { scalabilityMode, scaleResolutionDownBy: scaleResolutionDownBy ?? 1 };
    return maxBitrate ? { ...whole, maxBitrate } : whole;
  }
}
