/** The console's requests to the server: queries and commands. */
import { base } from '../dom.js';

const FETCH_LIMIT_MS = 40_000;

/** The server refused the request, and only a new sign-in helps. */
export class SignedOut extends Error {
    message = 'Your sign-in has ended.';
}

/** The requested object no longer exists. */
export class Gone extends Error {
    message = 'It no longer exists.';
}

/** The server reported errors in a request. */
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

/** The latest responses by path, each with its ETag and text. The server does not send an unchanged response again. */
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
        // A followed redirect to the sign-in page would look like a successful response that is not JSON.
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
 * @param {object} [params] empty ones are omitted
 * @param {AbortSignal} [signal]
 */
export async function get(path, params = {}, signal = undefined) {
    const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== '');
    const query = new URLSearchParams(given).toString();
    const target = query ? `${path}?${query}` : path;
    const known = kept.get(target);
    const headers = known ? { 'If-None-Match': known.tag } : {};
    const reply = await ask(target, { headers, cache: 'no-store', signal });
    // Always reads the body, because browsers count an unread response as failed.
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
