import { isIdle } from './positions.js';
import { Rhythm } from './rhythm.js';
import { fromJson } from './untrusted.js';

const HEARTBEAT_MS = 10_000;

/** With a proxy that drops the handshake, browsers fire neither an open nor a close event for minutes. */
export const OPENING_LIMIT_MS = 5_000;

/** A socket that stays open this long works, even if the server sends nothing. */
const PROVEN_AFTER_MS = 5_000;

/**
 * The server accepts sockets with unknown ids and closes them immediately. A socket with an old id is therefore
 * reported as open only after it has carried a frame or has lasted this long.
 */
const SETTLED_AFTER_MS = 500;

/** A shorter silence never ends a socket, even if the server's heartbeats are frequent. */
const SILENCE_MS = 15_000;

/** A timer that fires this late ran on a machine that was asleep. Frames may be waiting behind it. */
const ASLEEP_MS = 2_000;

/** How long, beyond one heartbeat interval, a socket that may be dead can take to deliver a frame. */
const DOUBT_MS = 2_000;

/**
 * @typedef {object} WebSocketEvents
 * @property {(event: Event, list?: any) => void} opened with the first list, if one has arrived
 * @property {() => void} alive when the socket is known to work
 * @property {(list: any[]) => void} frames
 * @property {(event: any) => void} error
 * @property {(event: any, end: SocketEnd) => void} ended
 *
 * @typedef {object} SocketEnd
 * @property {number} code
 * @property {string} reason
 * @property {boolean} opened
 * @property {boolean} receivedFrame whether a frame arrived
 * @property {boolean} clean whether all frames that the server sent have arrived
 */

/** One websocket, from opening to the single report of its end. Reports nothing after `close()`. */
export class WebSocketListener {
    /**
     * @param {string} url
     * @param {WebSocketEvents} events
     * @param {object} [options]
     * @param {boolean} [options.trusted] whether the server knows the id, so that an open socket stays open
     * @param {Rhythm} [options.rhythm] the server's heartbeat interval, as earlier sockets have learnt it
     * @param {?number} [options.silenceMs] the silence that ends the socket; overrides the rhythm
     * @param {string[]} [options.protocols]
     */
    constructor(url, events, { trusted = true, rhythm = new Rhythm(), silenceMs = null, protocols = [] } = {}) {
        this.url = url;
        this.events = events;
        this.trusted = trusted;
        this.rhythm = rhythm;
        this.silenceMs = silenceMs;
        this.protocols = protocols;
        /** @type {?WebSocket} */
        this.socket = null;
        this.opened = false;
        this.announced = false;
        this.receivedFrame = false;
        this.hasCursor = false;
        this.finished = false;
        /** @type {Record<string, any>} */
        this.timers = {};
        /** @type {?number} */
        this.lastHeartbeatAt = null;
        this.lastFrameAt = Date.now();
        this.heartbeatsWanted = () => false;
    }

    open() {
        try {
            this.socket = new WebSocket(this.url, this.protocols);
        } catch (error) {
            // A page served over https cannot open ws: addresses. This is reported like any other end.
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
     * Sends a heartbeat every ten seconds, so that the server knows that this client is alive.
     *
     * @param {() => boolean} wanted called each time
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

    /** The connection may be dead. The socket ends if the server stays silent for longer than usual. */
    checkAlive() {
        if (!this.opened) {
            return;
        }
        // If the server is gone, a write makes the operating system detect that eventually.
        this.sendHeartbeat();
        const pauseMs = this.rhythm.longestMs;
        if (pauseMs !== null) {
            const restMs = pauseMs - (Date.now() - this.lastFrameAt);
            this.expectFrame(Math.max(0, restMs) + DOUBT_MS);
        }
    }

    /** @param {Event} event */
    onOpen(event) {
        clearTimeout(this.timers.opening);
        this.opened = true;
        this.lastFrameAt = Date.now();
        this.timers.proven = setTimeout(() => this.events.alive(), PROVEN_AFTER_MS);
        this.watchSilence();
        if (this.trusted) {
            this.announce(event);
        } else {
            this.timers.settled = setTimeout(() => this.announce(event), SETTLED_AFTER_MS);
        }
    }

    /**
     * @param {Event} event
     * @param {any} [list]
     */
    announce(event, list) {
        if (!this.announced) {
            this.announced = true;
            this.events.opened(event, list);
        }
    }

    /**
     * @param {Event} event
     * @param {any} list
     */
    onFirstMessage(event, list) {
        this.receivedFrame = true;
        clearTimeout(this.timers.proven);
        clearTimeout(this.timers.settled);
        this.announce(event, list);
        this.events.alive();
    }

    /** @param {MessageEvent} event */
    onMessage(event) {
        this.lastFrameAt = Date.now();
        const list = fromJson(event.data);
        if (!this.receivedFrame) {
            this.onFirstMessage(event, list);
        }
        if (list === undefined) {
            this.events.error(event);
            return;
        }
        if (Array.isArray(list) && isIdle(list)) {
            this.onHeartbeat(list);
        }
        this.watchSilence();
        if (Array.isArray(list) && list.length > 0) {
            this.events.frames(list);
        }
    }

    /**
     * The first cursor belongs to the start, and only later ones replace a heartbeat.
     *
     * @param {any[]} list
     */
    onHeartbeat(list) {
        if (list.length === 0 || this.hasCursor) {
            this.learnPause();
        }
        this.hasCursor ||= list.length > 0;
    }

    learnPause() {
        if (this.lastHeartbeatAt !== null) {
            this.rhythm.note(this.lastFrameAt - this.lastHeartbeatAt);
        }
        this.lastHeartbeatAt = this.lastFrameAt;
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
                this.end({ type: 'silence' }, 1006, 'no frame in time');
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
        const { opened, receivedFrame } = this;
        // A refused socket has lost nothing. After a timeout, the server may have regarded the socket as open.
        const clean = opened ? code !== 1006 : event?.type !== 'timeout';
        this.close();
        this.events.ended(event, { code, reason, opened, receivedFrame, clean });
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
