import { TransportChoice } from './choice.js';
import { EventSourceListener } from './eventsource.js';
import { LongPollListener } from './longpoll.js';
import { afterLongPoll, afterStream, afterWebSocket, isOfServer } from './reconnect.js';
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
 * @property {string} sseUrl
 * @property {TransportName[]} transports
 * @property {boolean} resume
 * @property {boolean} noWebsocket
 * @property {number} graceTimeMs
 * @property {?number} silenceTimeoutMs
 *
 * @typedef {object} ListeningEvents
 * @property {(request: any, transport: TransportName, list?: any) => void} opened with the first list, if one has arrived
 * @property {() => void} alive the server is known to have the connection
 * @property {(batch: import('./positions.js').Batch) => void} received
 * @property {(event: any) => void} error
 * @property {(close: import('../index.js').CloseEvent, step: Step, request: any, data?: any) => void} ended
 * @property {(event: string, details: Record<string, unknown>) => void} log
 */

/** The status of a refused parameter. */
const UNPROCESSABLE = 422;

/**
 * Listens with a connection id, on one transport at a time. Changes the transport from a blocked websocket to another
 * one, and back when websockets work. The owner decides whether and when to start again after an end.
 */
export class Listening {
    /**
     * @param {Settings} settings
     * @param {ListeningEvents} events
     * @param {import('./positions.js').Positions} positions
     * @param {import('./tokens.js').Tokens} tokens
     */
    constructor(settings, events, positions, tokens) {
        this.settings = settings;
        this.events = events;
        this.positions = positions;
        this.tokens = tokens;
        this.choice = new TransportChoice(settings);
        this.id = '';
        /** @type {WebSocketListener | EventSourceListener | LongPollListener | null} */
        this.listener = null;
        /** @type {?WebSocketListener} a socket that will replace another transport */
        this.successor = null;
        this.upgrade = new Upgrade((id) => (tokens.enabled ? '' : withParameter(settings.websocketUrl, 'conn_id', id)), (works) => this.onProbed(works));
        this.rhythm = new Rhythm();
        /** @type {?number} the time at which the server became unreachable */
        this.lostAt = null;
        this.muteSockets = 0;
        this.openedAt = 0;
    }

    /** @returns {?TransportName} the transport in use, or being opened */
    get transport() {
        const { listener } = this;
        if (!listener) {
            return null;
        }
        if (listener instanceof WebSocketListener) {
            return 'websocket';
        }
        return listener instanceof EventSourceListener ? 'sse' : 'longpoll';
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
        this.choice.pinned = transport === 'longpoll';
        this.open(transport ?? this.choice.preferred, { resumed: false });
    }

    /**
     * Listens again with the present id.
     *
     * @param {TransportName} [transport]
     * @param {boolean} [fresh] whether the id still counts as just issued
     */
    resume(transport, fresh = false) {
        this.open(transport ?? this.choice.preferred, { resumed: !fresh });
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
        this.choice.distrusted.clear();
        this.muteSockets = 0;
        this.upgrade.reset();
        if (this.upgrade.timer) {
            this.upgrade.schedule();
        }
    }

    /**
     * @param {TransportName} transport
     * @param {boolean} [first] whether the transport starts, and does not just send its next poll
     */
    addressOf(transport, first = true) {
        const { settings, tokens, positions, choice } = this;
        const urls = { websocket: settings.websocketUrl, sse: choice.sseUrl, longpoll: settings.longPollUrl };
        let address = withParameter(urls[transport], 'conn_id', this.id);
        if (tokens.enabled && transport !== 'websocket') {
            address = withParameter(address, 'token', tokens.token ?? '');
        }
        if (settings.resume && transport !== 'sse') {
            address = withParameter(address, 'resume', '1');
        }
        return settings.resume ? positions.addTo(address, first) : address;
    }

    /**
     * @param {any[]} list
     * @param {boolean} polled
     * @returns {() => void} passes it to the page
     */
    receive(list, polled) {
        const batch = this.positions.take(list, polled);
        return () => this.events.received(batch);
    }

    /**
     * @param {TransportName} transport
     * @param {{resumed: boolean}} how
     */
    open(transport, { resumed }) {
        this.stop();
        this.events.log('open', { transport, resumed });
        this.listener = this.newListener(transport, resumed);
        this.listener.open();
    }

    /**
     * @param {TransportName} transport
     * @param {boolean} resumed
     */
    newListener(transport, resumed) {
        if (transport === 'websocket') {
            return this.newSocket(resumed);
        }
        return transport === 'sse' ? this.newStream(resumed) : this.newPoll(resumed);
    }

    /** @param {boolean} resumed */
    newPoll(resumed) {
        return new LongPollListener((first) => this.addressOf('longpoll', first), {
            opened: (request, list) => this.events.opened(request, 'longpoll', list),
            alive: () => this.onOtherAlive(),
            received: (list) => this.receive(list, true),
            ended: (request, data, end) => this.onPollEnded(request, data, { ...end, resumed }),
        }, { trusted: this.trusts(resumed) });
    }

