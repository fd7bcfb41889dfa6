/** What host and viewer pages share: getting a session, and the debug face. */
import { signalingUrl } from '../core/address.js';
import { Session } from '../session.js';
import { Signaling } from '../signaling.js';

const CONFIG_TIMEOUT_MS = 4_000;
/** Sizes change in bursts: tell the server of the last one. */
const VIEWS_AFTER_MS = 250;

/** Whether this browser has what every page needs. */
export const hasWebRtc = () =>
  typeof RTCPeerConnection === 'function' && typeof WebSocket === 'function';

/**
 * A session, not started yet.
 * @param {object} join data of the `join` request
 * @param {{watch: boolean}} options
 */
export function openSession(join, options) {
  let found = null;
  const url = async () => {
    found ??= await config(); // a server that is away now may be there at the next attempt
    return signalingUrl(found, location);
  };
  return new Session(new Signaling({ url, join }), options);
}

/**
 * Let go of the session when the page goes, and look after it when the network changes.
 * @param {() => Session | null} current
 */
export function watchPage(current) {
  addEventListener('pagehide', () => current()?.close());
  addEventListener('online', () => current()?.networkChanged());
  navigator.connection?.addEventListener?.('change', () => current()?.networkChanged());
  // A page that comes out of the browser's back-forward cache has lost its connections.
  addEventListener('pageshow', ({ persisted }) => persisted && location.reload());
}

/**
 * Tell the session how pictures are seen: of one that appears at once, so that it begins that way.
 * @param {{views: Map<string, import('../media/viewing.js').View>}} pictures emits `views`
 * @param {() => Session | null} current
 */
export function tellViews(pictures, current) {
  let told = new Map();
  let timer = null;
  const tell = () => {
    told = pictures.views;
    current()?.view(told);
  };
  pictures.on('views', () => {
    clearTimeout(timer);
    const appears = ([id, { seen }]) => !told.has(id) || (seen && !told.get(id).seen);
    if ([...pictures.views].some(appears)) tell();
    else timer = setTimeout(tell, VIEWS_AFTER_MS);
  });
}

/** Have a reload of the page come back to the same room. */
export function rememberRoom(room) {
  const url = new URL(location.href);
  url.searchParams.set('room', room);
  history.replaceState(null, '', url);
}

/**
 * The face for tests and curious engineers: `window.reprise`.
 * @param {() => Session | null} current
 */
export function exposeDebugFace(current) {
  window.reprise = {
    get session() {
      return current();
    },
    /** Send a request of the signaling protocol, such as `setPreferredLayers`. */
    request: (method, data) => current()?.request(method, data),
    /** W3C statistics as plain arrays: `{send: […] | null, recv: […] | null}`. */
    async stats() {
      const { send, recv } = (await current()?.stats()) ?? {};
      const plain = (report) => (report ? [...report.values()] : null);
      return { send: plain(send), recv: plain(recv) };
    },
  };
}

/** The server's settings for pages; null when it does not answer: the usual port may still do. */
async function config() {
  try {
    const response = await fetch('/config.json', { signal: AbortSignal.timeout(CONFIG_TIMEOUT_MS) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
