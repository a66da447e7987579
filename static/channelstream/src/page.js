/**
 * @typedef {object} PageEvents
 * @property {() => void} wake the page is looked at again, or was asleep
 * @property {() => void} online
 * @property {() => void} offline
 * @property {(event: PageTransitionEvent) => void} hide the page is left; the browser may keep it to show it again
 * @property {() => void} show a page that was kept is shown again
 */

/**
 * Follows what the browser tells about the page and its network. Works in workers too, as far as those are told.
 *
 * @param {PageEvents} events
 * @returns {() => void} ends it
 */
export function watchPage({ wake, online, offline, hide, show }) {
    const page = globalThis.document;
    const onVisibility = () => page.visibilityState === 'visible' && wake();
    /** @type {[any, string, (event: any) => void][]} */
    const listeners = [
        [page, 'visibilitychange', onVisibility],
        // After freezing, browsers do not reliably tell that a page is visible.
        [page, 'resume', wake],
        [globalThis, 'online', online],
        [globalThis, 'offline', offline],
        [globalThis, 'pagehide', hide],
        [globalThis, 'pageshow', show],
    ];
    listeners.forEach(([target, name, listener]) => target?.addEventListener?.(name, listener));
    return () => listeners.forEach(([target, name, listener]) => target?.removeEventListener?.(name, listener));
}
