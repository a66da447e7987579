/**
 * How long to wait before trying again: full jitter, a random time between zero and a bound that doubles with every
 * failure. After a restart of the server its clients so come back spread out, not in one wave.
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
        const boundMs = Math.min(capMs, baseMs * 2 ** this.failures);
        this.failures += 1;
        return this.random() * boundMs;
    }

    /** To be called once the other side is known to work, not when it merely accepted a connection. */
    reset() {
        this.failures = 0;
    }
}
