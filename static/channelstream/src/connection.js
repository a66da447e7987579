import { ChannelStreamBackend } from './backend.js';
import { Backoff } from './backoff.js';
import { LongPollListener } from './longpoll.js';
import { afterLongPoll, afterWebSocket } from './reconnect.js';
import { withParameter } from './request.js';
import { WebSocketListener } from './websocket.js';

/** How long to stay with long-polling after a websocket did not get through. */
const WEBSOCKET_RETRY_MS = 300_000;

/** `connect()` answers at once or never. */
const CONNECT_TIMEOUT_MS = 30_000;

/**
 * A page's connection: listens on the channelstream server and sends everything else to the web application.
 *
 * Set the addresses and callbacks, then call `connect()`. From there the connection keeps itself alive, over
 * websocket or long-polling, until `closeConnection()` or `disconnect()`.
 */
export class ChannelStreamConnection extends ChannelStreamBackend {
    /** @returns {string} the version of this library */
    static get version() {
        return '1.0.0';
    }

    /** @type {string} the server's websocket, ws: or wss: */
    websocketUrl = '';
    /** @type {string} the server's long-polling */
    longPollUrl = '';
    /** @type {string} where disconnect() tells the server */
    disconnectUrl = '';
    /** @type {?WebSocket} the socket in use */
    websocket = null;
    /** @type {boolean} whether to come back after a failure */
    shouldReconnect = true;
    /** @type {boolean} whether to send heartbeats on the websocket */
    heartbeats = true;
    /** @type {number} bound of the first wait before a reconnect, in milliseconds; it doubles up to a minute */
    increaseBounceIv = 2000;
    /** @type {boolean} whether to use long-polling only */
    noWebsocket = false;
    /** @type {boolean} whether the connection is listening */
    connected = false;

    _backoff = new Backoff();
    _listener = null;
    _connecting = null;
    /** Counts ends, so that a callback that ends the connection is noticed. */
    _turn = 0;
    _retryTimer = null;
    _lostAt = null;
    _muteSockets = 0;
    /** Long-polling instead of websocket until then; Infinity while it has yet to show that it does better. */
    _longPollUntil = 0;

    /** Asks the web application for a connection id and starts to listen. */
    connect() {
        this._stop();
        this._connecting = this._send({
            kind: 'connect',
            url: this.connectUrl,
            body: { username: this.username, channels: this.channels },
            timeoutMs: CONNECT_TIMEOUT_MS,
            done: (request, data) => this._onConnected(request, data),
            failed: (request, data) => this._onConnectFailed(request, data),
        });
    }

    /** Stops listening and tells the server at `disconnectUrl` to forget the connection. */
    disconnect() {
        this._send({
            kind: 'disconnect',
            url: withParameter(this.disconnectUrl, 'conn_id', this.connectionId),
            body: { conn_id: this.connectionId },
            done: (request, data) => this.disconnectCallback(request, data),
            failed: (request, data) => this.disconnectErrorCallback(request, data),
        });
        this.closeConnection();
    }

    /** Stops listening and does not come back until connect() is called. */
    closeConnection() {
        this._stop();
        this.connectionClosedCallback();
    }

    /** Starts to listen with `connectionId`, after beforeListeningCallback. */
    startListening(request, data) {
        this.beforeListeningCallback(request, data);
        this._listen({ resumed: false });
    }

    /** Listens over a websocket with `connectionId`. */
    openWebsocket() {
        this._openWebsocket({ resumed: false });
    }

    /** Listens over long-polling with `connectionId`. */
    openLongPoll() {
        this._openLongPoll({ resumed: false });
    }

    /** Sends heartbeats on the open websocket unless `heartbeats` is off; listening calls this by itself. */
    createHeartBeats() {
        if (this.heartbeats && this._listener instanceof WebSocketListener) {
            this._listener.startHeartbeats();
        }
    }

    /** Calls connect() after the next wait of the back-off, if `shouldReconnect` is set. */
    retryConnection() {
        this._later(() => this.connect());
    }

