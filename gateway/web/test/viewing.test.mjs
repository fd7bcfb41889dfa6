import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arrange, arrangeAround, layerFor, priorityFor, shownHeight, spotlight } from '../media/viewing.js';

test('a picture gets the layer of its height, stretched a little at most', () => {
  assert.deepEqual([1, 180, 216, 217, 432, 433, 2000].map(layerFor), [0, 0, 0, 1, 1, 2, 2]);
});

test('one picture is large, and the others stand beneath it', () => {
  for (const [width, height] of [[1234, 620], [384, 640], [800, 300], [1600, 900]]) {
    for (let others = 1; others < 12; others += 1) {
      const { main_px, width_px } = arrangeAround(others, width, height, 10);
      const columns = Math.floor((width + 10) / (width_px + 10));
      const rows_px = Math.ceil(others / columns) * ((width_px * 9) / 16 + 10);
      const fits = (main_px * 9) / 16 + rows_px <= height + 1;
      assert.ok(main_px <= width && main_px >= width_px, `${others} in ${width}x${height}`);
      assert.ok(fits || width_px === 96, `${others} in ${width}x${height}`);
      assert.ok((main_px * 9) / 16 >= Math.min(height * 0.6, (width * 9) / 16) - 1);
    }
  }
  assert.equal(arrangeAround(9, 384, 640, 10).main_px, 384, 'as wide as a phone');
});

test('a picture is as high as its box shows it, on a screen no denser than eyes are', () => {
  const box = { width: 320, height: 400 };
  const unknown = { width: 0, height: 0 };
  const [wide, upright] = [{ width: 1280, height: 720 }, { width: 720, height: 1280 }];
  const whole = { covers: false, density: 1 };
  assert.equal(shownHeight(box, wide, whole), 180, 'letters above and below it');
  assert.equal(shownHeight(box, unknown, whole), 180, 'taken for a wide one');
  assert.equal(shownHeight(box, upright, whole), 225, 'how wide it is');
  assert.equal(shownHeight(box, wide, { covers: true, density: 1 }), 400);
  assert.equal(shownHeight(box, wide, { covers: false, density: 3 }), 360);
  assert.equal(shownHeight({ width: 0, height: 0 }, wide, whole), 0);
});

test('pictures are arranged as large as they fit', () => {
  assert.deepEqual(arrange(1, 1600, 900, 10), { columns: 1, width_px: 1600 });
  assert.equal(arrange(2, 1600, 450, 10).columns, 2);
  assert.equal(arrange(2, 400, 900, 10).columns, 1);
  assert.equal(arrange(9, 1600, 900, 10).columns, 3);
  for (let count = 1; count <= 40; count += 1) {
    const { columns, width_px } = arrange(count, 1000, 700, 10);
    const rows = Math.ceil(count / columns);
    assert.ok(width_px > 0 && columns * width_px + (columns - 1) * 10 <= 1000);
    assert.ok((rows * width_px * 9) / 16 + (rows - 1) * 10 <= 700);
  }
});

test('the large picture comes before a shared screen, and that before the others', () => {
  assert.ok(priorityFor(true, false) > priorityFor(false, true));
  assert.ok(priorityFor(false, true) > priorityFor(false, false));
  assert.equal(priorityFor(false, false), 1);
});

const seat = (peer, more = {}) => ({ key: `${peer}-camera`, peer, screen: false, self: false, ...more });
const SEATS = [seat('me', { self: true }), seat('ann'), seat('bob')];

test('who speaks is large, and stays so until another one does', () => {
  assert.equal(spotlight(SEATS, { speaker: 'bob' }).peer, 'bob');
  assert.equal(spotlight(SEATS, { speaker: null, before: 'bob-camera' }).peer, 'bob');
  assert.equal(spotlight(SEATS, { speaker: 'me', before: 'bob-camera' }).peer, 'bob');
  assert.equal(spotlight(SEATS, { speaker: null }).peer, 'ann');
});

test('a screen is larger than who speaks, and what one pinned than all', () => {
  const screen = seat('bob', { key: 'bob-screen', screen: true });
  const seats = [...SEATS, screen];
  assert.equal(spotlight(seats, { speaker: 'ann' }), screen);
  assert.equal(spotlight(seats, { speaker: 'ann', pinned: 'me-camera' }).peer, 'me');
  assert.equal(spotlight(seats, { speaker: 'ann', pinned: 'gone-camera' }), screen);
});

test('alone one is large oneself, and nobody is when there is nobody', () => {
  assert.equal(spotlight(SEATS.slice(0, 1), {}).peer, 'me');
  assert.equal(spotlight([], {}), null);
});
