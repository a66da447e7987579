/** A silence of this many pauses means that the connection is lost. */
const PAUSES = 3;

/** A pause that is longer by more than this factor is a gap: the machine was asleep or the network was down. */
const GAP = 2;

/**
 * Learns how often the server sends heartbeats. The interval is a setting of the server, and some servers send no
 * heartbeats. This class reads no clock.
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
     * The longest silence of a working connection.
     *
     * @param {number} leastMs
     * @returns {?number} null while the interval is unknown
     */
    limitMs(leastMs) {
        return this.longestMs === null ? null : Math.max(leastMs, PAUSES * this.longestMs);
    }
}
