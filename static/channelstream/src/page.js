/**
 * @typedef {object} PageEvents
 * @property {() => void} wake the page has become visible
 * @property {() => void} online
 * @property {() => void} offline
 * @property {(event: {type: string, persisted?: boolean}) => void} suspend the user leaves the page, or the browser
 *     freezes it; the browser may keep it and show it again
 * @property {() => void} resume the browser shows a kept page again
 */

/**
 * Subscribes to the browser's events about the page and its network. Works in workers too, for the events that
 * workers receive.
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
 * Sends a request that needs no response while the page is being closed, if the browser supports that.
 *
 * @param {string} url
 * @param {string} body
 */
export function sendBeacon(url, body) {
    try {
        globalThis.navigator?.sendBeacon?.(url, body);
    } catch {
        // The address is invalid. The server removes the connection after its grace time.
    }
}
