import { fromJson } from './untrusted.js';
import { OPENING_LIMIT_MS } from './websocket.js';

/** Browsers do not report heartbeats of an event stream. After this silence the library opens the stream again. */
const SILENCE_MS = 120_000;

/** A stream that may be dead counts as alive if something has arrived within this time. */
const DOUBT_MS = 15_000;

/** Events that carry a list, in addition to the frames, which are unnamed. */
const LISTS = ['message', 'attached', 'subscribed', 'token'];

/**
 * @typedef {object} StreamEnd
 * @property {number} code the close code that the server has sent, or 1006
 * @property {string} reason
 * @property {boolean} opened whether anything has ever arrived
 * @property {boolean} empty whether the server has answered and sent nothing, because it is busy or stops
 * @property {boolean} refused whether the browser has given up, because the answer is not an event stream
 * @property {boolean} clean whether all frames that the server sent have arrived
 *
 * @typedef {object} StreamEvents
 * @property {(event: any, list: any) => void} opened
 * @property {() => void} alive
 * @property {(list: any[], cursor: string) => void} frames with the latest cursor, or an empty text
 * @property {(event: any, end: StreamEnd) => void} ended
 */

/**
 * One stream of server-sent events, from opening to the single report of its end. The library reconnects by itself, with
 * its own waits and positions, because browsers repeat the same address without spreading. Reports nothing after
 * `close()`.
 */
export class EventSourceListener {
    /**
     * @param {() => string} url the address, which names what has arrived
     * @param {StreamEvents} events
     * @param {?number} silenceMs the silence after which the stream is opened again
     */
    constructor(url, events, silenceMs) {
        this.url = url;
        this.events = events;
        this.silenceMs = silenceMs ?? SILENCE_MS;
        this.announced = false;
        this.finished = false;
        /** @type {?EventSource} */
        this.source = null;
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.timer = undefined;
        this.lastAt = 0;
        /** Whether the server has answered, and whether it has sent anything. */
        this.answered = false;
        this.opened = false;
    }

    open() {
        this.source?.close();
        this.answered = false;
        this.opened = false;
        this.expect(OPENING_LIMIT_MS, () => this.end({ type: 'timeout' }, {}));
        try {
            this.source = new EventSource(this.url());
        } catch (error) {
            this.expect(0, () => this.end(error, { refused: true }));
            return;
        }
        const { source } = this;
        source.onopen = () => { this.answered = true; };
        source.onerror = (event) => this.end(event, { refused: !this.answered && source.readyState === 2 });
        LISTS.forEach((name) => source.addEventListener(name, (event) => this.onList(event)));
        source.addEventListener('end', (event) => this.onEnd(event));
    }

    /** Closes without any report. */
    close() {
        this.finished = true;
        this.pause(() => {});
    }

    /**
     * Closes the stream, so that new frames wait on the server, and calls back.
     *
     * @param {() => void} paused
     */
    pause(paused) {
        clearTimeout(this.timer);
        this.source?.close();
        this.source = null;
        paused();
    }

    /** Opens the stream again after a pause. */
    resume() {
        if (!this.finished) {
            this.open();
        }
    }

    /** The connection may be dead. */
    checkAlive() {
        if (this.opened && Date.now() - this.lastAt > DOUBT_MS) {
            this.open();
        }
    }

    /**
     * @param {number} ms
     * @param {() => void} otherwise
     */
    expect(ms, otherwise) {
        clearTimeout(this.timer);
        this.timer = setTimeout(otherwise, ms);
    }

    /** @param {MessageEvent} event */
    onList(event) {
        const list = fromJson(event.data);
        if (this.finished || !Array.isArray(list)) {
            return;
        }
        this.lastAt = Date.now();
        this.expect(this.silenceMs, () => this.open());
        if (!this.opened) {
            this.opened = true;
            this.events.alive();
        }
        if (!this.announced) {
            this.announced = true;
            this.events.opened(event, list);
        }
        this.events.frames(list, event.lastEventId);
    }

    /** @param {MessageEvent} event */
    onEnd(event) {
        const { code, reason } = fromJson(event.data) ?? {};
        this.end(event, { code: Number(code) || 1006, reason: String(reason ?? '') });
    }

    /**
     * @param {any} event
     * @param {{code?: number, reason?: string, refused?: boolean}} how
     */
    end(event, { code = 1006, reason = '', refused = false }) {
        if (this.finished) {
            return;
        }
        const ordered = code !== 1006;
        const isLate = event?.type === 'timeout';
        // The server has answered and sent nothing.
        const empty = this.answered && !this.opened && !ordered && !isLate;
        const clean = ordered || !(this.answered || isLate);
        this.close();
        this.events.ended(event, { code, reason, opened: this.announced || ordered, empty, refused, clean });
    }
}
