import { LongPollListener } from './longpoll.js';
import { afterLongPoll, afterWebSocket, isOfServer } from './reconnect.js';
import { withParameter } from './request.js';
import { Rhythm } from './rhythm.js';
import { LASTING_MS, Upgrade } from './upgrade.js';
import { WebSocketListener } from './websocket.js';

/**
 * @typedef {import('../index.js').TransportName} TransportName
 * @typedef {import('./reconnect.js').Step} Step
 *
 * @typedef {object} Settings read each time they are needed
 * @property {string} websocketUrl
 * @property {string} longPollUrl
 * @property {boolean} noWebsocket
 * @property {number} graceTimeMs
 * @property {?number} silenceTimeoutMs
 *
 * @typedef {object} ListeningEvents
 * @property {(request: any, transport: TransportName) => void} opened
 * @property {() => void} alive the server is known to have the connection
 * @property {(list: any[]) => void} frames
 * @property {(event: any) => void} error
 * @property {(close: import('../index.js').CloseEvent, step: Step, request: any, data?: any) => void} ended
 * @property {(event: string, details: Record<string, unknown>) => void} log
 */

/**
 * Listens with a connection id, on one transport at a time. Changes the transport from a blocked websocket to
 * long-polling, and back when websockets work. The owner decides whether and when to start again after an end.
 */
export class Listening {
    /**
     * @param {Settings} settings
     * @param {ListeningEvents} events
     */
    constructor(settings, events) {
        this.settings = settings;
        this.events = events;
        this.id = '';
        /** @type {WebSocketListener | LongPollListener | null} */
        this.listener = null;
        /** @type {?WebSocketListener} a socket that will replace polling */
        this.successor = null;
        this.upgrade = new Upgrade((id) => this.urlOf(settings.websocketUrl, id), (works) => this.onProbed(works));
        this.rhythm = new Rhythm();
        /** @type {?number} the time at which the server became unreachable */
        this.lostAt = null;
        this.muteSockets = 0;
        this.openedAt = 0;
        /** Whether websockets were blocked while long-polling worked. */
        this.distrusted = false;
        /** Whether the page has chosen long-polling. */
        this.pinned = false;
    }

    get canSocket() {
        return Boolean(this.settings.websocketUrl && !this.settings.noWebsocket && globalThis.WebSocket);
    }

    get canPoll() {
        return Boolean(this.settings.longPollUrl);
    }

    /** @returns {?TransportName} the transport in use, or being opened */
    get transport() {
        if (!this.listener) {
            return null;
        }
        return this.listener instanceof WebSocketListener ? 'websocket' : 'longpoll';
    }

    /** @returns {?WebSocket} */
    get socket() {
        return this.listener instanceof WebSocketListener ? this.listener.socket : null;
    }

    /**
     * Listens with an id that the server has just issued.
     *
     * @param {string} id
     * @param {TransportName} [transport] by default the preferred one
     */
    start(id, transport) {
        this.id = id;
        this.lostAt = null;
        this.rhythm = new Rhythm();
        this.pinned = transport === 'longpoll';
        this.open(transport ?? this.preferred(), { resumed: false });
    }

    /**
     * Listens again with the present id.
     *
     * @param {TransportName} [transport]
     * @param {boolean} [fresh] whether the id still counts as just issued
     */
    resume(transport, fresh = false) {
        this.open(transport ?? this.preferred(), { resumed: !fresh });
    }

    /** Ends without a report. */
    stop() {
        this.upgrade.cancel();
        this.successor?.close();
        this.successor = null;
        this.listener?.close();
        this.listener = null;
    }

    /** The page was hidden, or the network may have changed, so the transport may be dead. */
    checkAlive() {
        this.listener?.checkAlive();
    }

    /** A network is available again, and it may be a different one. */
    resetTrust() {
        this.distrusted = false;
        this.muteSockets = 0;
        this.upgrade.reset();
        if (this.upgrade.timer) {
            this.upgrade.schedule();
        }
    }

    preferred() {
        const doubtful = this.pinned || (this.distrusted && this.canPoll);
        return this.canSocket && !doubtful ? 'websocket' : 'longpoll';
    }

    /**
     * @param {string} url
     * @param {string} id
     */
    urlOf(url, id) {
        return withParameter(url, 'conn_id', id);
    }

    /**
     * @param {TransportName} transport
     * @param {{resumed: boolean}} how
     */
    open(transport, { resumed }) {
        this.stop();
        this.events.log('open', { transport, resumed });
        this.listener = transport === 'websocket' ? this.newSocket(resumed) : this.newPoll(resumed);
        this.listener.open();
    }

