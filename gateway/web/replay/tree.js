/** The state as a tree that unfolds, with what just changed marked. */
import { h } from '../ui/dom.js';
import { plain } from './format.js';

const pathKey = (path) => JSON.stringify(path);

export class StateTree {
  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} changesRoot where changes are listed
   * @param {() => void} changed told when something was unfolded or folded: ask again
   */
  constructor(root, changesRoot, changed) {
    Object.assign(this, { root, changesRoot, changed });
    this.opened = new Set([[], ['room'], ['room', 'peers'], ['consumers'], ['producers'], ['transports']].map(pathKey));
    root.addEventListener('click', (event) => this.#toggle(event.target.closest('[data-path][aria-expanded]')));
    root.addEventListener('keydown', (event) => this.#key(event));
  }

  /** The unfolded paths, as the server wants them. */
  get open() {
    return `[${[...this.opened].join(',')}]`;
  }

  /** Unfold all that leads to a path, and it. */
  reveal(path) {
    for (let depth = 0; depth <= path.length; depth += 1) this.opened.add(pathKey(path.slice(0, depth)));
  }

  show({ tree, changes, changed, since, position }) {
    const marks = new Map();
    const gone = new Map();
    for (const { path, change } of changes) {
      marks.set(pathKey(path), change);
      for (let depth = 1; depth < path.length; depth += 1) {
        const key = pathKey(path.slice(0, depth));
        if (!marks.has(key)) marks.set(key, 'inside');
      }
      if (change === 'removed') {
        const parent = pathKey(path.slice(0, -1));
        gone.set(parent, [...(gone.get(parent) ?? []), path.at(-1)]);
      }
    }
    const focused = document.activeElement?.dataset?.path;
    this.root.replaceChildren(...this.#children(tree, [], marks, gone));
    this.root.dataset.position = String(position);
    (focused ? [...this.root.querySelectorAll('[data-path]')].find((e) => e.dataset.path === focused) : null)?.focus();
    const first = this.root.querySelector('[data-path]');
    if (first && !this.root.querySelector('[tabindex="0"]')) first.tabIndex = 0;
    this.#list(changes, changed, since, position);
  }

  #children(node, path, marks, gone) {
    const rows = [];
    for (const [key, child] of node.items ?? []) rows.push(...this.#row(key, child, [...path, key], marks, gone));
    for (const key of gone.get(pathKey(path)) ?? []) {
      rows.push(this.#line(key, [...path, key], 'removed', h('span.value', {}, 'removed')));
    }
    if (node.more) rows.push(h('div.node.is-more', {}, `and ${node.more} more`));
    return rows;
  }

  #row(key, node, path, marks, gone) {
    const mark = marks.get(pathKey(path));
    if ('value' in node) {
      const kind = node.value === null ? 'null' : typeof node.value;
      return [this.#line(key, path, mark, h(`span.value.is-${kind}`, {}, plain(node.value)))];
    }
    const size = node.map ?? node.list;
    const open = 'items' in node;
    const beside = open || !size ? '' : node.preview;
    const line = this.#line(
      key, path, mark,
      h('span.size', {}, size ? String(size) : 'none'), h('span.preview', {}, beside),
    );
    if (size) line.setAttribute('aria-expanded', String(open));
    return open ? [line, ...this.#children(node, path, marks, gone)] : [line];
  }

  #line(key, path, mark, ...rest) {
    const line = h(
      'div.node',
      {
        role: 'treeitem',
        tabIndex: -1,
        dataset: { path: pathKey(path), ...(mark ? { change: mark } : {}) },
        'aria-level': String(path.length),
      },
      h('span.key', {}, String(key)),
      ...rest,
    );
    line.style.setProperty('--depth', path.length - 1);
    return line;
  }

  #toggle(line) {
    if (!line) return;
    const { path } = line.dataset;
    if (this.opened.has(path)) this.opened.delete(path);
    else this.opened.add(path);
    line.focus();
    this.changed();
  }

  #key(event) {
    const line = event.target.closest('.node');
    if (!line) return;
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
    if (step) line[step]?.focus();
    else if (event.key === 'Enter' || event.key === ' ') this.#toggle(line.closest('[aria-expanded]'));
    else if (event.key === 'ArrowRight' && line.ariaExpanded === 'false') this.#toggle(line);
    else if (event.key === 'ArrowLeft' && line.ariaExpanded === 'true') this.#toggle(line);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #list(changes, total, since, position) {
    const head =
      total === 0
        ? 'Nothing in the state changed here.'
        : `${total} ${total === 1 ? 'change' : 'changes'} since ${since === position - 1 ? 'the step before' : `position ${since}`}`;
    const rows = changes.slice(0, 8).map(({ path, change, before, after }) => {
      const value = change === 'removed' ? plain(before) : plain(after);
      const row = h(
        'button.change',
        { type: 'button', dataset: { change } },
        h('span.change-path', {}, path.join(' › ')),
        h('span.change-value', {}, change === 'changed' ? `${plain(before)} → ${value}` : change === 'removed' ? 'removed' : value),
      );
      row.addEventListener('click', () => {
        this.reveal(path);
        this.changed();
      });
      return row;
    });
    this.changesRoot.replaceChildren(h('p.changes-head', {}, head), ...rows);
  }
}
