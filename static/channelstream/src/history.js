/** @typedef {import('../index.js').StoredMessage} StoredMessage */

/** At least this many ids are remembered as seen; more if more messages are kept. */
const SEEN_LIMIT = 1_000;

/** The last messages of a channel, oldest first: the server's history, and the messages received since. */
export class History {
    /** @param {number} limit how many messages to keep */
    constructor(limit) {
        this.limit = limit;
        /** @type {StoredMessage[]} */
        this.messages = [];
        /** @type {Set<string>} ids of received messages, oldest first */
        this.seen = new Set();
        this.hasForgotten = false;
    }

    /**
     * Takes over the server's history. It is complete from its first message on: later messages that it does not
     * contain were deleted. Messages older than its first one stay.
     *
     * @param {StoredMessage[]} stored oldest first
     * @returns {StoredMessage[]} the messages that were not seen before
     */
    load(stored) {
        const ids = new Set(stored.map(({ uuid }) => uuid));
        const firstSeen = stored.findIndex(({ uuid }) => this.seen.has(uuid));
        // A message before the first remembered one was seen too, but its id has been dropped.
        const missed = stored.filter(({ uuid }, at) => !this.seen.has(uuid) && !(this.hasForgotten && at < firstSeen));
        stored.forEach(({ uuid }) => this.remember(uuid));
        const common = this.messages.findIndex(({ uuid }) => ids.has(uuid));
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
            // Absent keys are unchanged. These three belong to the frame and not to the message.
            const { type, catchup, offset, ...changes } = frame;
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
        // Makes a new list each time, because pages may keep the previous one.
        this.messages = at < 0 ? [...this.messages, message] : this.messages.map((m, i) => (i === at ? message : m));
        this.cut();
    }

    cut() {
        if (this.messages.length > this.limit) {
            this.messages = this.messages.slice(this.messages.length - this.limit);
        }
    }
}
