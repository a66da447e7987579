/** Why a call failed; the codes are listed in index.d.ts. */
export class ChannelStreamError extends Error {
    /**
     * @param {import('../index.js').ErrorCode} code
     * @param {string} operation what failed
     * @param {string} message for people
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
     * What an answer says that was none, or a refusal.
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
            ? new ChannelStreamError('timeout', operation, 'no answer in time')
            : new ChannelStreamError('network', operation, 'no answer');
    }
}

/**
 * Whether asking again would be answered the same: a refusal, unless it is about load or time.
 *
 * @param {number} status
 */
export function isFinal(status) {
    return status >= 400 && status < 500 && ![408, 425, 429].includes(status);
}

/**
 * Marks a promise as seen to: nobody has to catch what callbacks and events tell as well.
 *
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export function quiet(promise) {
    promise.catch(() => {});
    return promise;
}
