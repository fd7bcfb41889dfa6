/**
 * A small signaling server for tests: real sockets, real frames, a log of
 * notifications with positions, sessions that can be resumed, and ways to misbehave.
 */
import { decode, encode } from '@msgpack/msgpack';
import { WebSocketServer } from 'ws';

/** How the server is told to fail a request. */
export class Refusal extends Error {
  constructor(code, message = code) {
    super(message);
    this.code = code;
  }
}

export class FakeServer {
  /** Requests in the order they came: `{method, data}`. */
  requests = [];
  /** Replaces the answer of a method: `(data, connection) => object`, may throw a Refusal. */
  handlers = new Map();
  /** Methods that are never answered. */
  silent = new Set();
  /** The log: `{event, position, data}`. */
  log = [];
  sessions = new Map();
  sockets = new Set();
  position = 10;
  #waiters = [];
  #expected = [];

  static async start(port = 0) {
    const server = new FakeServer();
    await server.listen(port);
    return server;
  }

  async listen(port) {
    this.server = new WebSocketServer({
      port,
      host: '127.0.0.1',
      handleProtocols: (offered) => (offered.has('reprise.v1.msgpack') ? 'reprise.v1.msgpack' : false),
    });
    this.server.on('connection', (socket) => this.#accept(socket));
    await new Promise((resolve) => this.server.once('listening', resolve));
    this.port = this.server.address().port;
  }

  get url() {
    return `ws://127.0.0.1:${this.port}/`;
  }

  /** Write a notification to the log and tell everyone who is joined. */
  notify(event, data) {
    const notification = { event, position: ++this.position, data };
    this.log.push(notification);
    for (const socket of this.sockets) if (socket.joined) socket.send(encode(notification));
    return notification;
  }

  /** Send any bytes or text on every socket. */
  sendRaw(bytes) {
    for (const socket of this.sockets) socket.send(bytes);
  }

  /** Cut every socket without goodbye. */
  cut() {
    for (const socket of this.sockets) socket.terminate();
  }

  /** Stop listening, as a server that restarts; `listen(port)` brings it back. */
  async stop() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Resolves when the next request of `method` arrives, before it is answered. */
  nextArrival(method) {
    return new Promise((resolve) => this.#expected.push({ method, resolve }));
  }

  /** Resolves with the first request of `method` that comes from now on, once it is answered. */
  nextRequest(method) {
    return new Promise((resolve) => this.#waiters.push({ method, resolve }));
  }

  count(method) {
    return this.requests.filter((request) => request.method === method).length;
  }

  #accept(socket) {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => {});
    socket.on('message', (bytes) => this.#onRequest(socket, decode(bytes)));
    socket.send(encode({ event: 'welcome', data: { server: 'fake', version: '0', limits: {} } }));
  }

  async #onRequest(socket, { id, method, data }) {
    this.requests.push({ method, data });
    for (const expected of this.#expected) if (expected.method === method) expected.resolve();
    this.#expected = this.#expected.filter((expected) => expected.method !== method);
    if (method === 'join' || method === 'resume') {
      socket.entering = new Promise((done) => (socket.entered = done));
    } else if (socket.entering) {
      await socket.entering;
    }
    const answer = this.silent.has(method) ? null : this.#answer(socket, method, data);
    if (answer) {
      try {
        socket.send(encode({ id, ok: true, data: (await answer()) ?? {} }));
        if (method === 'resume') this.#sendMissed(socket, data.position);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        const { code, message } = error;
        socket.send(encode({ id, ok: false, error: { code, message } }));
      }
      if (method === 'join' || method === 'resume') {
        socket.entered();
        socket.entering = null;
      }
    }
    const due = this.#waiters.filter((waiter) => waiter.method === method);
    this.#waiters = this.#waiters.filter((waiter) => waiter.method !== method);
    for (const { resolve } of due) resolve({ method, data, socket });
  }

  #answer(socket, method, data) {
    const handler = this.handlers.get(method);
    if (!socket.joined && method !== 'join' && method !== 'resume') {
      return () => {
        throw new Refusal('not_joined');
      };
    }
    if (handler) return async () => this.#enter(socket, method, await handler(data, socket));
    if (method === 'join') return () => this.#enter(socket, method, this.#join());
    if (method === 'resume') return () => this.#enter(socket, method, this.#resume(data));
    return () => ({});
  }

  /** From here on the socket hears notifications. */
  #enter(socket, method, answer) {
    if (method === 'join' || method === 'resume') socket.joined = true;
    return answer;
  }

  #join() {
    const session = `session-${this.sessions.size + 1}`;
    this.sessions.set(session, true);
    return this.room(session);
  }

  #resume({ session }) {
    if (!this.sessions.has(session)) throw new Refusal('session_not_found');
    return this.room(session);
  }

  /** The answer to join and resume. */
  room(session) {
    return {
      peer: 'peer-self',
      session,
      routerRtpCapabilities: { codecs: [], headerExtensions: [] },
      peers: [],
      producers: [],
      position: this.position,
      streaming: false,
    };
  }

  #sendMissed(socket, position) {
    for (const notification of this.log) {
      if (notification.position > position) socket.send(encode(notification));
    }
  }
}
