/** Readers for values from responses, frames and applications, which may have an unexpected type. */

/**
 * @param {any} value
 * @returns {any[]} an empty list if the value is not a list
 */
export const listOf = (value) => (Array.isArray(value) ? value : []);

/**
 * @param {any} value
 * @returns {any[]} the objects in the list; empty if the value is not a list
 */
export function objectsOf(value) {
    return listOf(value).filter((item) => item !== null && typeof item === 'object');
}

/**
 * The object's own value under a name that users choose. The name may be `constructor`, for example.
 *
 * @param {any} object
 * @param {string} name
 */
export function ownValue(object, name) {
    const isObject = object !== null && typeof object === 'object';
    return isObject && Object.prototype.hasOwnProperty.call(object, name) ? object[name] : undefined;
}

/**
 * @param {string} text
 * @returns {any} undefined if it is not JSON
 */
export function fromJson(text) {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}
