/** The longest delay of timers. Browsers treat a longer delay, or a value that is not a number, as zero. */
const TIMER_LIMIT_MS = 2 ** 31 - 1;

/** The bound if the settings are not times. */
const FALLBACK_MS = 60_000;

/**
 * @param {number} ms the application's setting, which may be any value
 * @returns {number} milliseconds that a timer can wait
 */
export function boundOf(ms) {
    const number = Number(ms ?? NaN);
    return Number.isNaN(number) ? FALLBACK_MS : Math.min(Math.max(number, 0), TIMER_LIMIT_MS);
}

/**
 * How long to wait before the next attempt: full jitter, a random time between zero and a bound that doubles with every
 * failure. This spreads the reconnects of all clients after a restart of the server.
 */
export class Backoff {
    /**
     * @param {object} [options]
     * @param {() => number} [options.random] from 0 to below 1
     */
    constructor({ random = Math.random } = {}) {
        this.random = random;
        this.failures = 0;
    }

    /**
     * The wait after one more failure.
     *
     * @param {number} baseMs the bound after the first failure
     * @param {number} capMs the bound never grows beyond this
     * @returns {number} milliseconds
     */
    next(baseMs, capMs) {
        const boundMs = Math.min(boundOf(capMs), boundOf(baseMs) * 2 ** this.failures);
        this.failures += 1;
        return this.random() * boundMs;
    }

    /** Must be called when the other side is known to work, not when it has only accepted a connection. */
    reset() {
        this.failures = 0;
    }
}
