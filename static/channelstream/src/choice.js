import { listOf } from './untrusted.js';

/**
 * @typedef {import('../index.js').TransportName} TransportName
 */

/**
 * The address of another endpoint of the same server.
 *
 * @param {string} url
 * @param {string} name
 * @returns {string} empty if the address has another form
 */
export function sibling(url, name) {
    const pattern = /\/(listen|sse)(?=[?#]|$)/;
    return pattern.test(url) ? String(url).replace(pattern, `/${name}`) : '';
}

/** The choice of a transport: the ones that the page allows and the browser has, without those that seem to be blocked. */
export class TransportChoice {
    /** @param {import('./listening.js').Settings} settings */
    constructor(settings) {
        this.settings = settings;
        /** @type {Set<TransportName>} transports that were blocked while another one worked */
        this.distrusted = new Set();
        /** Whether the page has chosen long-polling. */
        this.pinned = false;
    }

    get sseUrl() {
        return this.settings.sseUrl || sibling(this.settings.longPollUrl, 'sse');
    }

    /** @returns {TransportName[]} the transports that the page allows and the browser has, the preferred one first */
    get usable() {
        const { websocketUrl, noWebsocket, resume, longPollUrl, transports } = this.settings;
        const usable = {
            websocket: websocketUrl && !noWebsocket && globalThis.WebSocket,
            // Frames in flight are lost whenever a stream ends, so it needs positions.
            sse: resume && !noWebsocket && this.sseUrl && globalThis.EventSource,
            longpoll: longPollUrl,
        };
        return listOf(transports).filter((name) => usable[name]);
    }

    /** @returns {TransportName} */
    get preferred() {
        const { usable } = this;
        const works = usable.find((name) => !this.distrusted.has(name));
        return this.pinned ? 'longpoll' : works ?? usable[0] ?? 'longpoll';
    }

    /**
     * @param {TransportName} name
     * @returns {TransportName | undefined} the next transport that may work
     */
    other(name) {
        const { usable } = this;
        const at = usable.indexOf(name) + 1;
        return [...usable.slice(at), ...usable].find((each) => each !== name && !this.distrusted.has(each));
    }

    /**
     * @param {?TransportName} name
     * @returns {boolean} whether the websocket is preferred to this transport
     */
    prefersSocketTo(name) {
        const { usable } = this;
        const better = usable.slice(0, usable.indexOf(/** @type {any} */ (name)));
        return better.includes('websocket') && !this.pinned;
    }
}
