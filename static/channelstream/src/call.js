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
 * @property {string} [callback] beginning of the names of its callbacks, if it has some
 * @property {(data: any) => void} [take] does something with a good answer before anybody else sees it
 * @property {() => void} [fail] the same when there is none
 * @property {(request: ChannelStreamRequest) => boolean} [unless] whether there is nothing to send
 */

/**
 * A request before mutators have changed it.
 *
 * @param {import('./backend.js').ChannelStreamBackend} connection
 * @param {Call} call
 */
export function prepare(connection, { url, body, timeoutMs }) {
    const request = new ChannelStreamRequest();
    request.url = url;
    request.body = body;
    request.timeoutMs = timeoutMs ?? connection.requestTimeoutMs;
    return request;
}

/**
 * Hands a request to the mutators of its kind.
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
 * Sends a request. An address that is none, or a header that may not be set, counts as no answer.
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
 * One request to the web application: callbacks, the event `error` and a promise tell of its answer. The promise need
 * not be caught.
 *
 * @param {import('./backend.js').ChannelStreamBackend} connection
 * @param {Call} call
 * @returns {Promise<any>}
 */
export function send(connection, call) {
    const { kind, verb = 'POST', callback, take, fail, unless } = call;
    const request = prepare(connection, call);
    /** @type {(ending: string, request: XMLHttpRequest, data: any) => void} */
    const tell = (ending, ...args) => callback && connection._tell(/** @type {any} */ (callback + ending), ...args);
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
                tell('Callback', answer, data);
                resolve(data);
            } else {
                // A success for callbacks, as it was in the original, and for nobody else.
                fail?.();
                tell('Callback', answer, data);
                refuse(data);
            }
        };
        request.handleError = (answer, data) => {
            fail?.();
            tell('ErrorCallback', answer, data);
            refuse(data);
        };
        try {
            mutate(connection, kind, request);
        } catch (error) {
            // Not sent: what the mutator was to add may be what makes it right.
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
