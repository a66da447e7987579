/** The console's side of the server: what it asks, and what it has it do. */
import { base } from '../dom.js';

const FETCH_LIMIT_MS = 40_000;

/** A refusal that only signing in mends; asking again would be pointless. */
export class SignedOut extends Error {
    message = 'Your sign-in has ended.';
}

/** What was asked for is not there any more. */
export class Gone extends Error {
    message = 'It is not there any more.';
}

/** The server says what is wrong with a request. */
export class Refused extends Error {}

const token = () => document.querySelector('meta[name="csrf-token"]').content;

/** All texts of a tree of errors, each with the name of its field. */
function texts(errors, path = '') {
    if (Array.isArray(errors)) {
        return errors.map((text) => (path ? `${path}: ${text}` : String(text)));
    }
    return Object.entries(errors ?? {}).flatMap(([field, inner]) =>
        texts(inner, /^(_schema|\d+)$/.test(field) ? path : [path, field].filter(Boolean).join('.')));
}

async function ask(path, options) {
    const reply = await fetch(`${base}${path}`, {
        headers: { Accept: 'application/json', ...options.headers },
        // Followed, the way to the sign-in page would look like a success that is no JSON.
        redirect: 'manual',
        ...options,
        signal: AbortSignal.any([AbortSignal.timeout(FETCH_LIMIT_MS), options.signal].filter(Boolean)),
    });
    if (reply.type === 'opaqueredirect' || reply.status === 401 || reply.status === 403) {
        throw new SignedOut();
    }
    if (reply.status === 404) {
        throw new Gone();
    }
    if (reply.status === 422) {
        throw new Refused(texts(await reply.json()).join(' '));
    }
    if (!reply.ok) {
        throw new Error(`The server answered ${reply.status}.`);
    }
    return reply.json();
}

/**
 * @param {string} path
 * @param {object} [params] empty ones are left out
 * @param {AbortSignal} [signal]
 */
export function get(path, params = {}, signal = undefined) {
    const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
    const query = new URLSearchParams(given).toString();
    // The browser asks with the tag of what it has, and hands that out if it is still good.
    return ask(query ? `${path}?${query}` : path, { cache: 'no-cache', signal });
}

export function command(path, body) {
    const headers = { 'Content-Type': 'application/json', Accept: 'application/json', 'X-CSRF-Token': token() };
    return ask(path, { method: 'POST', headers, body: JSON.stringify(body) });
}
