/** The cause of a failed call. index.d.ts lists the codes. */
export class ChannelStreamError extends Error {
    /**
     * @param {import('../index.js').ErrorCode} code
     * @param {string} operation the call that failed
     * @param {string} message a text for developers
     * @param {{status?: number, data?: any}} [answer]
     */
    constructor(code, operation, message, { status = 0, data } = {}) {
        super(`${operation}: ${message}`);
        /** @readonly @type {'ChannelStreamError'} */
        this.name = 'ChannelStreamError';
        this.code = code;
        this.operation = operation;
        this.status = status;
        this.data = data;
    }

    /**
     * The error for a refusal, or for a missing response.
     *
     * @param {string} operation
     * @param {import('./request.js').ChannelStreamRequest} request
     * @param {any} data
     */
    static of(operation, { request, timedOut }, data) {
        const status = request?.status ?? 0;
        if (status) {
            return new ChannelStreamError('refused', operation, `status ${status}`, { status, data });
        }
        return timedOut
            ? new ChannelStreamError('timeout', operation, 'no response in time')
            : new ChannelStreamError('network', operation, 'no response');
    }
}

/**
 * Whether the same request would fail again. That is true for refusals, except those because of load or timeouts.
 *
 * @param {number} status
 */
export function isFinal(status) {
    return status >= 400 && status < 500 && ![408, 425, 429].includes(status);
}

/**
 * Marks a promise as handled, because callbacks and events report the same error. The page need not catch it.
 *
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export function quiet(promise) {
    promise.catch(() => {});
    return promise;
}
