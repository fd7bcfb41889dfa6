/** What a session does to have its first picture soon, and what becomes of it when joining fails. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askingOnce } from '../media/device.js';
import { Refusal } from './fake-server.mjs';
import { clientOf, hold, next, playing, serverAndClient, sessionOn, settled, until } from './support.mjs';

const methods = (sfu) => sfu.requests.map(({ method }) => method);

test('a transport is asked for along with joining, and is the one that is used', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  sfu.hostPublishes('video', 'camera');
  const release = hold(sfu, 'join');
  const came = sfu.nextArrival('createTransport');
  session.start();
  await came; // although nobody answered
  assert.equal(session.joined, false);
  release();
  await until(session, () => playing(sfu).length === 1);
  assert.deepEqual(methods(sfu).slice(0, 3), ['join', 'createTransport', 'consume']);
  assert.equal(sfu.count('createTransport'), 1);
});

test('who waits for a stream has its transport already when one begins', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  const created = sfu.nextRequest('createTransport');
  session.start();
  await created;
  const camera = sfu.hostPublishes('video', 'camera');
  await until(session, () => playing(sfu).includes(camera));
  assert.equal(sfu.count('createTransport'), 1);
});

test('a transport that was gone before it was used is replaced', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  const created = sfu.nextRequest('createTransport');
  session.start();
  await created;
  const [gone] = sfu.transports;
  sfu.transports.delete(gone);
  const camera = sfu.hostPublishes('video', 'camera');
  await until(session, () => playing(sfu).includes(camera));
  assert.deepEqual([sfu.count('createTransport'), sfu.transports.has(gone)], [2, false]);
});

test('a transport that is refused along with joining is asked for again when it is needed', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  const create = sfu.handlers.get('createTransport');
  sfu.handlers.set('createTransport', () => {
    sfu.handlers.set('createTransport', create);
    throw new Refusal('overloaded');
  });
  const camera = sfu.hostPublishes('video', 'camera');
  session.start();
  await until(session, () => playing(sfu).includes(camera));
  assert.equal(sfu.count('createTransport'), 2);
  assert.equal(console.warn.mock.callCount(), 0);
});

test('a refused join takes with it what was asked along with it, and no word is lost on that', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  const join = () => {
    throw new Refusal('room_not_found');
  };
  sfu.handlers.set('join', join);
  const refused = next(session, 'refused');
  session.start();
  assert.equal((await refused).code, 'room_not_found');
  assert.equal(sfu.transports.size, 0);
  sfu.handlers.delete('join');
  const camera = sfu.hostPublishes('video', 'camera');
  session.start();
  await until(session, () => playing(sfu).includes(camera));
  assert.equal(sfu.transports.size, 1);
  assert.equal(console.warn.mock.callCount(), 0);
});

test('who does not watch asks for no transport to watch with', async (t) => {
  const { sfu, session, signaling } = await sessionOn(t, { watch: false });
  session.start();
  await until(session, () => session.joined);
  await settled(signaling);
  assert.equal(sfu.count('createTransport'), 0);
});

test('a session that is resumed asks for no other transport', async (t) => {
  const { sfu, session, signaling } = await sessionOn(t, { watch: true });
  const camera = sfu.hostPublishes('video', 'camera');
  session.start();
  await until(session, () => playing(sfu).includes(camera));
  const resumed = next(signaling, 'resumed');
  sfu.cut();
  await resumed;
  await settled(signaling);
  assert.equal(sfu.count('createTransport'), 1);
});

test('the connection begins without waiting for what the server says of it', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  sfu.silent.add('connectTransport');
  const camera = sfu.hostPublishes('video', 'camera');
  const asked = sfu.nextRequest('connectTransport');
  session.start();
  await asked;
  await until(session, () => session.consumers.has(camera));
  assert.ok(playing(sfu).includes(camera));
});

test('a track can be shown before its server says that it sends, sound and picture at once', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  sfu.silent.add('resumeConsumer');
  const ids = [sfu.hostPublishes('video', 'camera'), sfu.hostPublishes('audio', 'microphone')];
  const seen = [];
  session.on('change', () => seen.push(session.consumers.size));
  session.start();
  await until(session, () => session.consumers.size > 0);
  assert.deepEqual([...session.consumers.keys()].sort(), ids);
  assert.ok(!seen.includes(1));
});

test('what is consumed first is described together, however late the second answer is', async (t) => {
  const { sfu, session, handlers } = await sessionOn(t, { watch: true });
  const ids = [sfu.hostPublishes('video', 'camera'), sfu.hostPublishes('audio', 'microphone')];
  const release = hold(sfu, 'consume', ({ producer }) => producer === ids[1]);
  const resumed = sfu.nextRequest('resumeConsumer');
  session.start();
  await resumed; // of the first: it is asked for, and may come as soon as there is a connection
  assert.deepEqual([session.consumers.size, handlers.length], [0, 1]);
  release();
  await until(session, () => session.consumers.size > 0);
  assert.deepEqual([...session.consumers.keys()].sort(), ids);
});

test('a connection that the server refuses is replaced', async (t) => {
  const { sfu, session } = await sessionOn(t, { watch: true });
  const connect = sfu.handlers.get('connectTransport');
  sfu.handlers.set('connectTransport', () => {
    sfu.handlers.set('connectTransport', connect);
    throw new Refusal('transport_not_found');
  });
  const camera = sfu.hostPublishes('video', 'camera');
  const closed = sfu.nextRequest('closeTransport');
  session.start();
  await closed;
  const connected = sfu.nextRequest('connectTransport');
  await connected;
  await until(session, () => session.consumers.has(camera) && playing(sfu).includes(camera));
  assert.equal(sfu.transports.size, 1);
});

/** A browser that makes certificates, for one test; says how many. */
function certificates(t, fingerprints, own = {}) {
  const made = [];
  globalThis.RTCPeerConnection = {
    generateCertificate: async () => {
      const certificate = Object.create(fingerprints ? { getFingerprints: () => fingerprints } : {});
      made.push(Object.assign(certificate, { expires: Date.now() + 30 * 24 * 3600 * 1000, ...own }));
      return certificate;
    },
  };
  t.after(() => delete globalThis.RTCPeerConnection);
  return made;
}

