/**
 * What the page's address says, and where the signaling server is. Pure.
 */

const ADJECTIVES = (
  'amber bold brave bright calm clear coral crisp early fair gentle golden grand happy keen kind ' +
  'light lively lucky mellow merry misty noble quick quiet rapid silver smooth still sunny swift warm'
).split(' ');
const NOUNS = (
  'anthem aria ballad bass bell bolero cadence canon chorale chord cello chorus coda duet echo etude ' +
  'fanfare flute fugue harp hymn lyre melody motif oboe opus rondo scale sonata tempo viola waltz'
).split(' ');

/** The server's rule for room ids. */
const ROOM = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** Whether `text` can be a room id. */
export const isRoomId = (text) => ROOM.test(text);

/** A room id that can be read out, as in `swift-cadence-482`. About a million of them. */
export function randomRoomId(random = randomBelow) {
  const pick = (words) => words[random(words.length)];
  return `${pick(ADJECTIVES)}-${pick(NOUNS)}-${100 + random(900)}`;
}

/**
 * A setting of the page's address. The fragment goes first, since it never reaches a server's log.
 * @param {{search: string, hash: string}} location
 */
export function setting({ search, hash }, name) {
  return (
    new URLSearchParams(hash.replace(/^#/, '')).get(name) ??
    new URLSearchParams(search).get(name) ??
    undefined
  );
}

/** The room of `/viewer/ROOM` or `/meet/ROOM`, or null. */
export function roomOfPath(pathname) {
  const [, encoded] = /^\/(?:viewer|meet)\/([^/]+)\/?$/.exec(pathname) ?? [];
  if (!encoded) return null;
  try {
    return decodeURIComponent(encoded);
  } catch {
    return null;
  }
}

/**
 * The room that someone typed or pasted: an id, or a whole link to watch or meet.
 * @returns {{room: string, page: 'viewer' | 'meet'} | null} null when it is neither
 */
export function roomOfText(text) {
  const trimmed = text.trim();
  const [, path, page = 'viewer'] = /(\/(viewer|meet)\/[^?#]+)/.exec(trimmed) ?? [];
  const room = path ? roomOfPath(path) : trimmed;
  return room !== null && isRoomId(room) ? { room, page } : null;
}

/** The address that someone opens to meet. */
export const meetingLink = (origin, room) => `${origin}/meet/${encodeURIComponent(room)}`;

/** The address that a viewer opens. */
export const viewerLink = (origin, room) => `${origin}/viewer/${encodeURIComponent(room)}`;

/**
 * Where to signal, from the answer of `/config.json` (or null when it could not be had).
 * @param {{protocol: string, hostname: string}} location of the page
 */
export function signalingUrl(config, { protocol, hostname }) {
  if (config?.signalingUrl) return config.signalingUrl;
  const scheme = protocol === 'https:' ? 'wss:' : 'ws:';
  return `${scheme}//${hostname}:${config?.signalingPort ?? 3001}/`;
}

function randomBelow(bound) {
  return crypto.getRandomValues(new Uint32Array(1))[0] % bound;
}
