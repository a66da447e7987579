/** @typedef {import('../index.js').StoredMessage} StoredMessage */

/** So many messages are remembered as seen, if no more are kept. */
const SEEN_LIMIT = 1_000;

/** The last messages of a channel, oldest first: what the server's history told, and what came since. */
export class History {
    /** @param {number} limit how many to keep */
    constructor(limit) {
        this.limit = limit;
        /** @type {StoredMessage[]} */
        this.messages = [];
        /** @type {Set<string>} ids of messages that came, oldest first */
        this.seen = new Set();
        this.hasForgotten = false;
    }

    /**
     * Takes over the server's history. From its first message on that is the truth: what is not in it was taken back.
     * Older messages than it reaches back to stay.
     *
     * @param {StoredMessage[]} stored oldest first
     * @returns {StoredMessage[]} those that were never seen
     */
    load(stored) {
        const told = new Set(stored.map(({ uuid }) => uuid));
        const firstSeen = stored.findIndex(({ uuid }) => this.seen.has(uuid));
        // What lies before all that is remembered was seen so long ago that it is not.
        const missed = stored.filter(({ uuid }, at) => !this.seen.has(uuid) && !(this.hasForgotten && at < firstSeen));
        stored.forEach(({ uuid }) => this.remember(uuid));
        const common = this.messages.findIndex(({ uuid }) => told.has(uuid));
        const older = common < 0 ? this.messages : this.messages.slice(0, common);
        this.messages = [...older, ...stored];
        this.cut();
        return missed;
    }

    /** @param {string} uuid */
    remember(uuid) {
        this.seen.add(uuid);
        if (this.seen.size > Math.max(SEEN_LIMIT, this.limit)) {
            this.seen.delete(/** @type {string} */ (this.seen.values().next().value));
            this.hasForgotten = true;
        }
    }

    /** @param {any} frame */
    apply(frame) {
        const at = this.messages.findIndex(({ uuid }) => uuid === frame.uuid);
        if (frame.type === 'message') {
            this.remember(frame.uuid);
            this.put(at, frame);
        } else if (frame.type === 'message:edit' && at >= 0) {
            // Absent keys were not changed; `type` and `catchup` are the frame's own.
            const { type, catchup, ...changes } = frame;
            this.put(at, { ...this.messages[at], ...changes });
        } else if (frame.type === 'message:delete' && at >= 0) {
            this.messages = this.messages.filter((_, index) => index !== at);
        }
    }

    /**
     * @param {number} at negative for the end
     * @param {StoredMessage} message
     */
    put(at, message) {
        // A new list each time: pages may hold on to the one they were given.
        this.messages = at < 0 ? [...this.messages, message] : this.messages.map((m, i) => (i === at ? message : m));
        this.cut();
    }

    cut() {
        if (this.messages.length > this.limit) {
            this.messages = this.messages.slice(this.messages.length - this.limit);
        }
    }
}
