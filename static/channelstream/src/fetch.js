import { callPage } from './emitter.js';

/**
 * The part of XMLHttpRequest that this library and its callbacks use, implemented with `fetch`, because some kinds of
 * workers and Node have no XMLHttpRequest. Without `fetch`, a request ends like one without a response.
 */
export class FetchRequest {
    constructor() {
        this.readyState = 0;
        this.status = 0;
        this.statusText = '';
        this.responseText = '';
        this.responseURL = '';
        /** In milliseconds; 0 means no limit. */
        this.timeout = 0;
        /** @type {(() => void) | null} */
        this.onreadystatechange = null;
        this._verb = 'GET';
        this._url = '';
        /** @type {[string, string][]} */
        this._sent = [];
        /** @type {[string, string][]} */
        this._received = [];
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this._timer = undefined;
        this._ended = false;
        this._control = typeof AbortController === 'function' ? new AbortController() : null;
    }

    /**
     * @param {string} verb
     * @param {string} url relative to the page or worker, if there is one
     */
    open(verb, url) {
        this._verb = verb;
        this._url = url;
        this._change(1);
    }

    /**
     * @param {string} name
     * @param {string} value
     */
    setRequestHeader(name, value) {
        this._sent.push([name, value]);
    }

    /** @param {string | null} text */
    send(text) {
        if (this.timeout > 0) {
            this._timer = setTimeout(() => {
                this._control?.abort();
                this._end(null);
            }, this.timeout);
        }
        this._ask(text).then((body) => this._end(body), () => this._end(null));
    }

    /** Ends the request. No change of its state is reported afterwards. */
    abort() {
        this._ended = true;
        clearTimeout(this._timer);
        this._control?.abort();
        this.status = 0;
    }

    /** @returns {string} one line for each readable header of the response */
    getAllResponseHeaders() {
        return this._received.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    }

    /**
     * @param {string} name
     * @returns {?string}
     */
    getResponseHeader(name) {
        const found = this._received.filter(([received]) => received === String(name).toLowerCase());
        return found.length > 0 ? found.map(([, value]) => value).join(', ') : null;
    }

    /**
     * @param {string | null} text
     * @returns {Promise<string>} the body of the response
     */
    async _ask(text) {
        const hasBody = text !== null && !['GET', 'HEAD'].includes(this._verb);
        const answer = await globalThis.fetch(this._url, {
            method: this._verb,
            headers: this._sent,
            body: hasBody ? text : undefined,
            signal: this._control?.signal,
        });
        if (!this._ended) {
            this.status = answer.status;
            this.statusText = answer.statusText;
            this.responseURL = answer.url;
            this._received = [...answer.headers];
            this._change(2);
        }
        return answer.text();
    }

    /** @param {?string} body null if no complete response arrived */
    _end(body) {
        if (this._ended) {
            return;
        }
        this._ended = true;
        clearTimeout(this._timer);
        this.responseText = body ?? '';
        if (body === null) {
            this.status = 0;
            this.statusText = '';
            this._received = [];
        }
        this._change(4);
    }

    /** @param {number} readyState */
    _change(readyState) {
        this.readyState = readyState;
        callPage(() => this.onreadystatechange?.());
    }
}

/**
 * Makes an XMLHttpRequest if there is that class, because callbacks receive the request as their first argument.
 *
 * @returns {XMLHttpRequest}
 */
export function newRequest() {
    try {
        return new globalThis.XMLHttpRequest();
    } catch {
        return /** @type {any} */ (new FetchRequest());
    }
}
