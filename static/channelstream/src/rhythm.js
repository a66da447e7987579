/** So many of the server's pauses without a sign are too many. */
const PAUSES = 3;

/** A pause that differs from the others by more than this is a gap: the machine slept, or the network. */
const GAP = 2;

/**
 * How often the server lets hear from itself. That is a setting of the server, and some let nothing be heard at all:
 * so it is learnt. Without a clock.
 */
export class Rhythm {
    constructor() {
        /** @type {?number} */
        this.longestMs = null;
    }

    /** @param {number} pauseMs between two heartbeats */
    note(pauseMs) {
        if (this.longestMs === null || pauseMs * GAP < this.longestMs) {
            this.longestMs = pauseMs;
        } else if (pauseMs < this.longestMs * GAP) {
            this.longestMs = Math.max(this.longestMs, pauseMs);
        }
    }

    /**
     * Silence that is too long.
     *
     * @param {number} leastMs
     * @returns {?number} null while the rhythm is not known
     */
    limitMs(leastMs) {
        return this.longestMs === null ? null : Math.max(leastMs, PAUSES * this.longestMs);
    }
}
