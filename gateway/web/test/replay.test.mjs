/** The pure parts of the time machine: axis, rows, marks, links, playing, words for times. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Axis, MS, S } from '../replay/axis.js';
import { bands, runs, sampled, scale } from '../replay/dividing.js';
import { duration, plain, sinceBegin, timeOfDay, written } from '../replay/format.js';
import { LaneList, PAGE, rowKey } from '../replay/lane-list.js';
import { height, nearest, stacked, steps, valueAt } from '../replay/marks.js';
import { Player } from '../replay/player.js';
import { readView, writeView } from '../replay/view-link.js';

const hour = () => {
  const axis = new Axis({ begin: 1000 * S, end: 4600 * S });
  axis.width = 1000;
  return axis;
};

test('a time and its place on the screen are each other’s inverse', () => {
  const axis = hour();
  axis.show(1100 * S, 1200 * S);
  assert.equal(axis.x(1150 * S), 500);
  assert.equal(axis.time(500), 1150 * S);
});

test('zooming keeps the time under the pointer where it is', () => {
  const axis = hour();
  const before = axis.time(300);
  axis.zoom(0.25, 300);
  assert.ok(Math.abs(axis.time(300) - before) < MS);
  assert.ok(Math.abs(axis.span - 900 * S) < MS);
});

test('nothing outside the session is shown, and nothing shorter than a screen can tell', () => {
  const axis = hour();
  axis.pan(-5000);
  assert.equal(axis.from, 1000 * S);
  axis.zoom(100);
  assert.ok(axis.whole);
  for (let n = 0; n < 100; n += 1) axis.zoom(0.1, 0);
  assert.ok(axis.span >= 0.099 * MS);
  axis.show(9000 * S, 9010 * S);
  assert.equal(axis.to, 4600 * S);
});

test('a session without length still has an axis', () => {
  const axis = new Axis({ begin: 5 * S, end: 5 * S });
  assert.ok(axis.span > 0);
  assert.ok(Number.isFinite(axis.x(5 * S)));
});

test('what is revealed comes into sight by the shortest way, and what is seen stays put', () => {
  const axis = hour();
  axis.show(1100 * S, 1200 * S);
  axis.reveal(1150 * S);
  assert.equal(axis.from, 1100 * S);
  axis.reveal(3000 * S);
  assert.ok(axis.x(3000 * S) < axis.width && axis.x(3000 * S) > axis.width * 0.8);
  assert.ok(Math.abs(axis.span - 100 * S) < MS);
});

test('ticks are round since the beginning, and apart enough to be read', () => {
  const axis = hour();
  for (const factor of [1, 0.1, 0.1, 0.01, 0.1]) {
    axis.zoom(factor, 500);
    const ticks = axis.ticks();
    assert.ok(ticks.length >= 1 && ticks.length <= 12, `${ticks.length}`);
    const step = axis.step();
    for (const tick of ticks) assert.ok(Math.abs(Math.round((tick - axis.begin) / step) * step - (tick - axis.begin)) < 1e3);
  }
});

const peer = (n) => ({ key: `peer/p_${n}`, kind: 'peer' });
const filled = (total) => {
  const list = new LaneList();
  list.take({ total, offset: 0, room: { key: 'room', kind: 'room' }, lanes: Array.from({ length: Math.min(total, PAGE) }, (_, n) => peer(n)) });
  return list;
};
const children = (name) => [
  { key: `transport/${name}`, kind: 'transport', depth: 1 },
  { key: `consumer/${name}`, kind: 'consumer', depth: 2 },
];

test('a room’s row comes first, then its peers, folded', () => {
  const list = filled(3);
  assert.equal(list.length, 4);
  assert.equal(rowKey(list.row(0)), 'room');
  assert.equal(rowKey(list.row(2)), 'peer/p_1/*');
});

test('unfolding puts what a peer has below it, and folding takes it away', () => {
  const list = filled(5);
  list.unfold('peer/p_3', 3);
  list.unfold('peer/p_1', 1);
  list.setChildren('peer/p_3', children('d'));
  list.setChildren('peer/p_1', children('b'));
  const keys = Array.from({ length: list.length }, (_, n) => rowKey(list.row(n)));
  assert.deepEqual(keys, [
    'room', 'peer/p_0/*', 'peer/p_1', 'transport/b', 'consumer/b', 'peer/p_2/*', 'peer/p_3', 'transport/d', 'consumer/d', 'peer/p_4/*',
  ]);
  list.fold('peer/p_1');
  assert.equal(list.length, 8);
  assert.equal(rowKey(list.row(5)), 'transport/d');
});

test('every row of a peer is found again by its ordinal', () => {
  const list = filled(50);
  for (const n of [0, 7, 8, 49]) {
    list.unfold(`peer/p_${n}`, n);
    list.setChildren(`peer/p_${n}`, children(`x${n}`));
  }
  for (let n = 0; n < 50; n += 1) assert.equal(list.row(list.rowOfPeer(n)).lane.key, `peer/p_${n}`);
});

test('a lane is seen in its own row when its peer is unfolded, else in the peer’s', () => {
  const list = filled(5);
  const place = { lane: 'consumer/c', owner: 'peer/p_2', ordinal: 2 };
  assert.equal(list.rowOf(place), 3);
  list.unfold('peer/p_2', 2);
  assert.equal(list.rowOf(place), 3); // what is below is not here yet
  list.setChildren('peer/p_2', children('c'));
  assert.equal(list.rowOf(place), 5);
  assert.equal(list.rowOf({ lane: 'room', owner: 'room', ordinal: 0 }), 0);
});

test('of a thousand peers only the pages in sight are asked for', () => {
  const list = filled(1000);
  assert.equal(list.length, 1001);
  assert.deepEqual(list.missing(0, 40), []);
  assert.deepEqual(list.missing(90, 330), [100, 200, 300]);
  assert.equal(list.row(900).lane, null);
  list.take({ total: 1000, offset: 800, lanes: Array.from({ length: 100 }, (_, n) => peer(800 + n)) });
  assert.equal(list.row(900).lane.key, 'peer/p_899');
  assert.equal(list.row(0).lane.key, 'room');
});

test('counts of categories are stacked bucket by bucket', () => {
  const found = stacked({ media: [0, 2, 5, 1], trouble: [5, 3] }, ['media', 'people', 'trouble']);
  assert.deepEqual(found.get(0), { total: 2, parts: [2, 0, 0] });
  assert.deepEqual(found.get(5), { total: 4, parts: [1, 0, 3] });
  assert.equal(found.size, 2);
});

test('few are seen beside many', () => {
  assert.equal(height(0, 100), 0);
  assert.equal(height(100, 100), 1);
  assert.ok(height(1, 10_000) > 0.05);
});

test('the pointer finds the nearest mark within reach, and none beyond it', () => {
  const marks = [{ x: 10, y: 10, n: 1 }, { x: 16, y: 10, n: 2 }];
  assert.equal(nearest(marks, 14, 11).n, 2);
  assert.equal(nearest(marks, 11, 9).n, 1);
  assert.equal(nearest(marks, 60, 10), null);
  assert.equal(nearest(marks, 10, 40), null);
  assert.equal(nearest([], 0, 0), null);
});

test('a step line holds each value to the next, and the last to the end', () => {
  const axis = { from: 0, to: 100, x: (time) => time };
  assert.deepEqual(steps([[10, 5], [40, 7]], axis, 60), [[10, 5], [40, 5], [40, 7], [60, 7]]);
  assert.deepEqual(steps([[-50, 5], [200, 7]], axis, 300), [[0, 5], [100, 5]]);
  assert.deepEqual(steps([[10, 5], [40, 7]], axis, 90, 8), [[10, 5], [18, 5], null, [40, 7], [48, 7]]);
  assert.equal(valueAt([[10, 5], [40, 7]], 39), 5);
  assert.equal(valueAt([[10, 5]], 9), undefined);
});

const share = (lane, about, more) => ({
  lane,
  about,
  name: '',
  begin_ns: 0,
  end_ns: 100,
  layers: [],
  priorities: [[0, 1]],
  points: [[0, 10]],
  ...more,
});

test('a value holds until the next, but no longer than it may, and there is none before the first', () => {
  const points = [[10, 1], [20, 2], [60, 3]];
  assert.deepEqual(sampled(points, [0, 10, 15, 20, 45, 60, 99], 20), [undefined, 1, 1, 2, undefined, 3, undefined]);
  assert.deepEqual(sampled(points, [45, 99]), [2, 3]);
  assert.deepEqual(sampled([], [1]), [undefined]);
});

test('what was sent is stacked: audio together at the bottom, then videos by priority', () => {
  const division = {
    hold_ns: 1000,
    shares: [
      share('consumer/other', 'video', { points: [[0, 100]], layers: [[0, 0], [50, 1]] }),
      share('consumer/a1', 'audio'),
      share('consumer/speaker', 'video', { points: [[0, 500], [50, 300]], priorities: [[0, 1], [50, 3]] }),
      share('consumer/a2', 'audio', { end_ns: 40 }),
    ],
  };
  const found = bands(division, [0, 50, 200]);
  assert.deepEqual(found.map(({ key }) => key), ['audio', 'consumer/speaker', 'consumer/other']);
  const [audio, speaker, other] = found;
  assert.deepEqual(audio.high, [20, 10, 0], 'who has gone is sent nothing');
  assert.deepEqual(speaker.low, audio.high);
  assert.deepEqual(speaker.high, [520, 310, 0]);
  assert.deepEqual(speaker.priorities, [1, 3, 3]);
  assert.deepEqual(speaker.layers, [-1, -1, -1]);
  assert.deepEqual(other.low, speaker.high);
  assert.deepEqual(other.layers, [0, 1, 1]);
  assert.deepEqual(bands({ hold_ns: 1, shares: [] }, [0]), []);
});

test('stretches of one layer are drawn in one piece', () => {
  assert.deepEqual(runs([0, 0, 2, 2, 2, 0]), [[0, 1, 0], [2, 4, 2], [5, 5, 0]]);
  assert.deepEqual(runs([]), []);
});

test('an estimate far above all that is sent does not press it flat', () => {
  assert.equal(scale(1000, 1200), Math.max(1150, 1320));
  assert.equal(scale(1000, 50_000), 2500);
  assert.equal(scale(0, 400), 400);
  assert.ok(scale(0, 0) > 0);
});

test('a link says the whole view, and is read back as it was written', () => {
  const view = {
    position: 1234, zoom: [12.5, 80.25], selected: true, lane: 'consumer/c_x,y', open: ['peer/p_a', 'peer/p_b'],
    tab: 'state', session: 2, follow: true, query: '=length(room.peers) > `2`&x#y',
  };
  assert.deepEqual(readView(writeView(view)), view);
});

test('a link that was tampered with says only what makes sense', () => {
  for (const hash of ['', '#', '#p=-1', '#p=x', '#z=9-3', '#z=a-b', '#t=evil', '#n=1.5', '#s=2', '#p=1e99']) {
    assert.deepEqual(readView(hash), {}, hash);
  }
  assert.equal(readView(`#o=${'a,'.repeat(500)}`).open.length, 40);
});

test('playing is as fast as its speed, and changes it without a jump', () => {
  const player = new Player();
  player.play(100 * S, 5_000);
  assert.equal(player.time(6_000), 101 * S);
  player.setSpeed(64, 6_000);
  assert.equal(player.time(6_000), 101 * S);
  assert.equal(player.time(7_000), 165 * S);
  player.setSpeed(0.5, 7_000);
  assert.equal(player.time(9_000), 166 * S);
});

test('times are written as exactly as the axis needs', () => {
  assert.equal(sinceBegin(61.5 * S, S * 10), '01:02');
  assert.equal(sinceBegin(61.5 * S), '01:01.500');
  assert.equal(sinceBegin(3661 * S, S), '1:01:01');
  assert.equal(sinceBegin(59.9996 * S), '01:00.000');
  assert.equal(sinceBegin(1_500, 1_000), '00:00.000002');
  assert.equal(timeOfDay(1_772_366_400_123_456_768), '12:00:00.123457Z');
  assert.equal(duration(3_900 * S), '1 h 5 min');
  assert.equal(duration(12.54 * S), '12.5 s');
  assert.equal(duration(3.2 * MS), '3.2 ms');
  assert.equal(duration(900), '1 µs');
});

test('values are written in a line', () => {
  assert.equal(written(1_234_567, 'bps'), '1.23 Mbit/s');
  assert.equal(written(64_400, 'bps'), '64 kbit/s');
  assert.equal(written(12.34, 'ms'), '12.3 ms');
  assert.equal(written(7, ''), '7');
  assert.equal(plain(null), '–');
  assert.equal(plain(''), '""');
  assert.equal(plain({ '…': 12 }), '12 entries');
  assert.equal(plain({ a: [1] }), '{"a":[1]}');
});
