import { execute, mutate, prepare, send } from './call.js';
import { ChannelStreamError } from './errors.js';
import { ChannelStreamLifecycle } from './lifecycle.js';
import { withParameter } from './request.js';

/** `connect()` answers at once or never. */
const CONNECT_TIMEOUT_MS = 30_000;

/**
 * A page's connection: listens on the channelstream server and sends everything else to the web application.
 *
 * Set the addresses and callbacks, then call `connect()`. From there the connection keeps itself alive, over
 * websocket or long-polling, until `closeConnection()` or `disconnect()`.
 */
export class ChannelStreamConnection extends ChannelStreamLifecycle {
    /** @returns {string} the version of this library */
    static get version() {
        return '1.0.0';
    }

    /** @param {Record<string, any>} [options] any of the public properties and callbacks */
    constructor(options = {}) {
        super();
        const known = Object.keys(this).filter((key) => !key.startsWith('_'));
        for (const [key, value] of Object.entries(options)) {
            if (!known.includes(key) && !(key.endsWith('Callback') && key in this)) {
                throw new TypeError(`there is no option ${JSON.stringify(key)}`);
            }
            Object.assign(this, { [key]: value });
        }
    }

    /** Asks the web application for a connection id and starts to listen. */
    connect() {
        this._halt();
        const turn = this._turn;
        this._hasId = false;
        if (!this._retrying || this._state === 'disconnected') {
            this._setState('connecting', 'connect');
        }
        if (turn !== this._turn) {
            // A listener of the event `state` has closed the connection, or has begun another attempt.
            return this.ready();
        }
        this._subscriptions.update();
        const request = prepare(this, {
            kind: 'connect',
            url: this.connectUrl,
            body: { username: this.username, channels: this._subscriptions.forConnect() },
            timeoutMs: CONNECT_TIMEOUT_MS,
        });
        request.handleResponse = (answer, data) => this._onConnected(request, answer, data);
        request.handleError = (answer, data) => this._onConnectFailed(request, answer, data);
        this._connecting = request;
        try {
            mutate(this, 'connect', request);
        } catch (error) {
            // Also tried again: the next attempt may find the mutator in a better state.
            if (turn === this._turn) {
                request.fail(error);
            }
            throw error;
        }
        if (turn === this._turn) {
            execute(request, 'POST');
        }
        return this.ready();
    }

    /** Stops listening and tells the server at `disconnectUrl` to forget the connection. */
    disconnect() {
        const told = this.disconnectUrl && this.connectionId ? this._sendGoodbye(this.connectionId) : Promise.resolve();
        this.closeConnection();
        return told;
    }

    /** Stops listening and does not come back until connect() is called. */
    closeConnection() {
        this._halt();
        this._end('closed');
        this._tell('connectionClosedCallback');
    }

    /** Starts to listen with `connectionId`, after beforeListeningCallback. */
    startListening(request, data) {
        const turn = this._turn;
        this._tell('beforeListeningCallback', request, data);
        if (turn === this._turn) {
            this._listen();
        }
    }

    /** Listens over a websocket with `connectionId`. */
    openWebsocket() {
        this._listen('websocket');
    }

    /** Listens over long-polling with `connectionId`, and stays with it. */
    openLongPoll() {
        this._listen('longpoll');
    }

    /** Calls connect() after the next wait of the back-off, if `shouldReconnect` is set. */
    retryConnection() {
        this._scheduleConnect({});
    }

    /** @param {string} id */
    _sendGoodbye(id) {
        return send(this, {
            kind: 'disconnect',
            url: withParameter(this.disconnectUrl, 'conn_id', id),
            body: { conn_id: id },
            callback: 'disconnect',
        });
    }

    /**
     * @param {import('./request.js').ChannelStreamRequest} request
     * @param {XMLHttpRequest} answer
     * @param {any} data
     */
    _onConnected(request, answer, data) {
        if (typeof data?.conn_id !== 'string' || data.conn_id === '' || answer.status >= 400) {
            this._onConnectFailed(request, answer, data);
            return;
        }
        this._connecting = null;
        const turn = this._turn;
        const previousId = this._takeId(data);
        this._tell('connectCallback', answer, data);
        this._emit('connect', { connectionId: data.conn_id, previousId, data });
        if (turn === this._turn) {
            this.startListening(answer, data);
        }
    }

    /**
     * @param {import('./request.js').ChannelStreamRequest} request
     * @param {XMLHttpRequest} answer
     * @param {any} data
     */
    _onConnectFailed(request, answer, data) {
        this._connecting = null;
        const error = answer.status > 0 && answer.status < 400
            ? new ChannelStreamError('answer', 'connect', 'the answer has no conn_id', { status: answer.status, data })
            : ChannelStreamError.of('connect', request, data);
        if (this.shouldReconnect) {
            this._scheduleConnect({ atLeastMs: askedWaitMs(answer) });
        } else {
            this._end('failed');
        }
        this._tell('connectErrorCallback', answer, data);
        this._emit('error', error);
    }
}

/**
 * How long an application that is overloaded wants to be left alone.
 *
 * @param {XMLHttpRequest} answer
 * @returns {number}
 */
function askedWaitMs(answer) {
    // Not by name: browsers complain in the console about headers that another origin keeps to itself.
    const [, seconds] = /^retry-after: *(\d+)/im.exec(answer.getAllResponseHeaders() ?? '') ?? [];
    return [429, 503].includes(answer.status) ? Number(seconds ?? 0) * 1_000 : 0;
}
