import { ChannelStreamBackend } from './backend.js';
import { execute, prepare } from './call.js';
import { FRAME_TYPES } from './channel.js';
import { sibling } from './choice.js';
import { callPage } from './emitter.js';
import { isFinal, quiet } from './errors.js';
import { Listening } from './listening.js';
import { sendBeacon, watchPage } from './page.js';
import { Positions, reportsLoss } from './positions.js';
import { whenReady } from './ready.js';
import { withParameter } from './request.js';
import { Retry } from './retry.js';
import { Tokens } from './tokens.js';
import { WebSocketListener } from './websocket.js';

/**
 * @typedef {import('../index.js').ConnectionState} ConnectionState
 * @typedef {import('../index.js').OpenEvent} OpenEvent
 * @typedef {import('../index.js').StateReason} StateReason
 * @typedef {import('../index.js').TransportName} TransportName
 */

/** The status of a token for another user than that of the connection. */
const FORBIDDEN = 403;

/** A server that ends sessions more often than this is asked with waits. */
const LOOP_MS = 5_000;

/** The half of a connection that keeps it alive: its state, and the reactions to the start and end of listening. */
export class ChannelStreamLifecycle extends ChannelStreamBackend {
    /** @type {string} the server's websocket, ws: or wss: */
    websocketUrl = '';
    /** @type {string} the server's long-polling */
    longPollUrl = '';
    /** @type {string} the server's stream of events; empty to derive it from `longPollUrl` */
    sseUrl = '';
    /** @type {TransportName[]} the transports to use, the preferred one first */
    transports = ['websocket', 'sse', 'longpoll'];
    /** @type {boolean} whether the server continues where the connection was cut */
    resume = true;
    /** @type {?import('../index.js').GetToken} returns a token with which the page connects instead of `connectUrl` */
    getToken = null;
    /** @type {string} the address that disconnect() calls */
    disconnectUrl = '';
    /** @type {?WebSocket} the socket in use */
    websocket = null;
    /** @type {boolean} whether to reconnect after a failure */
    shouldReconnect = true;
    /** @type {boolean} whether to send heartbeats on the websocket */
    heartbeats = true;
    /** @type {number} bound of the first wait before a reconnect, in milliseconds; it doubles with every failure */
    increaseBounceIv = 2_000;
    /** @type {number} bound of the longest wait before a reconnect, in milliseconds */
    maxReconnectDelayMs = 60_000;
    /** @type {number} how long the server keeps a connection without a transport, in milliseconds */
    graceTimeMs = 30_000;
    /** @type {?number} the silence that ends a websocket, in ms; null to learn it from the server's heartbeats */
    silenceTimeoutMs = null;
    /** @type {boolean} whether to use long-polling only */
    noWebsocket = false;
    /** @type {boolean} whether to send a disconnect to the server when the page is closed */
    disconnectOnPagehide = false;
    /** @type {boolean} whether the connection is listening */
    connected = false;

    /** @type {ConnectionState} */
    _state = 'disconnected';
    /** @type {?OpenEvent} */
    _opening = null;
    /** Whether frames may have been lost since the connection last listened. */
    _gap = false;
    /** @type {?import('./request.js').ChannelStreamRequest} */
    _connecting = null;
    /** Counts ends, so that the library detects a callback that ends the connection. */
    _turn = 0;
    _retrying = false;
    _suspended = false;
    /** @type {(() => void) | null} */
    _unwatch = null;
    _retry = new Retry(this, ({ name, ...wait }) => this._onWait(/** @type {any} */ (name), wait));
    _positions = new Positions();
    _tokens = new Tokens(this, {
        renewed: () => this._sendToken(),
        failed: (error, final) => this._onTokenFailed(error, final),
    });
    _listening = new Listening(this, {
        opened: (request, transport, list) => this._onOpened(request, transport, list),
        alive: () => {
            this._retry.succeeded();
            this._tokens.accepted();
        },
        received: (batch) => this._onReceived(batch),
        error: (event) => this._invoke('listenErrorCallback', event),
        ended: (close, step, request, data) => this._onEnded(close, step, request, data),
        log: (event, details) => this._log(event, details),
    }, this._positions, this._tokens);

    get state() {
        return this._state;
    }

    get transport() {
        return this.connected ? this._listening.transport : null;
    }

    /**
     * Requests a connection id and listens.
     *
     * @returns {Promise<OpenEvent>}
     */
    connect() {
        throw new TypeError('a subclass must define connect()');
    }

    /**
     * Waits until the connection listens.
     *
     * @param {number} [timeoutMs] no limit by default
     * @returns {Promise<OpenEvent>}
     */
    ready(timeoutMs) {
        return quiet(whenReady(this, timeoutMs));
    }

