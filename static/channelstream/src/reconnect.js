/**
 * What to do after listening has ended: the rules, without sockets and timers.
 *
 * A step is `{ action, transport, now, reason }`. Actions: `resume` (listen again with the same connection id, over
 * `transport`), `connect` (ask the web application for a new id), `stop`. Without `now` the step waits for the
 * back-off.
 */
import { isFinal } from './errors.js';

/**
 * @typedef {object} Step
 * @property {'resume' | 'connect' | 'stop'} action
 * @property {import('../index.js').TransportName} [transport]
 * @property {boolean} now
 * @property {boolean} [fresh] whether the id counts as just given out still
 * @property {number} [atLeastMs] a shorter wait than this would find the server still gone
 * @property {import('../index.js').StateReason} reason
 */

/** Close code of a socket whose connection id was opened by another one. Coming back would start a tug-of-war. */
const TAKEN_OVER = 4001;

/** Close code of a server that is too busy to let anybody in. */
const BUSY = 1013;

/** Close code of a server that stops to be followed by another one; its reason says when to come back. */
const RESTARTING = 1012;

/**
 * Whether a close code is one that only the server itself gives.
 *
 * @param {number} code
 */
export const isOfServer = (code) => code === BUSY || code === RESTARTING || (code >= 4000 && code < 5000);

/** So many opened sockets in a row that never carried a frame speak for a proxy that breaks websockets. */
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
 * What a restarting server asks its clients to wait: it has spread them when it sent them away.
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
 * @param {string} [end.reason] what the server said about it
 * @param {boolean} end.opened
 * @param {boolean} end.spoke whether a frame came
 * @param {boolean} end.resumed whether the socket was opened with an id from before, not one just given
 * @param {number} end.lostForMs since when nothing was heard from the server
 * @param {number} end.graceMs how long the server keeps a connection without a transport
 * @param {number} end.muteSockets opened sockets in a row without a frame, this one included
 * @param {boolean} end.canPoll whether there is long-polling
 * @returns {Step}
 */
export function afterWebSocket({ code, reason = '', opened, spoke, resumed, lostForMs, graceMs, muteSockets, canPoll }) {
    if (code === TAKEN_OVER) {
        return { action: 'stop', now: true, reason: 'taken-over' };
    }
    if (!opened && !resumed && canPoll) {
        // The id came over HTTP a moment ago, so it is only the websocket that does not get through.
        return { ...resume('longpoll', true), fresh: true };
    }
    if (opened && !spoke && code === 1000) {
        // The server does not know the id. For an old id that is an answer; for a fresh one it is a fault.
        return connect(resumed, 'forgotten');
    }
    if (muteSockets >= MUTE_SOCKETS && canPoll) {
        return resume('longpoll', true);
    }
    if (lostForMs > graceMs) {
        return connect(false, 'lost');
    }
    // A socket that did not open says nothing about why: the next attempt goes the other way.
    const step = resume(opened || !canPoll ? 'websocket' : 'longpoll', false);
    return { ...step, atLeastMs: askedMs(code, reason) };
}

/**
 * @param {object} end how the poll ended
 * @param {number} end.status 0 when no answer came
 * @param {boolean} end.resumed whether a poll with this id was answered or failed before
 * @param {boolean} end.answered whether polls of this row were answered
 * @param {number} end.lostForMs since when nothing was heard from the server
 * @param {number} end.graceMs how long the server keeps a connection without a transport
 * @param {boolean} end.canSocket whether there are websockets
 * @returns {Step}
 */
export function afterLongPoll({ status, resumed, answered, lostForMs, graceMs, canSocket }) {
    if (isFinal(status)) {
        return connect(resumed, 'forgotten');
    }
    if (lostForMs > graceMs) {
        // A refusal without CORS headers, as old servers send it to pages of other origins, looks like no answer.
        return connect(false, 'lost');
    }
    return resume(answered || !canSocket ? 'longpoll' : 'websocket', false);
}
