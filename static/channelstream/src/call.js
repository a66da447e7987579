import { callPage } from './emitter.js';
import { ChannelStreamError, quiet } from './errors.js';
import { ChannelStreamRequest } from './request.js';

/**
 * @typedef {object} Call
 * @property {import('../index.js').RequestKind} kind
 * @property {string} url
 * @property {any} body
 * @property {string} [verb] by default POST
 * @property {number} [timeoutMs]
 * @property {string} [callback] the prefix of the names of its callbacks, if it has any
 * @property {(data: any) => void} [take] processes a successful response before callbacks and events do
 * @property {() => void} [fail] runs instead of `take` after a failure
 * @property {(request: ChannelStreamRequest) => boolean} [unless] whether there is nothing to send
 */

/**
 * Makes a request, which mutators may change afterwards.
 *
 * @param {import('./backend.js').ChannelStreamBackend} connection
 * @param {Pick<Call, 'url' | 'body' | 'timeoutMs'>} call
 */
export function prepare(connection, { url, body, timeoutMs }) {
    const request = new ChannelStreamRequest();
    request.url = url;
    request.body = body;
    request.timeoutMs = timeoutMs ?? connection.requestTimeoutMs;
    return request;
}

/**
 * Passes a request to the mutators of its kind.
 *
 * @param {import('./backend.js').ChannelStreamBackend} connection
 * @param {Call['kind']} kind
 * @param {ChannelStreamRequest} request
 */
export function mutate(connection, kind, request) {
    for (const mutator of connection.mutators[kind] ?? []) {
        mutator(request);
    }
}

/**
 * Sends a request. An invalid address or a forbidden header counts as a missing response.
 *
 * @param {ChannelStreamRequest} request
 * @param {string} [verb]
 */
export function execute(request, verb) {
    try {
        request.execute(verb);
    } catch (error) {
        request.fail(error);
    }
}

/**
 * Sends one request to the web application. Callbacks, the event `error` and a promise report the response. The page
 * need not catch a rejection of the promise.
 *
 * @param {import('./backend.js').ChannelStreamBackend} connection
 * @param {Call} call
 * @returns {Promise<any>}
 */
export function send(connection, call) {
    const { kind, verb = 'POST', callback, take, fail, unless } = call;
    const request = prepare(connection, call);
    /** @type {(ending: string, request: XMLHttpRequest, data: any) => void} */
    const invoke = (ending, ...args) => callback && connection._invoke(/** @type {any} */ (callback + ending), ...args);
    return quiet(new Promise((resolve, reject) => {
        /** @param {any} data */
        const refuse = (data) => {
            const error = ChannelStreamError.of(kind, request, data);
            reject(error);
            connection._emit('error', error);
        };
        request.handleResponse = (answer, data) => {
            if (answer.status < 400) {
                take?.(data);
                invoke('Callback', answer, data);
                resolve(data);
            } else {
                // Callbacks treat status 400 as a success, as in 0.7.1. The promise and the event do not.
                fail?.();
                invoke('Callback', answer, data);
                refuse(data);
            }
        };
        request.handleError = (answer, data) => {
            fail?.();
            invoke('ErrorCallback', answer, data);
            refuse(data);
        };
        try {
            mutate(connection, kind, request);
        } catch (error) {
            // The request is not sent, because it may be wrong without the mutator's change.
            callPage(() => { throw error; });
            request.fail(error);
            return;
        }
        if (unless?.(request)) {
            fail?.();
            resolve(undefined);
        } else {
            execute(request, verb);
        }
    }));
}
