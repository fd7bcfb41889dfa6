/** The keyboard. */

const typing = (target) => target.closest?.('input, select, textarea, [contenteditable]') !== null;

/** Keys act wherever one is, except where they have a meaning of their own. */
export function listenKeys(on) {
  const actions = {
    ' ': () => on.play(),
    ArrowRight: ({ shiftKey }) => (shiftKey ? on.pan(0.25) : on.step(1)),
    ArrowLeft: ({ shiftKey }) => (shiftKey ? on.pan(-0.25) : on.step(-1)),
    n: () => on.jump(1),
    p: () => on.jump(-1),
    '+': () => on.zoomBy(0.5),
    '=': () => on.zoomBy(0.5),
    '-': () => on.zoomBy(2),
    0: () => on.fit(),
    f: () => on.follow(),
    Home: () => on.home(),
    End: () => on.end(),
    '/': () => on.search(),
    Escape: () => on.escape(),
  };
  addEventListener('keydown', (event) => {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    if (typing(event.target) && event.key !== 'Escape') return;
    if (event.key === ' ' && event.target.closest?.('button, a, [role="treeitem"]')) return;
    event.preventDefault();
    action(event);
  });
}
