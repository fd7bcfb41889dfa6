/** Small tools for the document. Texts are always set as text, never as markup. */

/** The address of the icon sprite, as the build wrote it into the page. */
const sprite = () => $('.brand use').getAttribute('href').split('#')[0];

/** The one element that matches; missing ones are a programming error. */
export function $(selector, root = document) {
  const element = root.querySelector(selector);
  if (!element) throw new Error(`No element ${selector}`);
  return element;
}

/**
 * Make an element.
 * @param {string} name tag, with classes as in `li.viewer`
 * @param {object} [properties] set on the element; `dataset` and `aria-…` work too
 * @param {...(Node | string)} children
 */
export function h(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split('.');
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(' ');
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes('-') || key === 'role') element.setAttribute(key, value);
    else if (key === 'dataset') Object.assign(element.dataset, value);
    else element[key] = value;
  }
  element.append(...children);
  return element;
}

/** Set a text only when it differs, so that screen readers do not repeat it. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show another icon of the sprite in an element that has one. */
export function setIcon(element, name) {
  const href = `${sprite()}#${name}`;
  const use = $('use', element);
  if (use.getAttribute('href') !== href) use.setAttribute('href', href);
}

/** An icon of the sprite. */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `${sprite()}#${name}`);
  svg.append(use);
  return svg;
}

/** A button that is on or off: its label says what pressing it does. */
export function setToggle(button, { on, label, icon: name }) {
  button.classList.toggle('is-on', on);
  setText($('.label', button), label);
  button.title = label;
  setIcon(button, name);
}
