import { Backoff } from './backoff.js';
import { WebSocketListener } from './websocket.js';

/** The bounds of the first and of the longest wait before the websocket is tried again. */
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 300_000;

/** A websocket that lasts this long counts as working. */
export const LASTING_MS = 60_000;

/** @returns {string} a random UUID; browsers offer `crypto.randomUUID` only on https and localhost */
export function randomId() {
    const bytes = new Uint8Array(16).map(() => Math.floor(Math.random() * 256));
    globalThis.crypto?.getRandomValues?.(bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
    return [8, 12, 16, 20].reduceRight((text, at) => `${text.slice(0, at)}-${text.slice(at)}`, hex);
}

/**
 * Detects, while the connection listens over long-polling, when websockets work again.
 *
 * A probe does not use the connection's own id. A handshake whose response a proxy drops would take over the
 * connection, and the server would send its frames to a dead socket. The server accepts a socket with an unknown id and
 * closes it immediately with 1000. Such a socket therefore proves both directions and affects no connection.
 */
export class Upgrade {
    /**
     * @param {(id: string) => string} urlFor the websocket's address with a connection id; empty to open no probe,
     *     because the server would refuse it, and lost frames are sent again
     * @param {(works: boolean) => void} onProbed called after each probe
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

    /** Whether a probe is scheduled or in flight. */
    get busy() {
        return Boolean(this.timer || this.probing);
    }

    /** Schedules the next probe. The wait grows with each failure. */
    schedule() {
        this.cancel();
        const boundMs = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.backoff.failures);
        // Waits at least half of the bound, because an immediate retry would probably fail too.
        const waitMs = boundMs / 2 + this.backoff.next(FIRST_WAIT_MS, LONGEST_WAIT_MS) / 2;
        this.timer = setTimeout(() => this.probe(), waitMs);
    }

    probe() {
        this.timer = null;
        const url = this.urlFor(randomId());
        if (!url) {
            this.onProbed(true);
            return;
        }
        this.probing = new WebSocketListener(url, {
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

    /** Makes the next wait short, after a websocket has lasted or the network has changed. */
    reset() {
        this.backoff.reset();
    }
}
