import { execute, mutate, prepare, send } from './call.js';
import { ChannelStreamError } from './errors.js';
import { ChannelStreamLifecycle } from './lifecycle.js';
import { withParameter } from './request.js';
import { listOf } from './untrusted.js';
import { randomId } from './upgrade.js';

/** An application responds to `connect()` quickly or not at all. */
const CONNECT_TIMEOUT_MS = 30_000;

/**
 * A page's connection: it listens on the channelstream server and sends everything else to the web application.
 *
 * Set the addresses and callbacks, then call `connect()`. The connection then stays alive, over websocket or
 * long-polling, until `closeConnection()` or `disconnect()`.
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

    /** Requests a connection id from the web application and starts to listen. */
    connect() {
        this._halt();
        const turn = this._turn;
        this._hasId = false;
        if (!this._retrying || this._isOver) {
            this._setState('connecting', 'connect');
        }
        if (turn !== this._turn) {
            // A listener of the event `state` has closed the connection or started another attempt.
            return this.ready();
        }
        this._subscriptions.update();
        if (this._tokens.enabled) {
            this._connectWithToken();
            return this.ready();
        }
        const request = prepare(this, {
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
            // The library tries again, because the mutator may succeed the next time.
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

    /** Lets the server make the connection from a token. The page chooses its id, which stays. */
    _connectWithToken() {
        if (!this._retrying) {
            this._tokens.accepted();
        }
        this._tokens.request(this._tokens.reason, () => {
            this.connectionId ??= randomId();
            this._subscriptions.isKnown = false;
            listOf(this.channels).forEach((name) => this._subscriptions.wanted.add(name));
            this._subscriptions.renew();
            this.startListening();
        }, () => this._scheduleConnect({}));
    }

    /** Stops listening and requests at `disconnectUrl` that the server remove the connection. */
    disconnect() {
        const { connectionId } = this;
        const sent = this.disconnectUrl && connectionId ? this._sendDisconnect(connectionId) : Promise.resolve();
        this.closeConnection();
        return sent;
    }

    /** Stops listening until connect() is called again. */
    closeConnection() {
        this._halt();
        this._end('closed');
        this._invoke('connectionClosedCallback');
    }

    /** Calls beforeListeningCallback, then starts to listen with `connectionId`. */
    startListening(request, data) {
        const turn = this._turn;
        this._invoke('beforeListeningCallback', request, data);
        if (turn === this._turn) {
            this._listen();
        }
    }

    /** Listens over a websocket with `connectionId`. */
    openWebsocket() {
        this._listen('websocket');
    }

    /** Listens over long-polling with `connectionId`, and does not change to a websocket. */
    openLongPoll() {
        this._listen('longpoll');
    }

    /** Calls connect() after the next wait of the back-off, if `shouldReconnect` is set. */
    retryConnection() {
        this._scheduleConnect({});
    }

    /** @param {string} id */
    _sendDisconnect(id) {
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
        this._invoke('connectCallback', answer, data);
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
        const { status } = answer;
        const error = status > 0 && status < 400
            ? new ChannelStreamError('answer', 'connect', 'the response has no conn_id', { status, data })
            : ChannelStreamError.of('connect', request, data);
        if (this.shouldReconnect) {
            this._scheduleConnect({ atLeastMs: askedWaitMs(answer) });
        } else {
            this._end('failed');
        }
        this._invoke('connectErrorCallback', answer, data);
        this._emit('error', error);
    }
}

/**
 * How long an overloaded application asks the client to wait.
 *
 * @param {XMLHttpRequest} answer
 * @returns {number}
 */
function askedWaitMs(answer) {
    // Does not read the header by name, because browsers then report headers that another origin hides in the console.
    const [, seconds] = /^retry-after: *(\d+)/im.exec(answer.getAllResponseHeaders() ?? '') ?? [];
    return [429, 503].includes(answer.status) ? Number(seconds ?? 0) * 1_000 : 0;
}
