/**
 * A small synchronous event emitter.
 *
 * Listeners run in the order they were added, inside `emit`. A listener that
 * throws does not stop the others: its error is rethrown in a task of its own,
 * where the browser reports it.
 */
export class Emitter {
  #listeners = new Map();

  /**
   * Call `listener` on every `event`.
   * @returns {() => void} removes the listener again
   */
  on(event, listener) {
    let listeners = this.#listeners.get(event);
    if (!listeners) this.#listeners.set(event, (listeners = new Set()));
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** Call the listeners of `event` with `args`. */
  emit(event, ...args) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** Drop every listener. */
  removeAllListeners() {
    this.#listeners.clear();
  }
}