    /** @param {boolean} resumed */
    newStream(resumed) {
        return new EventSourceListener(() => this.addressOf('sse'), {
            opened: (event, list) => this.events.opened(event, 'sse', list),
            alive: () => this.onOtherAlive(),
            frames: (list, cursor) => {
                const deliver = this.receive(list, false);
                this.positions.note(cursor);
                deliver();
            },
            ended: (event, end) => this.onStreamEnded(event, { ...end, resumed }),
        }, this.settings.silenceTimeoutMs);
    }

    /** @param {boolean} resumed */
    newSocket(resumed) {
        const { rhythm, settings, tokens } = this;
        const protocols = tokens.enabled ? ['channelstream.v1', `channelstream.token.${tokens.token}`] : [];
        const address = this.addressOf('websocket');
        // A client that returns waits for the answer about its losses.
        const trusted = this.trusts(resumed) && !this.positions.returning;
        const socket = new WebSocketListener(address, {
            opened: (event, list) => this.onSocketOpened(socket, event, list),
            alive: () => this.onAlive(),
            frames: (list) => this.receive(list, false)(),
            error: (event) => socket === this.listener && this.events.error(event),
            ended: (event, end) => this.onSocketEnded(socket, event, { ...end, resumed }),
        }, { trusted, rhythm, silenceMs: settings.silenceTimeoutMs, protocols });
        return socket;
    }

    /**
     * Whether the server is known to have the connection. With a token, it makes the connection when it accepts the token.
     *
     * @param {boolean} resumed
     */
    trusts(resumed) {
        return !resumed && !this.tokens.enabled;
    }

    /**
     * @param {WebSocketListener} socket
     * @param {Event} event
     * @param {any} list
     */
    onSocketOpened(socket, event, list) {
        if (socket === this.successor) {
            this.listener?.close();
            this.successor = null;
            this.choice.distrusted.delete('websocket');
            this.listener = socket;
        }
        this.openedAt = Date.now();
        this.events.opened(event, 'websocket', list);
    }

    /** Resets the waits, but not sooner: reconnects without waits could overload a server that closes each socket. */
    onAlive() {
        this.lostAt = null;
        this.muteSockets = 0;
        this.events.alive();
    }

    onOtherAlive() {
        this.onAlive();
        if (this.choice.prefersSocketTo(this.transport) && !this.upgrade.busy && !this.successor) {
            this.choice.distrusted.add('websocket');
            this.upgrade.schedule();
        }
    }

    /** @param {boolean} works */
    onProbed(works) {
        this.events.log('probe', { works });
        const { listener } = this;
        if (works && listener && !(listener instanceof WebSocketListener)) {
            listener.pause(() => this.changeToSocket());
        } else {
            this.upgrade.schedule();
        }
    }

    /** No poll or stream is open, so frames wait on the server until the socket is open and stay in order. */
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
            this.stay();
            return;
        }
        // A close code that only the server sends shows that data comes through.
        this.muteSockets += end.opened && !end.receivedFrame && !isOfServer(end.code) ? 1 : 0;
        if (end.opened && Date.now() - this.openedAt > LASTING_MS) {
            this.upgrade.reset();
        }
        const { muteSockets, graceMs } = this;
        const step = afterWebSocket({ ...end, lostForMs: this.lose(), graceMs, muteSockets, other: this.choice.other('websocket') });
        const { code, reason, clean } = end;
        this.events.ended({ transport: 'websocket', code, reason, clean }, step, event);
    }

    stay() {
        this.successor = null;
        this.upgrade.schedule();
        if (this.listener && !(this.listener instanceof WebSocketListener)) {
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
            // Long-polling is blocked too, so there is no reason to avoid the other transports.
            this.choice.distrusted.clear();
        }
        if (status === UNPROCESSABLE) {
            // The server allows fewer positions, or does not understand them.
            this.positions.clear();
        }
        const { graceMs } = this;
        const other = this.choice.other('longpoll');
        const lostForMs = this.lose();
        const step = afterLongPoll({ status, answered, resumed: resumed || answered, lostForMs, graceMs, other });
        const reason = status ? `status ${status}` : 'no response';
        this.events.ended({ transport: 'longpoll', status, reason, clean: status !== 0 }, step, request, data);
    }

    /**
     * @param {any} event
     * @param {import('./eventsource.js').StreamEnd & {resumed: boolean}} end
     */
    onStreamEnded(event, end) {
        if (end.refused || (!end.opened && event?.type === 'timeout')) {
            // The server is older, or a proxy holds the stream back.
            this.choice.distrusted.add('sse');
        }
        const { graceMs } = this;
        const step = afterStream({ ...end, lostForMs: this.lose(), graceMs, other: this.choice.other('sse') });
        const { code, reason, clean } = end;
        this.events.ended({ transport: 'sse', code, reason, clean }, step, event);
    }

    /** With a token the server makes a connection that it has forgotten, so the id stays. */
    get graceMs() {
        return this.tokens.enabled ? Infinity : this.settings.graceTimeMs;
    }

    /** @returns {number} milliseconds since the server was last known to be reachable */
    lose() {
        this.stop();
        this.lostAt ??= Date.now();
        return Date.now() - this.lostAt;
    }
}
