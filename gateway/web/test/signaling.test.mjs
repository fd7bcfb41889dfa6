import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { Refusal } from './fake-server.mjs';
import { clientOf, joined, next, serverAndClient, settled } from './support.mjs';

const names = (client) => client.notifications.map(({ data }) => data.peer);

test('joining sends what was asked and leaves undefined fields out', async (t) => {
  const join = { room: 'r', name: undefined, token: 'secret', create: false };
  const { server, client } = await serverAndClient(t, { join });
  const answer = await joined(client);
  assert.equal(answer.session, 'session-1');
  assert.deepEqual(server.requests[0], {
    method: 'join',
    data: { room: 'r', token: 'secret', create: false },
  });
  assert.equal(client.position, 10);
  assert.deepEqual(client.events, ['welcome', 'joined']);
});

test('answers find their requests, in whatever order they come', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  let release;
  server.handlers.set('produce', () => new Promise((resolve) => (release = resolve)));
  server.handlers.set('consume', () => ({ id: 'c1' }));
  const arrived = server.nextRequest('consume');
  const produced = client.request('produce', {});
  assert.deepEqual(await client.request('consume', {}), { id: 'c1' });
  await arrived;
  release({ id: 'p1' });
  assert.deepEqual(await produced, { id: 'p1' });
});

test('a refusal keeps its code and the session goes on', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  server.handlers.set('consume', () => {
    throw new Refusal('cannot_consume', 'no codec in common');
  });
  await assert.rejects(client.request('consume', {}), {
    name: 'SignalingError',
    code: 'cannot_consume',
    message: 'consume: no codec in common',
  });
  assert.equal(client.state, 'joined');
});

test('notifications missed while the socket was gone come once each, in order', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  server.notify('peerLeft', { peer: 'a' });
  await settled(client);
  const resumed = next(client, 'resumed');
  server.cut();
  await next(client, 'lost');
  server.notify('peerLeft', { peer: 'b' });
  server.notify('peerLeft', { peer: 'c' });
  await resumed;
  await settled(client);
  server.notify('peerLeft', { peer: 'd' });
  await settled(client);
  assert.deepEqual(names(client), ['a', 'b', 'c', 'd']);
  const { data } = server.requests.find(({ method }) => method === 'resume');
  assert.deepEqual(data, { session: 'session-1', position: 11 });
});

test('a notification that the server sends twice is taken once', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  const first = server.notify('peerLeft', { peer: 'a' });
  server.notify('peerLeft', { peer: 'b' });
  server.sendRaw(encode(first));
  await settled(client);
  assert.deepEqual(names(client), ['a', 'b']);
});

test('a second resume starts at what the first one brought', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  for (const peer of ['a', 'b', 'c']) {
    const resumed = next(client, 'resumed');
    server.cut();
    await next(client, 'lost');
    server.notify('peerLeft', { peer });
    await resumed;
    await settled(client);
  }
  assert.deepEqual(names(client), ['a', 'b', 'c']);
  const positions = server.requests.filter(({ method }) => method === 'resume');
  assert.deepEqual(positions.map(({ data }) => data.position), [10, 11, 12]);
});

test('notifications that overtake the join answer are kept until after it', async (t) => {
  const { server, client } = await serverAndClient(t);
  server.handlers.set('join', (data, socket) => {
    socket.send(encode({ event: 'peerJoined', position: 11, data: { peer: 'early' } }));
    return server.room('session-1');
  });
  const order = [];
  client.on('joined', () => order.push('joined'));
  client.on('notification', ({ event }) => order.push(event));
  await joined(client);
  await settled(client);
  assert.deepEqual(order, ['joined', 'peerJoined']);
});

test('what the join answer already tells is not told again', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  server.sendRaw(encode({ event: 'peerLeft', position: 10, data: { peer: 'old' } }));
  await settled(client);
  assert.deepEqual(names(client), []);
});

for (const code of ['session_expired', 'session_not_found', 'room_not_found']) {
  test(`a resume refused with ${code} becomes a fresh join on the same socket`, async (t) => {
    const { server, client } = await serverAndClient(t);
    await joined(client);
    server.handlers.set('resume', () => {
      throw new Refusal(code);
    });
    const again = next(client, 'joined');
    server.cut();
    assert.equal((await again).session, 'session-2');
    assert.deepEqual(client.events.filter((event) => event !== 'welcome'), [
      'joined',
      'lost',
      'retry',
      'joined',
    ]);
  });
}

test('a server that restarts is found again', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  const { port } = server;
  await server.stop();
  await next(client, 'retry');
  await next(client, 'retry'); // the first attempt found nobody
  server.sessions.clear();
  const again = next(client, 'joined');
  await server.listen(port);
  assert.equal((await again).session, 'session-1');
});

test('an address that is found out is asked for again before each attempt', async (t) => {
  const { server, client } = await serverAndClient(t, { url: async () => addresses.shift() });
  const addresses = ['ws://127.0.0.1:1/', 'ws://127.0.0.1:1/', server.url];
  await joined(client);
  assert.deepEqual(addresses, []);
  assert.deepEqual(client.events.filter((event) => event === 'lost').length, 2);
});

test('a client that is closed while its address is found out does not connect', async (t) => {
  let found;
  const asked = new Promise((resolve) => (found = resolve));
  const { server, client } = await serverAndClient(t, { url: () => asked });
  client.start();
  client.close();
  found(server.url);
  await asked;
  const other = clientOf(t, server);
  await joined(other);
  assert.deepEqual(client.events, []);
});

