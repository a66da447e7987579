/**
 * Makes an element. Children that are strings become text, never markup: what users write stays what they wrote.
 *
 * @param {string} tag
 * @param {object} [attributes] `null`, `undefined` and `false` leave one out; keys starting with `on` add a listener
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

/** Where this server lives, without a slash at the end; with the prefix when it sits behind one. */
export const base = new URL('..', import.meta.url).href.replace(/\/$/, '');

/** Times without a zone are UTC on the wire. */
export function localTime(timestamp) {
    const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(timestamp) ? timestamp : `${timestamp}Z`;
    const date = new Date(zoned);
    return Number.isNaN(date.getTime()) ? null : date;
}
