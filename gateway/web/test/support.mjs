/** What the tests share: a signaling client and a session on a fake server, and waiting for events. */
import { Device } from 'mediasoup-client';
import * as fakeParameters from 'mediasoup-client/fakeParameters';
import { FakeHandler } from 'mediasoup-client/handlers/FakeHandler';
import { WebSocket } from 'ws';
import { Backoff } from '../core/backoff.js';
import { Session } from '../session.js';
import { Signaling } from '../signaling.js';
import { FakeServer } from './fake-server.mjs';
import { FakeSfu } from './fake-sfu.mjs';

/** A server and a client, both closed after the test. */
export async function serverAndClient(t, options = {}) {
  const server = await FakeServer.start();
  const client = clientOf(t, server, options);
  t.after(() => server.stop());
  return { server, client };
}

/** One more client. It records its notifications and events. */
export function clientOf(t, server, options = {}) {
  const client = new Signaling({
    url: server.url,
    join: { room: 'r', create: true },
    WebSocket,
    backoff: new Backoff({ first_ms: 5, max_ms: 20 }),
    ...options,
  });
  client.notifications = [];
  client.events = [];
  client.on('notification', (notification) => client.notifications.push(notification));
  for (const event of ['joined', 'resumed', 'lost', 'retry', 'refused', 'welcome']) {
    client.on(event, () => client.events.push(event));
  }
  t.after(() => client.close());
  return client;
}

/** Resolves with the first argument of the next `event`. */
export const next = (emitter, event) =>
  new Promise((resolve) => {
    const off = emitter.on(event, (value) => {
      off();
      resolve(value);
    });
  });

/** Start and wait until joined. */
export async function joined(client) {
  const answer = next(client, 'joined');
  client.start();
  return answer;
}

/** Everything sent before has arrived once this is answered. */
export const settled = (client) => client.request('getStats', {});

/** A session on a fake SFU; its transports' connection states are set by hand. */
export async function sessionOn(t, { watch }) {
  t.mock.method(console, 'warn', () => {});
  const sfu = await FakeSfu.start();
  t.after(() => sfu.stop());
  const handlers = [];
  const settings = [];
  const { factory, ...rest } = FakeHandler.createFactory(fakeParameters);
  const keep = (options) => {
    const handler = factory(options);
    handlers.push(handler);
    settings.push(options.additionalSettings);
    return handler;
  };
  const createDevice = () => Device.factory({ handlerFactory: { ...rest, factory: keep } });
  const signaling = clientOf(t, sfu);
  const session = new Session(signaling, { watch, createDevice });
  t.after(() => session.close());
  const problems = [];
  session.on('problem', (code) => problems.push(code));
  return { sfu, session, signaling, handlers, settings, problems };
}

/** Hold the answers of a method back, or those to some of its requests; `release` gives them. */
export function hold(server, method, isHeld = () => true) {
  const handler = server.handlers.get(method);
  let release;
  const released = new Promise((resolve) => (release = resolve));
  server.handlers.set(method, async (data) => {
    if (isHeld(data)) await released;
    return handler ? handler(data) : server.room('session-held');
  });
  return release;
}

/** Wait for changes until `condition` holds. */
export async function until(session, condition) {
  while (!condition()) await next(session, 'change');
}

/** Producers whose packets come. */
export const playing = (sfu) =>
  [...sfu.consumers.values()].filter(({ paused }) => !paused).map(({ producer }) => producer);
