/**
 * Calls a function of the page. An exception is reported like an uncaught error, and the library continues.
 *
 * @param {(...args: any[]) => void} callback
 * @param {...any} args
 */
export function callPage(callback, ...args) {
    try {
        callback(...args);
    } catch (error) {
        if (typeof globalThis.reportError === 'function') {
            globalThis.reportError(error);
        } else {
            setTimeout(() => { throw error; }, 0);
        }
    }
}

/**
 * Keeps listeners for a fixed set of events.
 *
 * @template Events
 */
export class Emitter {
    /** @param {readonly string[]} events the names of the events */
    constructor(events) {
        /** @type {Map<string, Map<(detail: any) => void, boolean>>} by event; true: called once */
        this._listeners = new Map(events.map((event) => [event, new Map()]));
    }

    /**
     * @template {keyof Events} E
     * @param {E} event
     * @param {(detail: Events[E]) => void} listener
     * @returns {() => void} removes the listener
     */
    on(event, listener) {
        this._listenersOf(event).set(listener, false);
        return () => this.off(event, listener);
    }

    /**
     * @template {keyof Events} E
     * @param {E} event
     * @param {(detail: Events[E]) => void} listener
     * @returns {() => void} removes the listener
     */
    once(event, listener) {
        this._listenersOf(event).set(listener, true);
        return () => this.off(event, listener);
    }

    /**
     * @template {keyof Events} E
     * @param {E} event
     * @param {(detail: Events[E]) => void} listener
     */
    off(event, listener) {
        this._listenersOf(event).delete(listener);
    }

    /**
     * @template {keyof Events} E
     * @param {E} event
     * @param {Events[E]} detail
     */
    _emit(event, detail) {
        // Iterates over a copy, because listeners may be added and removed during the loop.
        for (const [listener, once] of [...this._listenersOf(event)]) {
            if (once) {
                this.off(event, listener);
            }
            callPage(listener, detail);
        }
    }

    /** @param {PropertyKey} event */
    _listenersOf(event) {
        const listeners = this._listeners.get(String(event));
        if (!listeners) {
            const names = [...this._listeners.keys()].join(', ');
            throw new TypeError(`there is no event ${JSON.stringify(event)}; the events are ${names}`);
        }
        return listeners;
    }
}
