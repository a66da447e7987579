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
 * @property {boolean} [fresh] whether the id still counts as just issued
 * @property {number} [atLeastMs] the shortest wait after which the server can be back
 * @property {import('../index.js').StateReason} reason
 */

/** Close code of a socket whose connection id another socket uses now. Reconnecting would make the two alternate. */
const TAKEN_OVER = 4001;

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
 * @param {boolean} end.canPoll whether long-polling is available
 * @returns {Step}
 */
export function afterWebSocket({
    code, reason = '', opened, receivedFrame, resumed, lostForMs, graceMs, muteSockets, canPoll,
}) {
    if (code === TAKEN_OVER) {
        return { action: 'stop', now: true, reason: 'taken-over' };
    }
    if (!opened && !resumed && canPoll) {
        // The id has just arrived over HTTP, so only the websocket is blocked.
        return { ...resume('longpoll', true), fresh: true };
    }
    if (opened && !receivedFrame && code === 1000) {
        // The server does not know the id. That is normal for an old id and an error for a new one.
        return connect(resumed, 'forgotten');
    }
    if (muteSockets >= MUTE_SOCKETS && canPoll) {
        return resume('longpoll', true);
    }
    if (lostForMs > graceMs) {
        return connect(false, 'lost');
    }
    // The cause is unknown when a socket did not open, so the next attempt uses the other transport.
    const step = resume(opened || !canPoll ? 'websocket' : 'longpoll', false);
    return { ...step, atLeastMs: askedMs(code, reason) };
}

/**
 * @param {object} end how the poll ended
 * @param {number} end.status 0 when there was no response
 * @param {boolean} end.resumed whether a poll with this id was answered or failed before
 * @param {boolean} end.answered whether polls of this listener were answered
 * @param {number} end.lostForMs the time since the server was last known to be reachable
 * @param {number} end.graceMs how long the server keeps a connection without a transport
 * @param {boolean} end.canSocket whether websockets are available
 * @returns {Step}
 */
export function afterLongPoll({ status, resumed, answered, lostForMs, graceMs, canSocket }) {
    if (isFinal(status)) {
        return connect(resumed, 'forgotten');
    }
    if (lostForMs > graceMs) {
        // Old servers refuse pages of other origins without CORS headers, which looks like a missing response.
        return connect(false, 'lost');
    }
    return resume(answered || !canSocket ? 'longpoll' : 'websocket', false);
}
