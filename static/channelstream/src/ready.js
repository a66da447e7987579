import { ChannelStreamError } from './errors.js';

/** @typedef {import('../index.js').OpenEvent} OpenEvent */

/**
 * Waits until a connection listens.
 *
 * @param {import('./lifecycle.js').ChannelStreamLifecycle} connection
 * @param {number} [timeoutMs] no limit by default
 * @returns {Promise<OpenEvent>}
 */
export function whenReady(connection, timeoutMs) {
    return new Promise((resolve, reject) => {
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        let timer;
        const check = () => {
            if (connection.connected && connection._opening) {
                resolve(connection._opening);
            } else if (connection._isOver) {
                reject(new ChannelStreamError('closed', 'ready', 'the connection is closed'));
            } else {
                return false;
            }
            clearTimeout(timer);
            return true;
        };
        if (check()) {
            return;
        }
        const off = connection.on('state', () => check() && off());
        if (timeoutMs !== undefined) {
            timer = setTimeout(() => {
                off();
                reject(new ChannelStreamError('timeout', 'ready', `not connected after ${timeoutMs} ms`));
            }, timeoutMs);
        }
    });
}
