/**
 * What to do after listening has ended: the rules, without sockets and timers.
 *
 * A step is `{ action, now }`. Actions: `resume` (listen again with the same connection id), `connect` (ask the web
 * application for a new id), `longPoll` (the same id over long-polling), `stop`. Without `now` the step waits for the
 * back-off.
 */

/** Close code of a socket whose connection id was opened by another one. Coming back would start a tug-of-war. */
const TAKEN_OVER = 4001;

/** The server keeps a connection this long without a transport; a later attempt with its id would be for nothing. */
export const GRACE_MS = 30_000;

/** So many opened sockets in a row that never carried a frame speak for a proxy that breaks websockets. */
export const MUTE_SOCKETS = 3;

/**
 * @param {object} end how the socket ended
 * @param {number} end.code the close code
 * @param {boolean} end.opened
 * @param {boolean} end.spoke whether a frame came
 * @param {boolean} end.resumed whether the socket was opened with an id from before, not one just given
 * @param {number} end.lostForMs since when nothing was heard from the server
 * @param {number} end.muteSockets opened sockets in a row without a frame, this one included
 * @returns {{action: string, now: boolean}}
 */
export function afterWebSocket({ code, opened, spoke, resumed, lostForMs, muteSockets }) {
    if (code === TAKEN_OVER) {
        return { action: 'stop', now: true };
    }
    if (!opened && !resumed) {
        // The id came over HTTP a moment ago, so it is only the websocket that does not get through.
        return { action: 'longPoll', now: true };
    }
    if (opened && !spoke && code === 1000) {
        // The server does not know the id. For an old id that is an answer; for a fresh one it is a fault.
        return { action: 'connect', now: resumed };
    }
    if (muteSockets >= MUTE_SOCKETS) {
        return { action: 'longPoll', now: true };
    }
    return { action: lostForMs > GRACE_MS ? 'connect' : 'resume', now: false };
}

/**
 * @param {object} end how the poll ended
 * @param {number} end.status 0 when no answer came
 * @param {boolean} end.resumed whether a poll with this id was answered or failed before
 * @param {number} end.lostForMs since when nothing was heard from the server
 * @returns {{action: string, now: boolean}}
 */
export function afterLongPoll({ status, resumed, lostForMs }) {
    const refused = status >= 400 && status < 500 && ![408, 425, 429].includes(status);
    if (refused) {
        return { action: 'connect', now: resumed };
    }
    // A refusal without CORS headers, as old servers send it to pages of other origins, looks like no answer at all.
    return { action: lostForMs > GRACE_MS ? 'connect' : 'resume', now: false };
}
