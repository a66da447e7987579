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

/** The latest answers by path, each as its tag and its text: the server does not send again what has not changed. */
const kept = new Map();
const KEPT = 8;

function keep(path, tag, text) {
    kept.delete(path);
    if (tag) {
        kept.set(path, { tag, text });
    }
    if (kept.size > KEPT) {
        kept.delete(kept.keys().next().value);
    }
}

async function ask(path, options) {
    const reply = await fetch(`${base}${path}`, {
        ...options,
        headers: { Accept: 'application/json', ...options.headers },
        // Followed, the way to the sign-in page would look like a success that is no JSON.
        redirect: 'manual',
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
    if (!reply.ok && reply.status !== 304) {
        throw new Error(`The server answered ${reply.status}.`);
    }
    return reply;
}

/**
 * @param {string} path
 * @param {object} [params] empty ones are left out
 * @param {AbortSignal} [signal]
 */
export async function get(path, params = {}, signal = undefined) {
    const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
    const query = new URLSearchParams(given).toString();
    const target = query ? `${path}?${query}` : path;
    const known = kept.get(target);
    const headers = known ? { 'If-None-Match': known.tag } : {};
    const reply = await ask(target, { headers, cache: 'no-store', signal });
    // Read in any case: a browser counts a response that is left unread as one that failed.
    const fresh = await reply.text();
    const text = reply.status === 304 ? known.text : fresh;
    keep(target, reply.headers.get('ETag'), text);
    return JSON.parse(text);
}

export async function command(path, body) {
    const headers = { 'Content-Type': 'application/json', 'X-CSRF-Token': token() };
    const reply = await ask(path, { method: 'POST', headers, body: JSON.stringify(body) });
    return reply.json();
}
