import { withParameter } from './request.js';
import { listOf } from './untrusted.js';

/** The most bytes of positions in an address. The cursor covers the streams that do not fit. */
const POSITIONS_BYTES = 2_048;

/** Elements between the frames of a server that knows positions. Pages do not receive them. */
const ELEMENTS = ['attached', 'subscribed', 'cursor', 'token'];

/** The name of the stream of private messages. */
const PRIVATE = '';

/**
 * @typedef {object} Batch what a list of the server contains
 * @property {any[]} frames for the page, each once
 * @property {any[]} elements for the library
 * @property {import('../index.js').RecoveredEvent[]} verdicts
 * @property {?string[]} channels all channels of the connection, if the server has named them
 */

/**
 * What an element says about streams.
 *
 * @param {any} element
 * @returns {[string, any][]}
 */
function answersOf({ type, channel, offset, streams, private: own, ...answer }) {
    return type === 'subscribed'
        ? [[channel, { ...answer, from: offset }]]
        : [...Object.entries(streams ?? {}), ...(own ? [/** @type {[string, any]} */ ([PRIVATE, own])] : [])];
}

/**
 * @param {any} element
 * @returns {boolean} whether it contains the server's answer to a client that has returned
 */
const isReply = (element) => element?.type === 'attached' || element?.type === 'cursor';

/**
 * Whether the server reports a loss in the first list of a transport.
 *
 * @param {any} list
 * @returns {boolean | undefined} undefined if the server does not know positions, or has not reported yet
 */
export function reportsLoss(list) {
    const replies = listOf(list).filter(isReply);
    return replies.length > 0
        ? replies.flatMap(answersOf).some(([, { recovered }]) => recovered === false)
        : undefined;
}

/**
 * @param {any} list
 * @returns {boolean} whether the list contains no frame
 */
export const isIdle = (list) => listOf(list).every((item) => item?.type === 'cursor');

/** Knows what has arrived of each stream, so that the server can continue there, and drops what arrives again. */
export class Positions {
    constructor() {
        this.clear();
    }

    clear() {
        /** @type {Map<string, {epoch: string, offset: number}>} by stream, the most recently active one last */
        this.streams = new Map();
        /** @type {?string} the server's name of a moment up to which everything has arrived */
        this.cursor = null;
        /** Whether frames have arrived since the cursor. */
        this.uncovered = false;
        /** Whether the server has not answered yet what a returning client has missed. */
        this.returning = false;
        /** Whether the address in use names a cursor. */
        this.named = false;
    }

    /**
     * Takes over the cursor of an event.
     *
     * @param {string} cursor empty if there is none yet
     */
    note(cursor) {
        if (cursor) {
            this.cursor = cursor;
        }
    }

    /**
     * @param {string} url
     * @param {boolean} first whether a transport starts, and does not just send its next poll
     * @returns {string} the address from which the server continues
     */
    addTo(url, first) {
        const positions = first || this.uncovered ? this.text() : '';
        this.named = this.cursor !== null;
        this.returning ||= first && (this.named || positions !== '');
        const address = this.cursor === null ? url : withParameter(url, 'since', this.cursor);
        return positions ? withParameter(address, 'positions', positions) : address;
    }

    /** @returns {string} as many positions as fit, the most recently active streams first */
    text() {
        const entries = [];
        let left = POSITIONS_BYTES - withParameter('', '', '{}').length;
        for (const [name, { epoch, offset }] of [...this.streams].reverse()) {
            const entry = `${JSON.stringify(name)}:"${epoch}.${offset}"`;
            left -= withParameter('', '', `${entry},`).length;
            if (left < 0) {
                break;
            }
            entries.push(entry);
        }
        return entries.length > 0 ? `{${entries}}` : '';
    }

    /**
     * @param {any[]} list
     * @param {boolean} polled whether the list answers a poll
     * @returns {Batch}
     */
    take(list, polled) {
        /** @type {Batch} */
        const batch = { frames: [], elements: [], verdicts: [], channels: null };
        // The answer to a poll with a cursor names only the streams with a loss.
        const brief = polled && this.named;
        for (const item of list) {
            if (ELEMENTS.includes(item?.type)) {
                batch.elements.push(item);
                batch.verdicts.push(...this.follow(item));
                if (item.type === 'attached' && !brief) {
                    batch.channels = Object.keys(item.streams ?? {});
                }
            } else if (this.isNew(item)) {
                batch.frames.push(item);
            }
        }
        if (this.returning && batch.elements.some(isReply)) {
            this.returning = false;
            const judged = batch.verdicts.map(({ channel }) => channel ?? PRIVATE);
            [...this.streams.keys()].filter((name) => brief && !judged.includes(name))
                .forEach((name) => batch.verdicts.push(verdictOf(name, { recovered: true })));
        }
        return batch;
    }

    /**
     * @param {any} element
     * @returns {import('../index.js').RecoveredEvent[]}
     */
    follow(element) {
        if (element.type === 'cursor') {
            this.note(element.cursor);
            this.uncovered = false;
        }
        listOf(element.unknown).forEach((name) => this.streams.delete(name));
        const answers = answersOf(element);
        answers.forEach(([name, answer]) => this.place(name, answer));
        return answers.filter(([, { recovered }]) => recovered === false || (recovered && this.returning))
            .map(([name, answer]) => verdictOf(name, answer));
    }

    /**
     * @param {string} name
     * @param {{epoch: string, from: number, reason?: string}} answer
     */
    place(name, { epoch, from, reason }) {
        const known = this.streams.get(name);
        if (known && known.epoch === epoch && reason !== 'ahead') {
            known.offset = Math.max(known.offset, from);
        } else if (typeof from === 'number') {
            this.streams.set(name, { epoch, offset: from });
        }
        if (reason === 'epoch') {
            // The cursor may be one of a server that has gone. The next one arrives behind the catch-up.
            this.cursor = null;
        }
    }

    /**
     * @param {any} frame
     * @returns {boolean} false for a repetition
     */
    isNew(frame) {
        const name = frame?.channel ?? PRIVATE;
        const stream = this.streams.get(name);
        if (!stream || typeof frame?.offset !== 'number') {
            return true;
        }
        if (frame.offset <= stream.offset) {
            return false;
        }
        stream.offset = frame.offset;
        this.uncovered = true;
        this.streams.delete(name);
        this.streams.set(name, stream);
        return true;
    }
}

/**
 * @param {string} name
 * @param {any} answer
 * @returns {import('../index.js').RecoveredEvent}
 */
function verdictOf(name, { recovered, reason = null, gap = null }) {
    return { channel: name === PRIVATE ? null : name, recovered, reason, gap };
}
