/** The start page: go live, or watch a room. */
import { randomRoomId, roomOfText } from './core/address.js';
import { $ } from './ui/dom.js';
import { notes } from './words.js';

const form = $('#watch');
const input = $('#room');
const hint = $('#room-hint');

$('#meet').href = `/meet/${randomRoomId()}`;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const found = roomOfText(input.value);
  if (found === null) {
    hint.textContent = notes.badRoom;
    input.setAttribute('aria-invalid', 'true');
    input.focus();
    return;
  }
  const [fragment = ''] = /#.*$/.exec(input.value.trim()) ?? []; // a pasted link may bear a token
  location.assign(`/${found.page}/${encodeURIComponent(found.room)}${fragment}`);
});

input.addEventListener('input', () => {
  hint.textContent = '';
  input.removeAttribute('aria-invalid');
});
