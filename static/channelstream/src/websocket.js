const HEARTBEAT_MS = 10_000;

/** A proxy that swallows the handshake gives neither an open nor a close event for minutes. */
const OPENING_LIMIT_MS = 10_000;

/** A socket that stays open this long works, even when the server has nothing to say. */
const PROVEN_AFTER_MS = 5_000;

/** Silence that ends a socket: this long at least, and three times the server's longest pause between heartbeats. */
const SILENCE_MS = 30_000;

/**
 * One websocket: from opening to the single report of its end.
 *
 * Its owner passes `events`: `opened(event)`, `alive()` once the socket has proved to work, `messages(list)`,
 * `error(event)`, and at last `ended(event, {code, opened, spoke})`. After `close()` none of them is called.
 */
export class WebSocketListener {
    /**
     * @param {string} url
     * @param {object} events
     */
    constructor(url, events) {
        this.url = url;
        this.events = events;
        this.socket = null;
        this.opened = false;
        this.spoke = false;
        this.finished = false;
        this.timers = {};
        this.lastHeartbeatAt = null;
        this.longestPauseMs = null;
    }

    open() {
        try {
            this.socket = new WebSocket(this.url);
        } catch (error) {
            // A page served over https may not open ws: addresses; that is an end like any other.
            this.timers.opening = setTimeout(() => this.end(error, 1006), 0);
            return;
        }
        this.timers.opening = setTimeout(() => this.end({ type: 'timeout' }, 1006), OPENING_LIMIT_MS);
        this.socket.onopen = (event) => this.onOpen(event);
        this.socket.onmessage = (event) => this.onMessage(event);
        this.socket.onerror = (event) => this.events.error(event);
        this.socket.onclose = (event) => this.end(event, event.code);
    }

    /** Tells the server every ten seconds that this end is still there. */
    startHeartbeats() {
        clearInterval(this.timers.heartbeat);
        this.timers.heartbeat = setInterval(() => {
            if (this.socket.readyState === 1) {
                this.socket.send(JSON.stringify({ type: 'heartbeat' }));
            }
        }, HEARTBEAT_MS);
    }

    /** Closes without any report. */
    close() {
        this.finish();
        if (this.socket) {
            this.socket.close();
        }
    }

    onOpen(event) {
        clearTimeout(this.timers.opening);
        this.opened = true;
        this.timers.proven = setTimeout(() => this.events.alive(), PROVEN_AFTER_MS);
        this.events.opened(event);
    }

    onMessage(event) {
        if (!this.spoke) {
            this.spoke = true;
            clearTimeout(this.timers.proven);
            this.events.alive();
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
            this.events.messages(list);
        }
    }

    /** How often heartbeats come is a setting of the server, and old servers may send none at all. */
    learnPause() {
        const now = Date.now();
        if (this.lastHeartbeatAt !== null) {
            this.longestPauseMs = Math.max(this.longestPauseMs ?? 0, now - this.lastHeartbeatAt);
        }
        this.lastHeartbeatAt = now;
    }

    watchSilence() {
        if (this.longestPauseMs === null || this.finished) {
            return;
        }
        clearTimeout(this.timers.silence);
        const limitMs = Math.max(SILENCE_MS, 3 * this.longestPauseMs);
        this.timers.silence = setTimeout(() => this.end({ type: 'silence' }, 1006), limitMs);
    }

    end(event, code) {
        if (this.finished) {
            return;
        }
        const { opened, spoke } = this;
        this.close();
        this.events.ended(event, { code, opened, spoke });
    }

    finish() {
        this.finished = true;
        clearTimeout(this.timers.opening);
        clearTimeout(this.timers.proven);
        clearTimeout(this.timers.silence);
        clearInterval(this.timers.heartbeat);
        if (this.socket) {
            this.socket.onopen = null;
            this.socket.onmessage = null;
            this.socket.onerror = null;
            this.socket.onclose = null;
        }
    }
}
