/** Buttons that copy a text. */
import { notes } from '../words.js';
import { $, setIcon } from './dom.js';
import { toast } from './toast.js';

const CHECK_SHOWN_MS = 1_600;

/**
 * Make `button` copy what `text` gives when it is pressed.
 * @param {HTMLButtonElement} button with an icon
 * @param {() => string} text
 * @param {HTMLInputElement} fallback is selected where the clipboard is closed
 */
export function copyOnPress(button, text, fallback) {
  let timer = null;
  button.addEventListener('click', async () => {
    if (!(await copy(text(), fallback))) {
      toast(notes.copyFailed);
      return;
    }
    toast(notes.copied);
    setIcon(button, 'check');
    clearTimeout(timer);
    timer = setTimeout(() => setIcon(button, 'copy'), CHECK_SHOWN_MS);
  });
  $('use', button);
}

async function copy(text, fallback) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    fallback.select(); // insecure contexts have no clipboard API
    return document.execCommand('copy');
  }
}
