/**
 * Asking the server. The operator's token comes in the page's fragment (`#token=…`), is kept for
 * the tab and taken out of the address, so that links never carry it.
 */

const KEPT = 'reprise-operator-token';
const TIMEOUT_MS = 60_000;

export class ApiError extends Error {
  constructor(status, { code = 'unreachable', message = 'The server does not answer.', position } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.position = position;
  }
}

/** Take a token out of the address; give the rest of the fragment. */
export function takeToken(hash) {
  const parts = hash.replace(/^#/, '').split('&');
  const found = parts.find((part) => part.startsWith('token='));
  if (!found) return hash;
  keepToken(decodeURIComponent(found.slice('token='.length)));
  const rest = parts.filter((part) => part !== found).join('&');
  return rest ? `#${rest}` : '';
}

export function keepToken(token) {
  sessionStorage.setItem(KEPT, token);
}

/**
 * @param {string} path below /api/replay
 * @param {object} [parameters] of the query; undefined ones are left out
 * @param {AbortSignal} [signal]
 */
export async function ask(path, parameters = {}, signal) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) query.set(name, typeof value === 'number' ? String(Math.round(value)) : value);
  }
  const token = sessionStorage.getItem(KEPT);
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  let tree;
  try {
    response = await fetch(`/api/replay${path}?${query}`, {
      headers: token ? { authorization: `Bearer ${token}` } : {},
      signal: signal ? (AbortSignal.any?.([signal, limit]) ?? signal) : limit,
    });
    tree = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0);
  }
  if (!response.ok) throw new ApiError(response.status, tree.error);
  return tree;
}

/** A file below /api/replay, as a blob. */
export async function fetchFile(path) {
  const token = sessionStorage.getItem(KEPT);
  let response;
  try {
    response = await fetch(`/api/replay${path}`, {
      headers: token ? { authorization: `Bearer ${token}` } : {},
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.ok) return await response.blob();
  } catch {
    throw new ApiError(0);
  }
  throw new ApiError(response.status, (await response.json().catch(() => ({}))).error);
}

/** Only the latest of several questions counts; those before are dropped. */
export class Latest {
  #controller = null;

  async run(work) {
    this.#controller?.abort();
    const controller = (this.#controller = new AbortController());
    try {
      const found = await work(controller.signal);
      return controller.signal.aborted ? undefined : found;
    } catch (error) {
      if (controller.signal.aborted) return undefined;
      throw error;
    }
  }
}
