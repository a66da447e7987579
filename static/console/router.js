/** Where in the console one is: `#/channels?search=news`, `#/channel/news`. */

export function here() {
    const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
    const [name, ...rest] = path.split('/');
    let argument = rest.join('/');
    try {
        argument = decodeURIComponent(argument);
    } catch {
        // A half escape, typed by hand: taken as it is.
    }
    return { name: name || 'overview', argument, params: Object.fromEntries(new URLSearchParams(query)) };
}

export function href(name, argument = '', params = {}) {
    const path = argument === '' ? name : `${name}/${encodeURIComponent(argument)}`;
    const query = new URLSearchParams(params).toString();
    return `#/${path === 'overview' ? '' : path}${query ? `?${query}` : ''}`;
}

/** Notes in the address what a list shows, without a step in the history for every letter of a search. */
export function note(name, params) {
    history.replaceState(null, '', href(name, '', params));
}
