/**
 * Decides what to do after listening has ended. Only rules, without sockets and timers.
 *
 * A step is `{ action, transport, now, reason }`. Actions: `resume` (listen again with the same connection id, over
 * `transport`), `connect` (request a new id from the web application), `stop`. Without `now` the step waits for the
 * back-off.
 */
import { isFinal } from './errors.js';

/**
 * @typedef {object} Step
 * @property {'resume' | 'connect' | 'stop'} action
 * @property {import('../index.js').TransportName} [transport]
 * @property {boolean} now
 * @property {boolean} [renew] whether the present token is of no use
 * @property {boolean} [fresh] whether the id still counts as just issued
 * @property {number} [atLeastMs] the shortest wait after which the server can be back
 * @property {import('../index.js').StateReason} reason
 */

/** Close code of a socket whose connection id another socket uses now. Reconnecting would make the two alternate. */
const TAKEN_OVER = 4001;

/** Close codes of a connection that the application has ended, and of a blocked user. */
const ENDED = [4004, 4006];

/** Close code of a connection whose token has expired, or that the application has ended so that it connects again. */
const RENEW = 4005;

/** Close code of a connection that the server does not have. */
const UNKNOWN = 1000;

/** How long a server that answers with an empty stream of events asks its clients to wait. */
const EMPTY_MS = 5_000;

/** Close code of a server that is too busy to accept connections. */
const BUSY = 1013;

/** Close code of a server that restarts. Its reason contains the time to wait before a reconnect. */
const RESTARTING = 1012;

/**
 * Whether only the server itself, and no proxy, sends this close code.
 *
 * @param {number} code
 */
export const isOfServer = (code) => code === BUSY || code === RESTARTING || (code >= 4000 && code < 5000);

/** This many opened sockets in a row without a frame indicate a proxy that breaks websockets. */
export const MUTE_SOCKETS = 3;

/**
 * @param {boolean} now
 * @param {import('../index.js').StateReason} reason
 * @returns {Step}
 */
const connect = (now, reason) => ({ action: 'connect', now, reason });

/**
 * @param {import('../index.js').TransportName} transport
 * @param {boolean} now
 * @returns {Step}
 */
const resume = (transport, now) => ({ action: 'resume', transport, now, reason: 'lost' });

/**
 * The wait that a restarting server requests. The server gives each client a different one to spread the reconnects.
 *
 * @param {number} code
 * @param {string} reason
 * @returns {number} milliseconds
 */
function askedMs(code, reason) {
    const asked = code === RESTARTING && /retry after (\d+) ms/.exec(reason);
    return asked ? Number(asked[1]) : 0;
}

/**
 * @param {object} end how the socket ended
 * @param {number} end.code the close code
 * @param {string} [end.reason] the reason that the server sent
 * @param {boolean} end.opened
 * @param {boolean} end.receivedFrame whether a frame arrived
 * @param {boolean} end.resumed whether the socket was opened with an earlier id rather than one just issued
 * @param {number} end.lostForMs the time since the server was last known to be reachable
 * @param {number} end.graceMs how long the server keeps a connection without a transport
 * @param {number} end.muteSockets opened sockets in a row without a frame, including this one
 * @param {import('../index.js').TransportName} [end.other] another transport that is available
 * @param {import('../index.js').TransportName} [end.own] the transport that has ended
 * @returns {Step}
 */
export function afterWebSocket({
    code, reason = '', opened, receivedFrame, resumed, lostForMs, graceMs, muteSockets, other, own = 'websocket',
}) {
    if (code === TAKEN_OVER) {
        return { action: 'stop', now: true, reason: 'taken-over' };
    }
    if (ENDED.includes(code)) {
        return { action: 'stop', now: true, reason: 'ended' };
    }
    if (code === RENEW) {
        return { ...connect(true, 'lost'), renew: true };
    }
    if (!opened && !resumed && other) {
        // The id has just arrived over HTTP, so only the websocket is blocked.
        return { ...resume(other, true), fresh: true };
    }
    if (opened && !receivedFrame && code === UNKNOWN) {
        // The server does not know the id. That is normal for an old id and an error for a new one.
        return connect(resumed, 'forgotten');
    }
    if (muteSockets >= MUTE_SOCKETS && other) {
        return resume(other, true);
    }
    if (lostForMs > graceMs) {
        return connect(false, 'lost');
    }
    // The cause is unknown when a socket did not open, so the next attempt uses the other transport.
    const step = resume(opened || !other ? own : other, false);
    return { ...step, atLeastMs: askedMs(code, reason) };
}

/**
 * @typedef {object} Circumstances
 * @property {boolean} resumed whether it was opened with an earlier id
 * @property {number} lostForMs the time since the server was last known to be reachable
 * @property {number} graceMs how long the server keeps a connection without a transport
 * @property {import('../index.js').TransportName} [other] another transport that is available
 *
 * @param {import('./eventsource.js').StreamEnd & Circumstances} end how the stream of events ended
 * @returns {Step}
 */
export function afterStream(end) {
    const { code, opened, refused, empty, resumed, other } = end;
    if (refused) {
        // Browsers hide the status. The other transport learns it, or works.
        return other ? { ...resume(other, true), fresh: !resumed } : connect(false, 'forgotten');
    }
    if (empty) {
        return { ...resume('sse', false), atLeastMs: EMPTY_MS };
    }
    return afterWebSocket({ ...end, receivedFrame: opened && code !== UNKNOWN, muteSockets: 0, own: 'sse' });
}

/**
 * @param {object} end how the poll ended
 * @param {number} end.status 0 when there was no response
 * @param {boolean} end.resumed whether a poll with this id was answered or failed before
 * @param {boolean} end.answered whether polls of this listener were answered
 * @param {number} end.lostForMs the time since the server was last known to be reachable
 * @param {number} end.graceMs how long the server keeps a connection without a transport
 * @param {import('../index.js').TransportName} [end.other] another transport that is available
 * @returns {Step}
 */
export function afterLongPoll({ status, resumed, answered, lostForMs, graceMs, other }) {
    if (isFinal(status)) {
        return connect(resumed, 'forgotten');
    }
    if (lostForMs > graceMs) {
        // Old servers refuse pages of other origins without CORS headers, which looks like a missing response.
        return connect(false, 'lost');
    }
    return resume(answered || !other ? 'longpoll' : other, false);
}
