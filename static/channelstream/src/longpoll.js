import { ChannelStreamRequest } from './request.js';

/** An empty answer that comes sooner was not waited for: the server is stopping, and must not be hammered. */
const HASTY_MS = 1_000;

/**
 * Polls one after the other until one fails or `close()` is called.
 *
 * Its owner passes `events`: `opened(request)` with the first poll, `alive()` with each answer, `messages(list)`, and
 * at last `ended(request, data, {status, answered})`. After `close()` none of them is called.
 */
export class LongPollListener {
    /**
     * @param {string} url
     * @param {object} events
     * @param {object} options
     * @param {boolean} options.trusted whether the id was given out a moment ago, so that listening may be announced
     *     with the first poll; otherwise it waits for the first answer
     */
    constructor(url, events, { trusted }) {
        this.url = url;
        this.events = events;
        this.announceEarly = trusted;
        this.answered = false;
        this.announced = false;
        this.finished = false;
        this.timer = null;
        this.poll = null;
    }

    open() {
        const poll = new ChannelStreamRequest();
        const sentAt = Date.now();
        poll.url = this.url;
        poll.handleResponse = (request, data) => this.onAnswer(request, data, Date.now() - sentAt);
        poll.handleError = (request, data) => this.end(request, data, request.status);
        poll.execute('GET');
        this.poll = poll;
        if (this.announceEarly) {
            this.announce(poll.request);
        }
    }

    /** Ends the running poll without any report. */
    close() {
        this.finished = true;
        clearTimeout(this.timer);
        if (this.poll) {
            this.poll.abort();
        }
    }

    announce(request) {
        if (!this.announced) {
            this.announced = true;
            this.events.opened(request);
        }
    }

    onAnswer(request, list, tookMs) {
        if (this.finished) {
            return;
        }
        if (!Array.isArray(list)) {
            // A page of a proxy or a portal with status 200: not from our server.
            this.end(request, list, 0);
            return;
        }
        this.answered = true;
        this.events.alive();
        this.announce(request);
        const hasty = list.length === 0 && tookMs < HASTY_MS;
        // The next poll is under way before the page's code runs: what that throws must not end the listening.
        this.timer = setTimeout(() => this.open(), hasty ? HASTY_MS * (0.5 + Math.random()) : 0);
        if (list.length > 0 && !this.finished) {
            this.events.messages(list);
        }
    }

    end(request, data, status) {
        if (this.finished) {
            return;
        }
        this.close();
        this.events.ended(request, data, { status, answered: this.answered });
    }
}
