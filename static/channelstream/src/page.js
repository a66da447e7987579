/**
 * @typedef {object} PageEvents
 * @property {() => void} wake the page is looked at again
 * @property {() => void} online
 * @property {() => void} offline
 * @property {(event: {type: string, persisted?: boolean}) => void} suspend the page is left or frozen; the browser may
 *     keep it to show it again
 * @property {() => void} resume a page that was kept is shown again
 */

/**
 * Follows what the browser tells about the page and its network. Works in workers too, as far as those are told.
 *
 * @param {PageEvents} events
 * @returns {() => void} ends it
 */
export function watchPage({ wake, online, offline, suspend, resume }) {
    const page = globalThis.document;
    const onVisibility = () => page.visibilityState === 'visible' && wake();
    /** @type {[any, string, (event: any) => void][]} */
    const listeners = [
        [page, 'visibilitychange', onVisibility],
        [page, 'freeze', suspend],
        [page, 'resume', resume],
        [globalThis, 'online', online],
        [globalThis, 'offline', offline],
        [globalThis, 'pagehide', suspend],
        [globalThis, 'pageshow', resume],
    ];
    listeners.forEach(([target, name, listener]) => target?.addEventListener?.(name, listener));
    return () => listeners.forEach(([target, name, listener]) => target?.removeEventListener?.(name, listener));
}

/**
 * Sends something that needs no answer while the page goes away, where browsers can.
 *
 * @param {string} url
 * @param {string} body
 */
export function sendBeacon(url, body) {
    try {
        globalThis.navigator?.sendBeacon?.(url, body);
    } catch {
        // The address is none; the server will notice by itself that this client is gone.
    }
}
