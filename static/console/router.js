/** The current place in the console, from the address: `#/channels?search=news`, `#/channel/news`. */

export function here() {
    const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
    const [name, ...rest] = path.split('/');
    let argument = rest.join('/');
    try {
        argument = decodeURIComponent(argument);
    } catch {
        // The address contains an incomplete escape, probably typed by hand. It stays as it is.
    }
    return { name: name || 'overview', argument, params: Object.fromEntries(new URLSearchParams(query)) };
}

export function href(name, argument = '', params = {}) {
    const path = argument === '' ? name : `${name}/${encodeURIComponent(argument)}`;
    const query = new URLSearchParams(params).toString();
    return `#/${path === 'overview' ? '' : path}${query ? `?${query}` : ''}`;
}

/** Stores the state of a list in the address, without a history entry for every letter of a search. */
export function note(name, params) {
    history.replaceState(null, '', href(name, '', params));
}
