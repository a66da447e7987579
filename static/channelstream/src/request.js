import { newRequest } from './fetch.js';
import { fromJson } from './untrusted.js';

/** Below the usual timeouts of proxies. */
export const REQUEST_TIMEOUT_MS = 120_000;

/** The limit in 0.7.1, and part of its interface: views return 400 with data for their success callbacks. */
const LAST_SUCCESS = 400;

/**
 * Appends a query parameter to an address that may have a query already.
 *
 * @param {string | URL} url
 * @param {string} name
 * @param {string} value
 * @returns {string}
 */
export function withParameter(url, name, value) {
    // JSON can contain half a surrogate pair, but an address cannot.
    const wellFormed = String(value).replace(/\p{Surrogate}/gu, '\ufffd');
    // Applications may pass URL objects.
    const address = String(url);
    return `${address}${address.includes('?') ? '&' : '?'}${name}=${encodeURIComponent(wellFormed)}`;
}

/**
 * One request. Mutators receive it before it is sent and may change `url`, `body` and `headers`.
 *
 * It uses an XMLHttpRequest, because callbacks receive that object as their first argument. Where there is no
 * XMLHttpRequest, it uses an object with the same members that calls `fetch`.
 */
export class ChannelStreamRequest {
    constructor() {
        /** @type {{name: string, value: string}[]} */
        this.headers = [];
        /** @type {any} sent as JSON; a request without a body is a GET */
        this.body = null;
        this.url = '';
        this.timeoutMs = REQUEST_TIMEOUT_MS;
        /** @type {?XMLHttpRequest} set when the request is sent */
        this.request = null;
        this.timedOut = false;
    }

    /**
     * Called when a response with a status of at most 400 has arrived.
     *
     * @param {XMLHttpRequest} request
     * @param {any} data the body, parsed if it is JSON
     */
    handleResponse(request, data) {}

    /**
     * Called with any other status, and with status 0 when there was no response.
     *
     * @param {XMLHttpRequest} request
     * @param {any} data the body, parsed if it is JSON
     */
    handleError(request, data) {}

    /**
     * Called while the request is in flight.
     *
     * @param {XMLHttpRequest} request
     */
    handleRequest(request) {}

    /**
     * Sends the request.
     *
     * @param {string} [verb] by default POST with a body and GET without a body
     */
    execute(verb) {
        const request = newRequest();
        const dueAt = Date.now() + this.timeoutMs;
        this.request = request;
        request.onreadystatechange = () => {
            // The browser fires this event before `timeout`, which would be too late.
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
     * Reports a request that could not be sent in the same way as a request without a response.
     *
     * @param {unknown} error
     */
    fail(error) {
        this.abort();
        this.request ??= newRequest();
        this.handleError(this.request, String(error));
    }

    /** Ends the request. None of its handlers is called afterwards. */
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
        const parsed = fromJson(request.responseText);
        const data = parsed === undefined ? request.responseText : parsed;
        if (request.status && request.status <= LAST_SUCCESS) {
            this.handleResponse(request, data);
        } else {
            this.handleError(request, data);
        }
    }
}
