/** Readers of what an answer, a frame or an application may hold instead of what it should. */

/**
 * @param {any} value
 * @returns {any[]} an empty list if it is no list
 */
export const listOf = (value) => (Array.isArray(value) ? value : []);

/**
 * @param {any} value
 * @returns {any[]} the objects in a list; none if it is no list
 */
export function objectsOf(value) {
    return listOf(value).filter((item) => item !== null && typeof item === 'object');
}

/**
 * What stands under a name that others have chosen, such as `constructor`.
 *
 * @param {any} object
 * @param {string} name
 */
export function ownValue(object, name) {
    const isObject = object !== null && typeof object === 'object';
    return isObject && Object.prototype.hasOwnProperty.call(object, name) ? object[name] : undefined;
}
