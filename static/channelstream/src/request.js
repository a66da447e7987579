import { newRequest } from './fetch.js';

/** Below the usual patience of proxies. */
export const REQUEST_TIMEOUT_MS = 120_000;

/** The original's limit, and part of its interface: views answer 400 with what their success callbacks expect. */
const LAST_SUCCESS = 400;

/**
 * @param {string} text
 * @returns {any} as JSON if it is JSON
 */
const parsed = (text) => {
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
};

/**
 * Appends a query parameter to an address that may have a query already.
 *
 * @param {string | URL} url
 * @param {string} name
 * @param {string} value
 * @returns {string}
 */
export function withParameter(url, name, value) {
    // Half a surrogate pair, which JSON can hold, has no place in an address.
    const wellFormed = String(value).replace(/\p{Surrogate}/gu, '\ufffd');
    // Applications may hold addresses as URL objects.
    const address = String(url);
    return `${address}${address.includes('?') ? '&' : '?'}${name}=${encodeURIComponent(wellFormed)}`;
}

/**
 * One request. Mutators get it before it is sent and may change `url`, `body` and `headers`.
 *
 * It is an XMLHttpRequest underneath, because that object is what callbacks get as their first argument; where there is
 * none, an object with the same members that uses `fetch`.
 */
export class ChannelStreamRequest {
    constructor() {
        /** @type {{name: string, value: string}[]} */
        this.headers = [];
        /** @type {any} sent as JSON; without a body the request is a GET */
        this.body = null;
        this.url = '';
        this.timeoutMs = REQUEST_TIMEOUT_MS;
        /** @type {?XMLHttpRequest} there once the request is on its way */
        this.request = null;
        this.timedOut = false;
    }

    /**
     * Called when the answer is there and its status is at most 400.
     *
     * @param {XMLHttpRequest} request
     * @param {any} data the body, as JSON if it is JSON
     */
    handleResponse(request, data) {}

    /**
     * Called on any other status and, with status 0, when no answer came.
     *
     * @param {XMLHttpRequest} request
     * @param {any} data the body, as JSON if it is JSON
     */
    handleError(request, data) {}

    /**
     * Called while the request is under way.
     *
     * @param {XMLHttpRequest} request
     */
    handleRequest(request) {}

    /**
     * Sends the request.
     *
     * @param {string} [verb] by default POST with a body and GET without
     */
    execute(verb) {
        const request = newRequest();
        const dueAt = Date.now() + this.timeoutMs;
        this.request = request;
        request.onreadystatechange = () => {
            // The event `timeout` would tell it too late: this one comes first.
            this.timedOut = request.status === 0 && Date.now() >= dueAt;
            this.handleStateChange();
        };
        request.open(verb || (this.body ? 'POST' : 'GET'), this.url);
        request.timeout = this.timeoutMs;
        if (this.body) {
            request.setRequestHeader('Content-Type', 'application/json');
        }
        for (const { name, value } of this.headers) {
            request.setRequestHeader(name, value);
        }
        request.send(this.body ? JSON.stringify(this.body) : null);
    }

    /**
     * Reports a request that could not be sent as one without an answer.
     *
     * @param {unknown} error
     */
    fail(error) {
        this.abort();
        this.request ??= newRequest();
        this.handleError(this.request, String(error));
    }

    /** Ends the request; none of its handlers is called any more. */
    abort() {
        if (this.request) {
            this.request.onreadystatechange = null;
            this.request.abort();
        }
    }

    handleStateChange() {
        const request = /** @type {XMLHttpRequest} */ (this.request);
        if (request.readyState !== 4) {
            this.handleRequest(request);
            return;
        }
        const data = parsed(request.responseText);
        if (request.status && request.status <= LAST_SUCCESS) {
            this.handleResponse(request, data);
        } else {
            this.handleError(request, data);
        }
    }
}