    /** Sends heartbeats on the open websocket unless `heartbeats` is off. The library calls this itself. */
    createHeartBeats() {
        const { listener } = this._listening;
        if (listener instanceof WebSocketListener) {
            listener.startHeartbeats(() => this.heartbeats);
        }
    }

    /** @param {{now?: boolean, atLeastMs?: number}} how */
    _scheduleConnect(how) {
        if (!this.shouldReconnect) {
            return;
        }
        this._retry.schedule('connect', () => {
            // Calls the public method, because pages may have wrapped it.
            this._retrying = true;
            try {
                this.connect();
            } finally {
                this._retrying = false;
            }
        }, how);
    }

    /** Whether no attempt is made until connect() is called. */
    get _isOver() {
        return this._state === 'disconnected' || this._state === 'failed';
    }

    /** @param {TransportName} [transport] */
    _listen(transport) {
        if (this._isOver) {
            this._setState('connecting', 'connect');
        }
        this._retry.cancel();
        this._hasId = true;
        this._listening.start(this.connectionId ?? '', transport);
        this.websocket = this._listening.socket;
    }

    /**
     * @param {any} request
     * @param {TransportName} transport
     * @param {any} [list] the first list of the transport
     */
    _onOpened(request, transport, list) {
        const connectionId = this.connectionId ?? '';
        const resumed = this._opening?.connectionId === connectionId;
        // A client without positions has not asked: its frames in flight may be lost.
        const hasLoss = this._positions.returning ? reportsLoss(list) : undefined;
        const gap = hasLoss ?? (this._gap || (this._opening !== null && !resumed));
        const turn = this._turn;
        this._gap = false;
        this.connected = true;
        this.websocket = this._listening.socket;
        this._opening = { transport, connectionId, resumed, gap };
        this.createHeartBeats();
        this._setState('connected', 'open');
        this._invoke('listenOpenedCallback', request);
        if (turn !== this._turn) {
            return;
        }
        this._emit('open', { transport, connectionId, resumed, gap });
        if (gap && resumed && hasLoss === undefined) {
            // A new connection id would have arrived together with the current members and history.
            this._subscriptions.refresh();
        }
    }

    /** @param {import('./positions.js').Batch} batch */
    _onReceived({ frames, elements, verdicts, channels }) {
        elements.filter(({ type }) => type === 'token').forEach((answer) => this._tokens.answered(answer));
        if (this._tokens.enabled) {
            const added = elements.filter(({ type }) => type === 'subscribed').map(({ channel }) => channel);
            this._takeChannels(channels, added);
        }
        for (const verdict of verdicts) {
            this._emit('recovered', verdict);
            if (!verdict.recovered && verdict.channel !== null) {
                // The answer to connect() has contained the history.
                this._subscriptions.lose(/** @type {any} */ (verdict), this._tokens.enabled || Boolean(this._opening?.resumed));
            }
        }
        if (frames.length > 0) {
            this._onFrames(frames);
        }
    }

    /** @param {any[]} list */
    _onFrames(list) {
        this._invoke('listenMessageCallback', list);
        for (const frame of list) {
            callPage(() => this._subscriptions.receive(frame));
            this._emit('frame', frame);
            if (FRAME_TYPES.includes(frame?.type)) {
                this._emit(frame.type, frame);
            }
        }
    }

    /**
     * @param {import('../index.js').CloseEvent} close
     * @param {import('./reconnect.js').Step} step
     * @param {any} request
     * @param {any} data
     */
    _onEnded(close, step, request, data) {
        this.connected = false;
        this.websocket = null;
        this._gap ||= !close.clean;
        this._log('close', { ...close });
        const next = this._tokens.enabled ? this._withToken(step, close, data) : step;
        if (next) {
            this._follow(next);
        }
        this._invoke(close.transport === 'websocket' ? 'listenCloseCallback' : 'listenErrorCallback', request, data);
        this._emit('close', close);
    }

    /** @param {import('./reconnect.js').Step} step */
    _follow({ action, transport, now, fresh, atLeastMs, reason }) {
        if (!this.shouldReconnect || action === 'stop') {
            this._end(reason);
            return;
        }
        if (this._state === 'connected') {
            this._setState('reconnecting', reason);
        }
        if (action === 'connect') {
            this._scheduleConnect({ now });
        } else {
            this._retry.schedule('resume', () => this._resume(transport, fresh), { now, atLeastMs });
        }
    }

