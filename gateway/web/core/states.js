/**
 * What a page is in, out of what it knows. Pure: facts in, `{state, words}` out.
 *
 * `state` is the machine-readable one (`data-state` of the document): idle, starting,
 * live, paused, reconnecting, waiting, ended or error. `words` is a key of `words.js`.
 */

/** Reasons after which the server carries on by itself, so nothing has ended. */
const RECOVERING = /plane|restart|shut|server/;

/** The stream stopped with its transport: the host had gone, or lost its connection for a moment. */
const TRANSPORT_CLOSED = 'transport_closed';

/** Whether the stream that stopped is about to go on. */
function comesBack({ stopReason, publisherPresent }) {
  if (stopReason === TRANSPORT_CLOSED) return publisherPresent;
  return RECOVERING.test(stopReason ?? '');
}

/** So many failed attempts in a row mean more than a short break. */
const ATTEMPTS_SHORT = 4;

/**
 * @param {object} facts
 * @param {string | null} facts.error code of an error that stops the page
 * @param {boolean} facts.joined the server answers now
 * @param {boolean} facts.everJoined it did once
 * @param {number} facts.attempts to connect that failed in a row
 * @param {string} facts.mediaState connectionState of the transport, or `none`
 * @param {boolean} facts.streaming the server says that the host is live
 * @param {string | null} facts.stopReason why the stream stopped last
 * @param {boolean} facts.publisherPresent who published the stream is still in the room
 * @param {boolean} facts.playing pictures or sound have come since the stream's start
 * @param {boolean} facts.streamSeen this stream has played here before
 * @param {boolean} facts.everLive any stream has
 * @param {boolean} facts.unplayable a producer uses a codec that this browser lacks
 * @param {Array<{kind: string, paused: boolean}>} facts.producers of others
 */
export function viewerState(facts) {
  if (facts.error) return { state: 'error', words: facts.error };
  if (!facts.joined) return unconnected(facts);
  const under = facts.streamSeen ? 'reconnecting' : 'starting';
  if (facts.producers.length === 0) return withoutStream(facts, under);
  if (facts.producers.every(({ paused }) => paused)) return { state: 'paused', words: 'paused' };
  const videos = facts.producers.filter(({ kind }) => kind === 'video');
  if (videos.length > 0 && videos.every(({ paused }) => paused)) {
    return { state: 'paused', words: 'cameraOff' };
  }
  if (['disconnected', 'failed'].includes(facts.mediaState)) {
    return { state: 'reconnecting', words: 'reconnecting' };
  }
  if (facts.playing) return { state: 'live', words: videos.length ? 'live' : 'audioOnly' };
  if (facts.unplayable) return { state: 'error', words: 'unplayable' };
  return { state: under, words: under };
}

function unconnected(facts) {
  const { everJoined, everLive, stopReason, attempts } = facts;
  if (!everJoined) {
    return attempts > 0
      ? { state: 'error', words: 'unreachable' }
      : { state: 'starting', words: 'starting' };
  }
  if (stopReason && !comesBack(facts) && everLive) {
    return { state: 'ended', words: 'ended' };
  }
  const words = attempts >= ATTEMPTS_SHORT ? 'unreachable' : 'reconnecting';
  return { state: 'reconnecting', words };
}

function withoutStream(facts, under) {
  const { streaming, stopReason } = facts;
  if (streaming) return { state: under, words: under };
  if (comesBack(facts)) return { state: 'reconnecting', words: 'reconnecting' };
  if (stopReason) return { state: 'ended', words: 'ended' };
  return { state: 'waiting', words: 'waiting' };
}

/**
 * @param {object} facts
 * @param {'idle' | 'capturing' | 'on' | 'ended'} facts.phase what the host has asked for
 * @param {string | null} facts.error
 * @param {boolean} facts.joined
 * @param {number} facts.attempts to connect that failed in a row
 * @param {boolean} facts.published everything wanted is on the server
 * @param {boolean} facts.everLive in this run
 * @param {string} facts.mediaState
 * @param {boolean} facts.muted
 * @param {boolean} facts.cameraOff
 */
export function hostState(facts) {
  if (facts.error) return { state: 'error', words: facts.error };
  if (facts.phase === 'idle' || facts.phase === 'ended') {
    return { state: facts.phase, words: facts.phase };
  }
  if (facts.phase === 'capturing') return { state: 'starting', words: 'starting' };
  if (facts.joined && facts.published && facts.mediaState === 'connected') {
    if (facts.muted && facts.cameraOff) return { state: 'live', words: 'dark' };
    if (facts.cameraOff) return { state: 'live', words: 'cameraOff' };
    return { state: 'live', words: facts.muted ? 'muted' : 'live' };
  }
  const unreachable = facts.attempts >= (facts.everLive ? ATTEMPTS_SHORT : 1);
  if (facts.everLive) {
    return { state: 'reconnecting', words: unreachable ? 'unreachable' : 'reconnecting' };
  }
  return unreachable
    ? { state: 'error', words: 'unreachable' }
    : { state: 'starting', words: 'connecting' };
}

/** Whether the server means to carry on after closing a room for this reason. */
export const isRecovering = (reason) => RECOVERING.test(reason ?? '');