    _onConnected(request, data) {
        this._connecting = null;
        if (!data?.conn_id) {
            this._onConnectFailed(request, data);
            return;
        }
        this.connectionId = data.conn_id;
        this._lostAt = null;
        this._setChannels(data);
        const turn = this._turn;
        this.connectCallback(request, data);
        if (turn === this._turn) {
            this.startListening(request, data);
        }
    }

    _onConnectFailed(request, data) {
        this._connecting = null;
        this.retryConnection();
        this.connectErrorCallback(request, data);
    }

    _listen({ resumed }) {
        const longPoll = this.noWebsocket || !globalThis.WebSocket || Date.now() < this._longPollUntil;
        const open = longPoll ? this._openLongPoll : this._openWebsocket;
        open.call(this, { resumed });
    }

    _openWebsocket({ resumed }) {
        this._stop();
        const url = withParameter(this.websocketUrl, 'conn_id', this.connectionId);
        this._listener = new WebSocketListener(url, {
            opened: (event) => this._onOpened(event),
            alive: () => this._onAlive(),
            messages: (list) => this.listenMessageCallback(list),
            error: (event) => this.listenErrorCallback(event),
            ended: (event, end) => this._onWebsocketEnded(event, { ...end, resumed }),
        });
        this._listener.open();
        this.websocket = this._listener.socket;
    }

    _openLongPoll({ resumed }) {
        this._stop();
        const url = withParameter(this.longPollUrl, 'conn_id', this.connectionId);
        const events = {
            opened: (request) => this._onOpened(request),
            alive: () => this._onAlive(),
            messages: (list) => this.listenMessageCallback(list),
            ended: (request, data, end) => this._onLongPollEnded(request, data, { ...end, resumed }),
        };
        this._listener = new LongPollListener(url, events, { trusted: !resumed });
        this._listener.open();
    }

    _onOpened(request) {
        this.connected = true;
        this.createHeartBeats();
        this.listenOpenedCallback(request);
    }

    /** Only now may the waits start anew: a socket that opens and closes at once must not be hammered. */
    _onAlive() {
        this._backoff.reset();
        this._lostAt = null;
        this._muteSockets = 0;
        if (this._longPollUntil === Infinity) {
            this._longPollUntil = Date.now() + WEBSOCKET_RETRY_MS;
        }
    }

    _onWebsocketEnded(event, end) {
        this._muteSockets = end.opened && !end.spoke ? this._muteSockets + 1 : this._muteSockets;
        const step = afterWebSocket({ ...end, lostForMs: this._lost(), muteSockets: this._muteSockets });
        this._follow(step);
        this.listenCloseCallback(event);
    }

    _onLongPollEnded(request, data, end) {
        const lostForMs = this._lost();
        if (this._longPollUntil === Infinity) {
            // Long-polling does not get through either, so nothing speaks against the websocket.
            this._longPollUntil = 0;
        }
        const step = afterLongPoll({ status: end.status, resumed: end.resumed || end.answered, lostForMs });
        this._follow(step);
        this.listenErrorCallback(request, data);
    }

    /** @returns {number} milliseconds since the server was last known to listen to this connection */
    _lost() {
        this.connected = false;
        this._listener = null;
        this._lostAt ??= Date.now();
        return Date.now() - this._lostAt;
    }

    _follow({ action, now }) {
        if (!this.shouldReconnect || action === 'stop') {
            return;
        }
        if (action === 'longPoll') {
            this._longPollUntil = Infinity;
        }
        const step = {
            connect: () => this.connect(),
            resume: () => this._listen({ resumed: true }),
            longPoll: () => this._openLongPoll({ resumed: false }),
        }[action];
        this._later(step, now ? 0 : undefined);
    }

    _later(step, waitMs) {
        if (!this.shouldReconnect) {
            return;
        }
        clearTimeout(this._retryTimer);
        this._retryTimer = setTimeout(step, waitMs ?? this._backoff.next(this.increaseBounceIv));
    }

    /** Ends everything under way, without a report: at any time there is one attempt or one listener, never two. */
    _stop() {
        this._turn += 1;
        clearTimeout(this._retryTimer);
        this._connecting?.abort();
        this._connecting = null;
        this._listener?.close();
        this._listener = null;
        this.websocket = null;
        this.connected = false;
    }
}
