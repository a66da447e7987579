import { boundOf } from './backoff.js';
import { ChannelStreamError } from './errors.js';

/** An application returns a token quickly or not at all. */
const ANSWER_LIMIT_MS = 30_000;

/** After this many failures in a row the connection gives up. */
const FAILURES = 3;

/** A token is replaced after this part of its lifetime, and at random up to a tenth earlier or later. */
const REPLACED_AT = 0.8;
const SPREAD = 0.1;

/** The least time between two requests for a token of the same session. */
const HURRY_MS = 1_000;

/**
 * The content of a token, which the library does not verify.
 *
 * @param {string} token
 * @returns {{exp?: number, iat?: number}}
 */
function claimsOf(token) {
    try {
        return Object(JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))));
    } catch {
        return {};
    }
}

/**
 * @param {string} token
 * @returns {number} milliseconds for which the token is valid; Infinity if it does not say
 */
function lifetimeOf(token) {
    const { exp, iat } = claimsOf(token);
    if (typeof exp !== 'number') {
        return Infinity;
    }
    const leftMs = exp * 1000 - Date.now();
    const wholeMs = typeof iat === 'number' ? (exp - iat) * 1000 : leftMs;
    // The clock of this device may be wrong.
    return leftMs > 0 ? Math.min(leftMs, wholeMs) : wholeMs;
}

/** Requests connection tokens from the page's `getToken`, and replaces them before they expire. */
export class Tokens {
    /**
     * @param {any} settings with `getToken` and `username`, read each time they are needed
     * @param {object} events
     * @param {() => void} events.renewed a token has replaced one in use
     * @param {(error: ChannelStreamError, final: boolean) => void} events.failed
     */
    constructor(settings, events) {
        this.settings = settings;
        this.events = events;
        /** @type {?string} */
        this.token = null;
        this.expiresAt = 0;
        this.replaceAt = Infinity;
        this.failures = 0;
        /** Counts requests, so that a late answer to an earlier one has no effect. */
        this.turn = 0;
        /** @type {import('../index.js').TokenReason} why the next token is needed */
        this.reason = 'connect';
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.timer = undefined;
    }

    get enabled() {
        return typeof this.settings.getToken === 'function';
    }

    /** Ends requests and timers. The token stays. */
    cancel() {
        this.turn += 1;
        clearTimeout(this.timer);
    }

    /**
     * Forgets the token, because the server does not accept it any more.
     *
     * @param {import('../index.js').TokenReason} reason
     */
    drop(reason) {
        this.token = null;
        this.reason = reason;
    }

    /** The server has accepted the token. */
    accepted() {
        this.failures = 0;
    }

    /**
     * The server has refused the token.
     *
     * @param {string} why
     * @param {any} [data]
     * @returns {boolean} whether to try again
     */
    refused(why, data) {
        this.drop('refused');
        return this.fail(new ChannelStreamError('refused', 'token', why, { status: 401, data }));
    }

    /**
     * @param {ChannelStreamError} error
     * @returns {boolean} whether to try again
     */
    fail(error) {
        // Without a network no token can be requested, and that is no failure of the application.
        this.failures += globalThis.navigator?.onLine === false ? 0 : 1;
        const { turn } = this;
        const final = this.failures >= FAILURES;
        this.events.failed(error, final);
        return !final && turn === this.turn;
    }

    /**
     * Calls `use` when there is a valid token, at once if there is one already. Without `getToken` none is needed.
     *
     * @param {() => void} use
     * @param {() => void} again called after a failure that is not final
     */
    ensure(use, again) {
        if (!this.enabled) {
            use();
        } else if (this.token !== null && Date.now() < this.expiresAt) {
            this.arm(this.replaceAt - Date.now());
            use();
        } else {
            this.request(this.token === null ? this.reason : 'expired', use, again);
        }
    }

    /**
     * @param {import('../index.js').TokenReason} reason
     * @param {() => void} use
     * @param {() => void} again
     */
    request(reason, use, again) {
        this.cancel();
        const { turn } = this;
        /** @param {unknown} cause */
        const fail = (cause) => {
            if (turn === this.turn) {
                this.cancel();
                if (this.fail(new ChannelStreamError('answer', 'token', String(cause), { data: cause }))) {
                    again();
                }
            }
        };
        this.timer = setTimeout(fail, ANSWER_LIMIT_MS, 'no token in time');
        const asked = new Promise((resolve) => { resolve(this.settings.getToken({ user: this.settings.username, reason })); });
        asked.then((token) => {
            if (typeof token !== 'string' || token === '') {
                fail('getToken returned no text');
            } else if (turn === this.turn) {
                this.take(token);
                use();
            }
        }, fail);
    }

    /** @param {string} token */
    take(token) {
        const lifetimeMs = lifetimeOf(token);
        const part = REPLACED_AT + SPREAD * (2 * Math.random() - 1);
        this.token = token;
        this.reason = 'connect';
        this.expiresAt = Date.now() + lifetimeMs;
        this.replaceAt = Date.now() + Math.max(HURRY_MS, part * lifetimeMs);
        this.arm(this.replaceAt - Date.now());
    }

    /**
     * @param {number} delayMs
     * @param {import('../index.js').TokenReason} [reason]
     */
    arm(delayMs, reason = 'refresh') {
        clearTimeout(this.timer);
        if (delayMs < Infinity) {
            this.timer = setTimeout(() => this.replace(reason), boundOf(delayMs));
        }
    }

    /**
     * Replaces the token of a session that goes on. Failed attempts are spread over the time that is left.
     *
     * @param {import('../index.js').TokenReason} reason
     */
    replace(reason) {
        this.request(reason, () => this.events.renewed(), () => this.arm(this.pauseMs(), reason));
    }

    pauseMs() {
        return Math.max(HURRY_MS, (this.expiresAt - Date.now()) / FAILURES);
    }

    /**
     * The server's answer to a new token. If it was refused, the session goes on until the earlier one expires.
     *
     * @param {{error?: string, data?: any}} answer
     */
    answered({ error, data }) {
        if (error === undefined) {
            this.accepted();
        } else if (this.refused(error, data)) {
            this.arm(this.pauseMs(), 'refused');
        }
    }
}
