import { Rhythm } from './rhythm.js';

const HEARTBEAT_MS = 10_000;

/** A proxy that swallows the handshake gives neither an open nor a close event for minutes. */
export const OPENING_LIMIT_MS = 5_000;

/** A socket that stays open this long works, even when the server has nothing to say. */
const PROVEN_AFTER_MS = 5_000;

/**
 * The server accepts sockets with ids that it does not know, and closes them at once. One with an old id is told to be
 * open when it has carried a frame, or has lasted this long.
 */
const SETTLED_AFTER_MS = 500;

/** Silence below this never ends a socket, however quick the server's heartbeats are. */
const SILENCE_MS = 15_000;

/** A timer that comes this much too late ran on a machine that slept; frames may be waiting behind it. */
const ASLEEP_MS = 2_000;

/** How long a socket that is doubted may take to show that it lives, beyond one pause of the server. */
const DOUBT_MS = 2_000;

/**
 * @typedef {object} WebSocketEvents
 * @property {(event: Event) => void} opened
 * @property {() => void} alive once the socket has proved to work
 * @property {(list: any[]) => void} frames
 * @property {(event: any) => void} error
 * @property {(event: any, end: SocketEnd) => void} ended
 *
 * @typedef {object} SocketEnd
 * @property {number} code
 * @property {string} reason
 * @property {boolean} opened
 * @property {boolean} spoke whether a frame came
 * @property {boolean} clean whether the server may have sent nothing that did not arrive
 */

/** One websocket: from opening to the single report of its end. After `close()` nothing is reported. */
export class WebSocketListener {
    /**
     * @param {string} url
     * @param {WebSocketEvents} events
     * @param {object} [options]
     * @param {boolean} [options.trusted] whether the id is known to the server, so that open means open
     * @param {Rhythm} [options.rhythm] of the server, as far as earlier sockets have learnt it
     * @param {?number} [options.silenceMs] silence that ends the socket, instead of what the rhythm says
     */
    constructor(url, events, { trusted = true, rhythm = new Rhythm(), silenceMs = null } = {}) {
        this.url = url;
        this.events = events;
        this.trusted = trusted;
        this.rhythm = rhythm;
        this.silenceMs = silenceMs;
        /** @type {?WebSocket} */
        this.socket = null;
        this.opened = false;
        this.announced = false;
        this.spoke = false;
        this.finished = false;
        /** @type {Record<string, any>} */
        this.timers = {};
        /** @type {?number} */
        this.lastHeartbeatAt = null;
        this.lastHeardAt = Date.now();
        this.heartbeatsWanted = () => false;
    }

    open() {
        try {
            this.socket = new WebSocket(this.url);
        } catch (error) {
            // A page served over https may not open ws: addresses; that is an end like any other.
            this.timers.opening = setTimeout(() => this.end(error, 1006), 0);
            return;
        }
        this.timers.opening = setTimeout(() => this.end({ type: 'timeout' }, 1006, 'opening took too long'), OPENING_LIMIT_MS);
        this.socket.onopen = (event) => this.onOpen(event);
        this.socket.onmessage = (event) => this.onMessage(event);
        this.socket.onerror = (event) => this.events.error(event);
        this.socket.onclose = (event) => this.end(event, event.code, event.reason);
    }

    /**
     * Tells the server every ten seconds that this end is still there.
     *
     * @param {() => boolean} wanted asked each time
     */
    startHeartbeats(wanted) {
        this.heartbeatsWanted = wanted;
        clearInterval(this.timers.heartbeat);
        this.timers.heartbeat = setInterval(() => this.sendHeartbeat(), HEARTBEAT_MS);
    }

    sendHeartbeat() {
        if (this.socket?.readyState === 1 && this.heartbeatsWanted()) {
            this.socket.send(JSON.stringify({ type: 'heartbeat' }));
        }
    }

    /** Closes without any report. */
    close() {
        this.finish();
        this.socket?.close();
    }

    /** Something speaks for a dead connection. If the server stays silent longer than usual, the socket ends. */
    doubt() {
        if (!this.opened) {
            return;
        }
        // With the server gone this makes the system notice, sooner or later.
        this.sendHeartbeat();
        const pauseMs = this.rhythm.longestMs;
        if (pauseMs !== null) {
            const restMs = pauseMs - (Date.now() - this.lastHeardAt);
            this.expectFrame(Math.max(0, restMs) + DOUBT_MS);
        }
    }

    /** @param {Event} event */
    onOpen(event) {
        clearTimeout(this.timers.opening);
        this.opened = true;
        this.lastHeardAt = Date.now();
        this.timers.proven = setTimeout(() => this.events.alive(), PROVEN_AFTER_MS);
        this.watchSilence();
        if (this.trusted) {
            this.announce(event);
        } else {
            this.timers.settled = setTimeout(() => this.announce(event), SETTLED_AFTER_MS);
        }
    }

    /** @param {Event} event */
    announce(event) {
        if (!this.announced) {
            this.announced = true;
            this.events.opened(event);
        }
    }

    /** @param {Event} event */
    onFirstMessage(event) {
        this.spoke = true;
        clearTimeout(this.timers.proven);
        clearTimeout(this.timers.settled);
        this.announce(event);
        this.events.alive();
    }

    /** @param {MessageEvent} event */
    onMessage(event) {
        this.lastHeardAt = Date.now();
        if (!this.spoke) {
            this.onFirstMessage(event);
        }
        let list;
        try {
            list = JSON.parse(event.data);
        } catch {
            this.events.error(event);
            return;
        }
        if (Array.isArray(list) && list.length === 0) {
            this.learnPause();
        }
        this.watchSilence();
        if (Array.isArray(list) && list.length > 0) {
            this.events.frames(list);
        }
    }

    learnPause() {
        if (this.lastHeartbeatAt !== null) {
            this.rhythm.note(this.lastHeardAt - this.lastHeartbeatAt);
        }
        this.lastHeartbeatAt = this.lastHeardAt;
    }

    watchSilence() {
        const limitMs = this.silenceMs ?? this.rhythm.limitMs(SILENCE_MS);
        if (limitMs !== null && !this.finished) {
            this.expectFrame(limitMs);
        }
    }

    /** @param {number} withinMs */
    expectFrame(withinMs) {
        clearTimeout(this.timers.silence);
        const dueAt = Date.now() + withinMs;
        this.timers.silence = setTimeout(() => {
            if (Date.now() - dueAt > ASLEEP_MS) {
                this.expectFrame(DOUBT_MS);
            } else {
                this.end({ type: 'silence' }, 1006, 'nothing heard');
            }
        }, withinMs);
    }

    /**
     * @param {any} event
     * @param {number} code
     * @param {string} [reason]
     */
    end(event, code, reason = '') {
        if (this.finished) {
            return;
        }
        const { opened, spoke } = this;
        // One that was refused has carried nothing; one that never opened may have been taken for open by the server.
        const clean = opened ? code !== 1006 : event?.type !== 'timeout';
        this.close();
        this.events.ended(event, { code, reason, opened, spoke, clean });
    }

    finish() {
        this.finished = true;
        Object.values(this.timers).forEach(clearTimeout);
        if (this.socket) {
            this.socket.onopen = null;
            this.socket.onmessage = null;
            this.socket.onerror = null;
            this.socket.onclose = null;
        }
    }
}