test('waits between attempts grow and start anew after a success', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  const attempts = [];
  client.on('retry', ({ attempt }) => attempts.push(attempt));
  const { port } = server;
  await server.stop();
  while (attempts.length < 3) await next(client, 'retry');
  const resumed = next(client, 'resumed');
  await server.listen(port);
  await resumed;
  assert.deepEqual(attempts.slice(0, 3), [1, 2, 3]);
  assert.equal(client.attempts, 0);
});

test('requests that wait when the socket breaks fail with connection_lost', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  server.silent.add('produce');
  const seen = server.nextRequest('produce');
  const failed = assert.rejects(client.request('produce', {}), { code: 'connection_lost' });
  await seen;
  server.cut();
  await failed;
});

test('requests while there is no connection fail at once', async (t) => {
  const { client } = await serverAndClient(t);
  await assert.rejects(client.request('produce', {}), { code: 'not_connected' });
});

test('an unanswered request times out and the socket is replaced', async (t) => {
  const { server, client } = await serverAndClient(t, { requestTimeout_ms: 60 });
  await joined(client);
  server.silent.add('produce');
  const resumed = next(client, 'resumed');
  await assert.rejects(client.request('produce', {}), { code: 'timeout' });
  await resumed;
  assert.equal(client.state, 'joined');
});

test('a server that accepts and then stays silent is tried again', async (t) => {
  const { server, client } = await serverAndClient(t, { requestTimeout_ms: 60 });
  server.silent.add('join');
  const lost = next(client, 'lost');
  client.start();
  assert.equal((await lost).reason, 'request timeout');
  server.silent.clear();
  await next(client, 'joined');
});

for (const code of ['room_not_found', 'forbidden', 'unauthorized', 'some_new_code']) {
  test(`a join refused with ${code} stops until it is started again`, async (t) => {
    const { server, client } = await serverAndClient(t);
    server.handlers.set('join', () => {
      throw new Refusal(code);
    });
    const refused = next(client, 'refused');
    client.start();
    assert.equal((await refused).code, code);
    assert.equal(client.state, 'idle');
    assert.equal(server.count('join'), 1);
    server.handlers.clear();
    await joined(client);
  });
}

for (const code of ['rate_limited', 'internal_error']) {
  test(`a join refused with ${code} is tried again by itself`, async (t) => {
    const { server, client } = await serverAndClient(t);
    server.handlers.set('join', () => {
      server.handlers.clear();
      throw new Refusal(code);
    });
    await joined(client);
    assert.equal(server.count('join'), 2);
  });
}

for (const [name, bytes] of [
  ['no msgpack', Uint8Array.of(0xc1)],
  ['a torn frame', encode({ event: 'x', data: {} }).slice(0, 5)],
  ['neither response nor notification', encode({ hello: 1 })],
  ['text', '{"event":"x"}'],
]) {
  test(`a frame that is ${name} costs the socket, not the session`, async (t) => {
    const { server, client } = await serverAndClient(t);
    await joined(client);
    const lost = next(client, 'lost');
    const resumed = next(client, 'resumed');
    server.sendRaw(bytes);
    assert.equal((await lost).code, 1002);
    await resumed;
  });
}

test('unknown notifications are handed on, unknown answers dropped', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  server.sendRaw(encode({ id: 9999, ok: true, data: {} }));
  server.notify('somethingNew', { x: 1 });
  await settled(client);
  assert.deepEqual(client.notifications.map(({ event }) => event), ['somethingNew']);
  assert.equal(client.state, 'joined');
});

for (const [closeCode, code] of [
  [4001, 'taken_over'],
  [4004, 'origin_refused'],
]) {
  test(`a socket closed with ${closeCode} is not replaced: ${code}`, async (t) => {
    const { server, client } = await serverAndClient(t);
    await joined(client);
    const refused = next(client, 'refused');
    for (const socket of server.sockets) socket.close(closeCode);
    assert.equal((await refused).code, code);
    assert.equal(client.state, 'idle');
    assert.ok(!client.events.includes('retry'));
  });
}

for (const closeCode of [1001, 1011, 4002, 4005]) {
  test(`a socket closed with ${closeCode} is replaced`, async (t) => {
    const { server, client } = await serverAndClient(t);
    await joined(client);
    const resumed = next(client, 'resumed');
    for (const socket of server.sockets) socket.close(closeCode);
    await resumed;
  });
}

test('a closed room ends the session: the next join is a fresh one', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  const again = next(client, 'joined');
  server.notify('roomClosed', { reason: 'closed_by_operator' });
  await again;
  assert.equal(server.count('resume'), 0);
  assert.equal(server.count('join'), 2);
});

test('closing says goodbye, fails what waits, and stays closed', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  server.silent.add('produce');
  const waiting = assert.rejects(client.request('produce', {}), { code: 'closed' });
  const left = server.nextRequest('leave');
  client.close();
  await waiting;
  await left;
  assert.equal(client.state, 'closed');
  assert.equal(client.session, null);
  assert.ok(!client.events.includes('lost'));
});

test('closing from within a lost event stops the attempts', async (t) => {
  const { server, client } = await serverAndClient(t);
  await joined(client);
  const lost = next(client, 'lost');
  client.on('lost', () => client.close());
  server.cut();
  await lost;
  assert.equal(client.state, 'closed');
  assert.ok(!client.events.includes('retry'));
});

test('retryNow cuts a wait short', async (t) => {
  const { Backoff } = await import('../core/backoff.js');
  const backoff = new Backoff({ first_ms: 3_600_000, max_ms: 3_600_000 });
  const { server, client } = await serverAndClient(t, { backoff });
  await joined(client);
  server.cut();
  await next(client, 'retry');
  const resumed = next(client, 'resumed');
  client.retryNow();
  await resumed;
});