    /**
     * With a token the connection keeps its id, and listens with a new token if the present one is of no use.
     *
     * @param {import('./reconnect.js').Step} step
     * @param {import('../index.js').CloseEvent} close
     * @param {any} data
     * @returns {?import('./reconnect.js').Step} null if the connection has failed
     */
    _withToken(step, { status, reason }, data) {
        if (step.action !== 'connect') {
            return step;
        }
        if (step.renew) {
            this._tokens.drop('expired');
            return { ...step, action: 'resume', now: Date.now() - this._retry.lastAttemptAt > LOOP_MS };
        }
        if (status === FORBIDDEN) {
            // The id belongs to another user.
            this.connectionId = null;
        }
        return this._tokens.refused(reason, data) ? step : null;
    }

    /**
     * @param {import('./errors.js').ChannelStreamError} error
     * @param {boolean} final
     */
    _onTokenFailed(error, final) {
        if (final || !(this.connected || this.shouldReconnect)) {
            this._halt();
            this._end('failed', final ? 'failed' : 'disconnected');
        }
        this._emit('error', error);
    }

    /** Replaces the token of the session that is open. Without one, the next session starts with it. */
    _sendToken() {
        const { token } = this._tokens;
        const { socket, transport, choice } = this._listening;
        if (!this.connected) {
            return;
        }
        if (socket) {
            socket.send(JSON.stringify({ type: 'token', token }));
            return;
        }
        const url = sibling(transport === 'sse' ? choice.sseUrl : this.longPollUrl, 'token');
        const request = prepare(this, { url, body: { conn_id: this.connectionId, token } });
        request.handleResponse = () => this._tokens.accepted();
        request.handleError = ({ status }, data) => {
            if (isFinal(status)) {
                this._tokens.answered({ error: `status ${status}`, data });
            }
        };
        execute(request, 'POST');
    }

    /**
     * @param {TransportName} [transport]
     * @param {boolean} [fresh]
     */
    _resume(transport, fresh) {
        this._tokens.ensure(() => {
            this._listening.resume(transport, fresh);
            this.websocket = this._listening.socket;
        }, () => this._retry.schedule('resume', () => this._resume(transport, fresh)));
    }

    /**
     * @param {'connect' | 'resume'} action
     * @param {{attempt: number, delayMs: number}} wait
     */
    _onWait(action, wait) {
        this._log('retry', { action, ...wait });
        this._emit('retry', { action, ...wait });
    }

    /**
     * Ends the connection until connect() is called again.
     *
     * @param {StateReason} reason
     * @param {ConnectionState} [state]
     */
    _end(reason, state = 'disconnected') {
        this._hasId = false;
        this._tokens.cancel();
        this._subscriptions.close();
        this._setState(state, reason);
    }

    /**
     * @param {ConnectionState} state
     * @param {StateReason} reason
     */
    _setState(state, reason) {
        const previous = this._state;
        this._state = state;
        if (this._isOver) {
            this._unwatch?.();
            this._unwatch = null;
        } else {
            this._unwatch ??= this._watch();
        }
        if (state !== previous) {
            this._log('state', { state, previous, reason });
            this._emit('state', { state, previous, reason });
        }
    }

    _watch() {
        return watchPage({
            wake: () => this._onWake(),
            online: () => {
                this._listening.resetTrust();
                this._onWake();
            },
            offline: () => this._listening.checkAlive(),
            suspend: (event) => this._suspend(event),
            resume: () => this._wakeUp(),
        });
    }

    _onWake() {
        this._retry.retrySoon();
        this._listening.checkAlive();
    }

    /**
     * Stops listening. An open socket keeps the page out of the back/forward cache, and browsers close the socket of a
     * frozen page together with the frames that it has received. Without a listener the server keeps the frames.
     *
     * @param {{type: string, persisted?: boolean}} event
     */
    _suspend({ type, persisted }) {
        const id = this._hasId && this.connectionId;
        this._gap ||= this.connected;
        this._halt();
        this._suspended = true;
        if (this._state === 'connected') {
            this._setState('reconnecting', 'suspended');
        }
        if (this.disconnectOnPagehide && type === 'pagehide' && !persisted && this.disconnectUrl && id) {
            // Sent as text, which needs no preflight request: the page is gone before a preflight could finish.
            const url = withParameter(this.disconnectUrl, 'conn_id', id);
            sendBeacon(url, JSON.stringify({ conn_id: id }));
        }
    }

    _wakeUp() {
        if (!this._suspended) {
            this._onWake();
            return;
        }
        this._suspended = false;
        if (this._hasId) {
            this._resume();
        } else {
            this._scheduleConnect({ now: true });
        }
    }

    /** Ends all activity without a report. There is at most one attempt or one listener at any time. */
    _halt() {
        this._turn += 1;
        this._suspended = false;
        this._retry.cancel();
        this._tokens.cancel();
        this._connecting?.abort();
        this._connecting = null;
        this._listening.stop();
        this.websocket = null;
        this.connected = false;
    }
}