    /** @param {boolean} resumed */
    newPoll(resumed) {
        return new LongPollListener(this.urlOf(this.settings.longPollUrl, this.id), {
            opened: (request) => this.events.opened(request, 'longpoll'),
            alive: () => this.onPollAlive(),
            frames: this.events.frames,
            ended: (request, data, end) => this.onPollEnded(request, data, { ...end, resumed }),
        }, { trusted: !resumed });
    }

    /** @param {boolean} resumed */
    newSocket(resumed) {
        const { rhythm, settings } = this;
        const socket = new WebSocketListener(this.urlOf(settings.websocketUrl, this.id), {
            opened: (event) => this.onSocketOpened(socket, event),
            alive: () => this.onAlive(),
            frames: this.events.frames,
            error: (event) => socket === this.listener && this.events.error(event),
            ended: (event, end) => this.onSocketEnded(socket, event, { ...end, resumed }),
        }, { trusted: !resumed, rhythm, silenceMs: settings.silenceTimeoutMs });
        return socket;
    }

    /**
     * @param {WebSocketListener} socket
     * @param {Event} event
     */
    onSocketOpened(socket, event) {
        if (socket === this.successor) {
            this.stopPolling();
            this.listener = socket;
        }
        this.openedAt = Date.now();
        this.events.opened(event, 'websocket');
    }

    stopPolling() {
        this.listener?.close();
        this.successor = null;
        this.distrusted = false;
    }

    /** Resets the waits, but not sooner: reconnects without waits could overload a server that closes each socket. */
    onAlive() {
        this.lostAt = null;
        this.muteSockets = 0;
        this.events.alive();
    }

    onPollAlive() {
        this.onAlive();
        if (this.canSocket && !this.pinned && !this.upgrade.busy && !this.successor) {
            this.distrusted = true;
            this.upgrade.schedule();
        }
    }

    /** @param {boolean} works */
    onProbed(works) {
        this.events.log('probe', { works });
        const poll = this.listener;
        if (works && poll instanceof LongPollListener) {
            poll.pause(() => this.changeToSocket());
        } else {
            this.upgrade.schedule();
        }
    }

    /** No poll is in flight, so frames wait on the server until the socket is open and stay in order. */
    changeToSocket() {
        this.successor = this.newSocket(true);
        this.successor.open();
    }

    /**
     * @param {WebSocketListener} socket
     * @param {any} event
     * @param {import('./websocket.js').SocketEnd & {resumed: boolean}} end
     */
    onSocketEnded(socket, event, end) {
        if (socket === this.successor) {
            this.stayWithPolling();
            return;
        }
        // A close code that only the server sends shows that data comes through.
        this.muteSockets += end.opened && !end.receivedFrame && !isOfServer(end.code) ? 1 : 0;
        if (end.opened && Date.now() - this.openedAt > LASTING_MS) {
            this.upgrade.reset();
        }
        const { muteSockets, canPoll } = this;
        const graceMs = this.settings.graceTimeMs;
        const step = afterWebSocket({ ...end, lostForMs: this.lose(), graceMs, muteSockets, canPoll });
        const { code, reason, clean } = end;
        this.events.ended({ transport: 'websocket', code, reason, clean }, step, event);
    }

    stayWithPolling() {
        this.successor = null;
        this.upgrade.schedule();
        if (this.listener instanceof LongPollListener) {
            this.listener.resume();
        }
    }

    /**
     * @param {XMLHttpRequest} request
     * @param {any} data
     * @param {{status: number, answered: boolean, resumed: boolean}} end
     */
    onPollEnded(request, data, { status, answered, resumed }) {
        if (!answered) {
            // Long-polling is blocked too, so there is no reason to avoid the websocket.
            this.distrusted = false;
        }
        const { canSocket } = this;
        const graceMs = this.settings.graceTimeMs;
        const lostForMs = this.lose();
        const step = afterLongPoll({ status, answered, resumed: resumed || answered, lostForMs, graceMs, canSocket });
        const reason = status ? `status ${status}` : 'no response';
        this.events.ended({ transport: 'longpoll', status, reason, clean: status !== 0 }, step, request, data);
    }

    /** @returns {number} milliseconds since the server was last known to be reachable */
    lose() {
        this.stop();
        this.lostAt ??= Date.now();
        return Date.now() - this.lostAt;
    }
}
