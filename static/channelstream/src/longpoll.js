import { execute } from './call.js';
import { isIdle } from './positions.js';
import { ChannelStreamRequest } from './request.js';

/** The server did not wait before an empty response that arrives sooner: it is stopping, so polls must slow down. */
const HASTY_MS = 1_000;

/** A poll may take this many times as long as the longest wait so far, within these bounds. */
const WAITS = 3;
const LEAST_LIMIT_MS = 15_000;
const MOST_LIMIT_MS = 120_000;

/**
 * @typedef {object} LongPollEvents
 * @property {(request: XMLHttpRequest, list?: any[]) => void} opened with the first poll, or with the first response
 * @property {() => void} alive with each response
 * @property {(list: any[]) => () => void} received returns the function that passes the list on
 * @property {(request: XMLHttpRequest, data: any, end: {status: number, answered: boolean}) => void} ended
 */

/** Sends one poll after the other until one fails or `close()` is called. Reports nothing after `close()`. */
export class LongPollListener {
    /**
     * @param {(first: boolean) => string} url the address of the next poll
     * @param {LongPollEvents} events
     * @param {object} options
     * @param {boolean} options.trusted whether the server has just issued the id, so that the first poll already counts
     *     as listening; otherwise the first response that was not hasty does
     */
    constructor(url, events, { trusted }) {
        this.url = url;
        this.events = events;
        this.announceEarly = trusted;
        this.answers = 0;
        this.announced = false;
        this.finished = false;
        /** @type {(() => void) | null} */
        this.onPause = null;
        /** @type {?number} the longest time for which the server has held a poll */
        this.longestMs = null;
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.timer = undefined;
        /** @type {?ChannelStreamRequest} */
        this.poll = null;
        this.sentAt = 0;
    }

    open() {
        const poll = new ChannelStreamRequest();
        this.poll = poll;
        this.sentAt = Date.now();
        poll.url = this.url(this.answers === 0);
        poll.timeoutMs = this.limitMs();
        poll.handleResponse = (request, data) => this.onAnswer(request, data);
        poll.handleError = (request, data) => this.end(request, data, request.status);
        execute(poll, 'GET');
        if (this.announceEarly && poll.request && !this.finished) {
            this.announce(poll.request);
        }
    }

    /** Ends the current poll without a report. */
    close() {
        this.finished = true;
        clearTimeout(this.timer);
        this.poll?.abort();
    }

    /**
     * Stops polling after the current poll, and calls back when that poll is answered. From then on no poll is in
     * flight and new frames wait on the server. A failure of the current poll is reported as usual.
     *
     * @param {() => void} paused
     */
    pause(paused) {
        this.onPause = paused;
    }

    /** Continues to poll after a pause. */
    resume() {
        if (!this.finished) {
            this.open();
        }
    }

    /** The connection may be dead. Sends the poll again if it takes longer than any poll before. */
    checkAlive() {
        const { poll, longestMs } = this;
        if (longestMs === null || !poll) {
            return;
        }
        clearTimeout(this.timer);
        this.timer = setTimeout(() => {
            if (poll === this.poll) {
                poll.abort();
                this.open();
            }
        }, Math.max(0, this.sentAt + longestMs + HASTY_MS - Date.now()));
    }

    limitMs() {
        const limitMs = this.longestMs === null ? MOST_LIMIT_MS : WAITS * this.longestMs;
        return Math.min(MOST_LIMIT_MS, Math.max(LEAST_LIMIT_MS, limitMs));
    }

    /**
     * @param {XMLHttpRequest} request
     * @param {any[]} [list]
     */
    announce(request, list) {
        if (!this.announced) {
            this.announced = true;
            this.events.opened(request, list);
        }
    }

    /**
     * @param {XMLHttpRequest} request
     * @param {any} list
     */
    onAnswer(request, list) {
        if (this.finished) {
            return;
        }
        if (!Array.isArray(list)) {
            // A page of a proxy or a captive portal, not a response of the server.
            this.end(request, list, request.status === 400 ? 400 : 0);
            return;
        }
        this.answers += 1;
        const tookMs = Date.now() - this.sentAt;
        const idle = isIdle(list);
        const hasty = idle && tookMs < HASTY_MS;
        if (!hasty && idle) {
            // Responses with frames do not count, because frames end the wait early.
            this.longestMs = Math.max(this.longestMs ?? 0, tookMs);
        }
        if (!hasty || this.answers > 1) {
            this.events.alive();
            this.announce(request, list);
        }
        // Sends the next poll before it delivers the frames, and without a timer: browsers delay the timers of hidden
        // pages by up to a minute, and the server would regard this client as gone. Its address names what has arrived.
        const deliver = this.events.received(list);
        this.goOn(hasty);
        deliver();
    }

    /** @param {boolean} hasty */
    goOn(hasty) {
        const paused = this.onPause;
        this.onPause = null;
        if (this.finished) {
            return;
        }
        this.poll = null;
        if (paused) {
            paused();
        } else if (hasty) {
            this.timer = setTimeout(() => this.open(), HASTY_MS * (0.5 + Math.random()));
        } else {
            this.open();
        }
    }

    /**
     * @param {XMLHttpRequest} request
     * @param {any} data
     * @param {number} status
     */
    end(request, data, status) {
        if (this.finished) {
            return;
        }
        this.close();
        this.events.ended(request, data, { status, answered: this.answers > 0 });
    }
}
