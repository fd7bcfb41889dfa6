/** Short notes at the foot of the page, read out by screen readers. */
import { h } from './dom.js';

const SHOWN_MS = 4_000;
let region = null;
let timer = null;

/** Say `text` for a few seconds; a later note replaces it. */
export function toast(text) {
  region ??= document.body.appendChild(h('div.toast', { role: 'status' }));
  region.textContent = text;
  region.classList.add('is-shown');
  clearTimeout(timer);
  timer = setTimeout(() => region.classList.remove('is-shown'), SHOWN_MS);
}
