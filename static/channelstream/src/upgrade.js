import { Backoff } from './backoff.js';
import { WebSocketListener } from './websocket.js';

/** Bounds of the first wait before the websocket is tried again, and of the longest. */
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 300_000;

/** A websocket that lasts this long was worth going back to. */
export const LASTING_MS = 60_000;

/** @returns {string} a random UUID; `crypto.randomUUID` is not there on pages without https */
function randomId() {
    const bytes = new Uint8Array(16).map(() => Math.floor(Math.random() * 256));
    globalThis.crypto?.getRandomValues?.(bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return [8, 12, 16, 20].reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, hex);
}

/**
 * Finds out, while the connection listens over long-polling, when websockets get through again.
 *
 * It does not use the connection's own id: a handshake whose answer is swallowed on the way would take the connection
 * over, and the server would write its frames into nothing. The server accepts an id that it does not know and closes
 * the socket at once with 1000, so that a stranger's socket proves both directions and disturbs nobody.
 */
export class Upgrade {
    /**
     * @param {(id: string) => string} urlFor the websocket's address with a connection id
     * @param {(works: boolean) => void} onProbed told of each probe
     */
    constructor(urlFor, onProbed) {
        this.urlFor = urlFor;
        this.onProbed = onProbed;
        this.backoff = new Backoff();
        /** @type {?ReturnType<typeof setTimeout>} */
        this.timer = null;
        /** @type {?WebSocketListener} */
        this.probing = null;
    }

    /** Whether it waits or probes. */
    get busy() {
        return Boolean(this.timer || this.probing);
    }

    /** Waits for the next time to probe. The longer nothing has come of it, the longer the wait. */
    schedule() {
        this.cancel();
        const boundMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.backoff.failures);
        // At least half of the bound: what has just failed need not be tried at once.
        const waitMs = boundMs / 2 + this.backoff.next(FIRST_WAIT_MS, LONGEST_WAIT_MS) / 2;
        this.timer = setTimeout(() => this.probe(), waitMs);
    }

    probe() {
        this.timer = null;
        this.probing = new WebSocketListener(this.urlFor(randomId()), {
            opened: () => {},
            alive: () => {},
            frames: () => {},
            error: () => {},
            ended: (_, { code, opened }) => {
                this.probing = null;
                this.onProbed(opened && code === 1000);
            },
        }, { silenceMs: FIRST_WAIT_MS });
        this.probing.open();
    }

    cancel() {
        clearTimeout(this.timer ?? undefined);
        this.timer = null;
        this.probing?.close();
        this.probing = null;
    }

    /** Websockets are worth trying soon again: one has lasted, or the network is another. */
    reset() {
        this.backoff.reset();
    }
}