test('the server is told who connects before the browser describes it, with one certificate for all', async (t) => {
  const fingerprints = [{ algorithm: 'sha-256', value: 'AB:CD' }];
  const made = certificates(t, fingerprints);
  const { identity } = await import('../media/identity.js?told');
  assert.deepEqual(await identity(), { certificate: made[0], fingerprints });
  assert.deepEqual(await identity(), { certificate: made[0], fingerprints });
  made[0].expires = Date.now() + 1000;
  assert.equal((await identity()).certificate, made[1], 'one that is about to expire is made anew');
});

test('a browser that keeps its fingerprints to itself is asked for them as it connects', async (t) => {
  const { identity } = await import('../media/identity.js?untold');
  assert.equal(await identity(), null, 'no certificates at all');
  certificates(t, null);
  assert.equal(await identity(), null, 'no fingerprints');
  certificates(t, [{ algorithm: 'sha-256', value: 'AB:CD' }], { uncloneable() {} });
  assert.equal(await identity(), null, 'not to be handed on');
});

test('what connects is told along with the first thing that is consumed, once', async (t) => {
  const fingerprints = [{ algorithm: 'sha-256', value: 'AB:CD' }];
  certificates(t, fingerprints);
  const { sfu, session, handlers, settings } = await sessionOn(t, { watch: true });
  const camera = sfu.hostPublishes('video', 'camera');
  const release = hold(sfu, 'consume');
  const connected = sfu.nextRequest('connectTransport');
  session.start();
  assert.deepEqual((await connected).data.dtlsParameters, { role: 'client', fingerprints });
  assert.equal(session.consumers.size, 0, 'nothing is described yet');
  release();
  await until(session, () => playing(sfu).includes(camera) && session.consumers.size === 1);
  assert.deepEqual([sfu.count('connectTransport'), handlers.length], [1, 1]);
  assert.equal(settings[0].certificates.length, 1);
});

test('requests go out from joining on, and not before', async (t) => {
  const { server, client } = await serverAndClient(t);
  await assert.rejects(client.request('getStats', {}), { code: 'not_connected' });
  const answered = new Promise((resolve) => {
    client.on('joining', () => resolve(client.request('getStats', {})));
  });
  client.start();
  await answered;
  assert.deepEqual(methods(server), ['join', 'getStats']);
});

test('what was asked along with joining fails with the socket', async (t) => {
  const { server, client } = await serverAndClient(t);
  server.silent.add('join');
  const asked = new Promise((resolve) => {
    const off = client.on('joining', () => {
      off();
      resolve(client.request('getStats', {}).catch((error) => error.code));
    });
  });
  const arrived = server.nextRequest('join');
  client.start();
  await arrived;
  server.cut();
  assert.equal(await asked, 'connection_lost');
});

test('a client that was lost while it joined asks for nothing until it joins again', async (t) => {
  const { server } = await serverAndClient(t);
  const client = clientOf(t, server);
  server.silent.add('join');
  const arrived = server.nextRequest('join');
  client.start();
  await arrived;
  const lost = next(client, 'lost');
  server.cut();
  await lost;
  await assert.rejects(client.request('getStats', {}), { code: 'not_connected' });
});

test('the browser is asked what it can do once, in each direction', async () => {
  const asked = [];
  const factory = askingOnce({
    name: 'Fake',
    getNativeRtpCapabilities: async ({ direction }) => {
      asked.push(direction);
      return { direction };
    },
  });
  const both = ['recvonly', 'sendonly', 'recvonly', 'sendonly'];
  const answers = both.map((direction) => factory.getNativeRtpCapabilities({ direction }));
  assert.deepEqual((await Promise.all(answers)).map(({ direction }) => direction), both);
  assert.deepEqual([asked, factory.name], [['recvonly', 'sendonly'], 'Fake']);
});

test('a browser that could not say what it can do is asked again', async () => {
  let fails = true;
  const factory = askingOnce({
    getNativeRtpCapabilities: async () => {
      if (!fails) return { codecs: [] };
      throw new Error('not now');
    },
  });
  await assert.rejects(factory.getNativeRtpCapabilities({ direction: 'recvonly' }));
  fails = false;
  assert.deepEqual(await factory.getNativeRtpCapabilities({ direction: 'recvonly' }), { codecs: [] });
});
