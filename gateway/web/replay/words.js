/** What the page calls things. */

/** In the order in which they are stacked, trouble on top. */
export const CATEGORIES = ['house', 'quality', 'media', 'connection', 'people', 'trouble'];

export const CATEGORY_WORDS = {
  people: 'People',
  connection: 'Connection',
  media: 'Media',
  quality: 'Quality',
  house: 'House',
  trouble: 'Anomaly',
};

export const ANOMALY_WORDS = {
  refused: 'Request refused',
  actor_failed: 'Actor failed',
  order_refused: 'Order refused',
  ice_lost: 'ICE lost',
  dtls_failed: 'DTLS failed',
  not_connected: 'Never connected',
  plane_lost: 'Media plane lost',
  restarted: 'Server restarted',
  silent: 'Publisher silent',
  low_score: 'Low score',
  nothing_sent: 'Nothing sent',
  frozen: 'Frozen',
  keyframe_storm: 'Keyframe storm',
  peer_lost: 'Peer lost',
};

/** `bars`: what happened at an instant, and does not last. */
export const METRICS = {
  bitrate_bps: { label: 'Bitrate', low: 0, unit: 'bps' },
  estimated_bps: { label: 'Estimated bandwidth', low: 0, unit: 'bps' },
  layer: { label: 'Spatial layer', low: -1, high: 2, unit: '' },
  keyframe_age_ms: { label: 'Began from the cache, age', low: 0, unit: 'ms', bars: true },
  keyframes_asked: { label: 'Keyframes asked for, askers', low: 0, unit: '', bars: true },
  packets_lost: { label: 'Packets lost', low: 0, unit: '' },
  round_trip_time_ms: { label: 'Round trip', low: 0, unit: 'ms' },
  score: { label: 'Score', low: 0, high: 10, unit: '/ 10' },
};

const KINDS = { transport: 'transport', producer: 'producer', consumer: 'consumer' };

/** What a lane is called, and what stands beside it. */
export function laneWords(lane) {
  const [kind, id = ''] = lane.key.split('/');
  if (kind === 'room') return { name: 'Room', note: '' };
  if (kind === 'peer') return { name: lane.name || id, note: lane.name ? id : '' };
  const about = lane.about ? `${lane.about} ` : '';
  return { name: `${about}${KINDS[kind] ?? kind}`, note: id };
}
