/**
 * Figures for people, from the browser's RTCStatsReports (W3C webrtc-stats). Pure.
 */

/** Rates are taken over this many samples, so that they do not flicker. */
const WINDOW = 4;

/**
 * The totals of a report that matter here.
 * @param {Iterable<object>} stats the values of an RTCStatsReport
 * @param {'send' | 'recv'} direction
 */
export function totals(stats, direction) {
  const [rtp, bytes, packets] =
    direction === 'send'
      ? ['outbound-rtp', 'bytesSent', 'packetsSent']
      : ['inbound-rtp', 'bytesReceived', 'packetsReceived'];
  const sum = { at_ms: 0, bytes: 0, packets: 0, lost: 0, frames: 0, width: 0, height: 0, fps: 0 };
  sum.roundTrip_ms = null;
  for (const stat of stats) {
    if (stat.type === rtp) {
      sum.at_ms = Math.max(sum.at_ms, stat.timestamp);
      sum.bytes += stat[bytes] ?? 0;
      sum.packets += stat[packets] ?? 0;
      if (direction === 'recv') sum.lost += stat.packetsLost ?? 0;
      if (stat.kind === 'video') takePicture(sum, stat);
    } else if (stat.type === 'remote-inbound-rtp' && direction === 'send') {
      sum.lost += stat.packetsLost ?? 0;
    } else if (stat.type === 'candidate-pair' && stat.nominated) {
      if (Number.isFinite(stat.currentRoundTripTime)) {
        sum.roundTrip_ms = stat.currentRoundTripTime * 1000;
      }
    }
  }
  return sum;
}

/** Turns a series of totals into rates. One for each direction. */
export class Meter {
  #samples = [];

  /**
   * Add a sample.
   * @returns {{bitrate_bps, loss, roundTrip_ms, width, height, fps, frames} | null} `loss` is a
   *   share from 0 to 1; null until there are two samples
   */
  add(sample) {
    const last = this.#samples.at(-1);
    // Counters that fell belong to a new connection: begin again.
    if (last && (sample.bytes < last.bytes || sample.packets < last.packets)) this.#samples = [];
    this.#samples.push(sample);
    if (this.#samples.length > WINDOW) this.#samples.shift();
    const first = this.#samples[0];
    const elapsed_ms = sample.at_ms - first.at_ms;
    if (elapsed_ms <= 0) return null;
    const packets = sample.packets - first.packets;
    const lost = Math.max(0, sample.lost - first.lost);
    const { width, height, fps, roundTrip_ms } = sample;
    return {
      bitrate_bps: ((sample.bytes - first.bytes) * 8000) / elapsed_ms,
      loss: packets + lost > 0 ? Math.min(1, lost / (packets + lost)) : 0,
      frames: sample.frames - first.frames,
      roundTrip_ms,
      width,
      height,
      fps,
    };
  }
}

/** Of several pictures (simulcast layers, screen and camera) the largest is shown. */
function takePicture(sum, stat) {
  sum.frames += stat.framesDecoded ?? stat.framesEncoded ?? 0;
  const [width, height] = [stat.frameWidth ?? 0, stat.frameHeight ?? 0];
  if (width * height < sum.width * sum.height || !stat.framesPerSecond) return;
  Object.assign(sum, { width, height, fps: Math.round(stat.framesPerSecond) });
}
