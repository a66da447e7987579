/**
 * Makes an element. Strings among the children become text, never markup, so text from users is safe.
 *
 * @param {string} tag
 * @param {object} [attributes] `null`, `undefined` and `false` omit an attribute; keys that start with `on` add a listener
 * @param {...(Node|string)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith('on')) {
            element.addEventListener(name.slice(2), value);
        } else if (value !== null && value !== undefined && value !== false) {
            element.setAttribute(name, value === true ? '' : value);
        }
    }
    element.append(...children);
    return element;
}

export const byId = (id) => document.getElementById(id);

/** The address of this server with its path prefix, without a slash at the end. */
export const base = new URL('..', import.meta.url).href.replace(/\/$/, '');

/** Parses a timestamp of the server. Times without a zone are UTC. */
export function localTime(timestamp) {
    const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(timestamp) ? timestamp : `${timestamp}Z`;
    const date = new Date(zoned);
    return Number.isNaN(date.getTime()) ? null : date;
}
