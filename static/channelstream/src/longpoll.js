import { execute } from './call.js';
import { ChannelStreamRequest } from './request.js';

/** An empty answer that comes sooner was not waited for: the server is stopping, and must not be hammered. */
const HASTY_MS = 1_000;

/** A poll may take so many times as long as the server has let one wait, but within these bounds. */
const WAITS = 3;
const LEAST_LIMIT_MS = 15_000;
const MOST_LIMIT_MS = 120_000;

/**
 * @typedef {object} LongPollEvents
 * @property {(request: XMLHttpRequest) => void} opened with the first poll, or with the first answer
 * @property {() => void} alive with each answer
 * @property {(list: any[]) => void} frames
 * @property {(request: XMLHttpRequest, data: any, end: {status: number, answered: boolean}) => void} ended
 */

/** Polls one after the other until one fails or `close()` is called. After `close()` nothing is reported. */
export class LongPollListener {
    /**
     * @param {string} url
     * @param {LongPollEvents} events
     * @param {object} options
     * @param {boolean} options.trusted whether the id was given out a moment ago, so that listening may be announced
     *     with the first poll; otherwise it waits for the first answer that was not hasty
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
        /** @type {?number} as long as the server has let a poll wait */
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
        poll.url = this.url;
        poll.timeoutMs = this.limitMs();
        poll.handleResponse = (request, data) => this.onAnswer(request, data);
        poll.handleError = (request, data) => this.end(request, data, request.status);
        execute(poll, 'GET');
        if (this.announceEarly && poll.request && !this.finished) {
            this.announce(poll.request);
        }
    }

    /** Ends the running poll without any report. */
    close() {
        this.finished = true;
        clearTimeout(this.timer);
        this.poll?.abort();
    }

    /**
     * Polls no more after the running poll, and calls back when that one is answered: no poll is under way then, and
     * what comes waits on the server. If it fails, that is reported as ever.
     *
     * @param {() => void} paused
     */
    pause(paused) {
        this.onPause = paused;
    }

    /** Goes on polling after a pause. */
    resume() {
        if (!this.finished) {
            this.open();
        }
    }

    /** Something speaks for a dead connection. A poll that takes longer than they ever did is sent anew. */
    doubt() {
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

    /** @param {XMLHttpRequest} request */
    announce(request) {
        if (!this.announced) {
            this.announced = true;
            this.events.opened(request);
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
            // A page of a proxy or a portal: not from our server.
            this.end(request, list, request.status === 400 ? 400 : 0);
            return;
        }
        this.answers += 1;
        const tookMs = Date.now() - this.sentAt;
        const hasty = list.length === 0 && tookMs < HASTY_MS;
        if (!hasty && list.length === 0) {
            // An answer with frames came sooner than it would have.
            this.longestMs = Math.max(this.longestMs ?? 0, tookMs);
        }
        if (!hasty || this.answers > 1) {
            this.events.alive();
            this.announce(request);
        }
        // The next poll is under way before frames are handed on, and without a timer: browsers hold back those of
        // hidden pages for up to a minute, and the server would take this client for gone.
        this.goOn(hasty);
        if (list.length > 0) {
            this.events.frames(list);
        }
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
