import { send } from './call.js';
import { ChannelStreamCallbacks } from './callbacks.js';
import { FRAME_TYPES } from './channel.js';
import { quiet } from './errors.js';
import { REQUEST_TIMEOUT_MS } from './request.js';
import { Subscriptions } from './subscriptions.js';
import { listOf } from './untrusted.js';

/** @typedef {import('../index.js').RequestKind} RequestKind */

const EVENTS = ['state', 'connect', 'open', 'close', 'retry', 'recovered', 'channels', 'error', 'frame', ...FRAME_TYPES];

/** The half of a connection that talks to the web application: one request per call. */
export class ChannelStreamBackend extends ChannelStreamCallbacks {
    /** @type {string[]} the channels that connect() requests; afterwards those that the server has confirmed */
    channels = [];
    /** @type {string} sent with connect() */
    username = 'Anonymous';
    /** @type {?string} issued by the server */
    connectionId = null;
    /** @type {string} address at which connect() requests a connection id */
    connectUrl = '';
    /** @type {string} address of subscribe() */
    subscribeUrl = '';
    /** @type {string} address of unsubscribe() */
    unsubscribeUrl = '';
    /** @type {string} address of updateUserState() */
    userStateUrl = '';
    /** @type {string} address of message() */
    messageUrl = '';
    /** @type {string} address of edit() */
    messageEditUrl = '';
    /** @type {string} address of delete() */
    messageDeleteUrl = '';
    /** @type {string} address of info() */
    infoUrl = '';
    /** @type {number} how long to wait for a response, in milliseconds */
    requestTimeoutMs = REQUEST_TIMEOUT_MS;
    /**
     * Functions that may change requests before they are sent; see addMutator().
     *
     * @type {Record<RequestKind, import('../index.js').Mutator[]>}
     */
    mutators = {
        connect: [],
        message: [],
        messageEdit: [],
        messageDelete: [],
        subscribe: [],
        unsubscribe: [],
        disconnect: [],
        userState: [],
        info: [],
    };

    /** Whether `connectionId` belongs to the latest connect(), as far as the library knows. */
    _hasId = false;
    _subscriptions = new Subscriptions(/** @type {any} */ (this));

    constructor() {
        super(EVENTS);
    }

    /**
     * Adds a function that receives each request of a kind before it is sent and may change its `url`, `body` and
     * `headers`. Mutators run in the order in which they were added.
     *
     * @param {RequestKind} type a key of `mutators`
     * @param {import('../index.js').Mutator} func
     */
    addMutator(type, func) {
        this.mutators[type].push(func);
    }

    /**
     * Changes the user's state, by POST to `userStateUrl`.
     *
     * @param {object} stateObj
     */
    updateUserState(stateObj) {
        return send(this, {
            kind: 'userState',
            url: this.userStateUrl,
            body: { username: this.username, conn_id: this.connectionId, update_state: stateObj },
            callback: 'setUserState',
        });
    }

    /**
     * Joins channels, by POST to `subscribeUrl`. Sends nothing if the list is empty. When the connection receives a new
     * id, the library joins the channels again.
     *
     * @param {string[]} channels
     */
    subscribe(channels) {
        const end = this._subscriptions.begin(channels ?? []);
        return this._sendAboutChannels({
            kind: 'subscribe',
            url: this.subscribeUrl,
            body: { channels, conn_id: this.connectionId },
            callback: 'subscribe',
            unless: ({ body }) => !body.channels?.length,
            take: (data) => {
                this._setChannels(data?.channels ?? [...new Set([...listOf(this.channels), ...channels])]);
                end(this.channels);
            },
            fail: () => end([]),
        });
    }

    /**
     * Leaves channels, by POST to `unsubscribeUrl`.
     *
     * @param {string[]} channels
     */
    unsubscribe(channels) {
        this._subscriptions.leave(channels ?? []);
        return this._sendAboutChannels({
            kind: 'unsubscribe',
            url: this.unsubscribeUrl,
            body: { channels, conn_id: this.connectionId },
            callback: 'unsubscribe',
            take: (data) => this._setChannels(data?.channels ?? listOf(this.channels).filter((name) => !(channels ?? []).includes(name))),
        });
    }

    /**
     * Returns the channel of this name, always the same object.
     *
     * @param {string} name
     * @returns {any} typed in index.d.ts
     */
    channel(name) {
        return this._subscriptions.channel(name);
    }

    /**
     * @param {string[]} channels
     * @returns {string[]} the channels that are not joined yet
     */
    calculateSubscribe(channels) {
        return channels.filter((channel) => !this.channels.includes(channel));
    }

    /**
     * @param {string[]} [channels]
     * @returns {string[]} the channels that are joined
     */
    calculateUnsubscribe(channels) {
        return (channels || []).filter((channel) => this.channels.includes(channel));
    }

    /**
     * Sends a message, by POST to `messageUrl`.
     *
     * @param {object|object[]} message
     */
    message(message) {
        return send(this, { kind: 'message', url: this.messageUrl, body: message, callback: 'message' });
    }

    /**
     * Changes a message that was sent, by PATCH to `messageEditUrl`.
     *
     * @param {object|object[]} message with its `uuid`
     */
    edit(message) {
        const url = this.messageEditUrl;
        return send(this, { kind: 'messageEdit', url, verb: 'PATCH', body: message, callback: 'messageEdit' });
    }

    /**
     * Deletes a message, by DELETE to `messageDeleteUrl`.
     *
     * @param {object|object[]} message with its `uuid`
     */
    delete(message) {
        const url = this.messageDeleteUrl;
        return send(this, { kind: 'messageDelete', url, verb: 'DELETE', body: message, callback: 'messageDelete' });
    }

    /**
     * Requests members and messages of the channels, by POST to `infoUrl`.
     *
     * @param {string[]} [channels] by default the joined ones
     */
    info(channels = this.channels) {
        const answer = this._sendAboutChannels({
            kind: 'info',
            url: this.infoUrl,
            body: { channels, conn_id: this.connectionId },
        });
        return quiet(answer.then((data) => data?.channels_info ?? data));
    }

    /**
     * Sends a call whose response contains channels. A response for an earlier connection id is ignored.
     *
     * @param {import('./call.js').Call} call
     */
    _sendAboutChannels({ take, fail, ...call }) {
        const id = this.connectionId;
        const records = this._subscriptions.record();
        return send(this, {
            ...call,
            take: (data) => {
                const present = id === this.connectionId;
                if (present) {
                    take?.(data);
                }
                const info = call.kind === 'info' ? data?.channels_info ?? data : data?.channels_info;
                this._subscriptions.take(present ? info : undefined, records);
            },
            fail: () => {
                this._subscriptions.take(undefined, records);
                fail?.();
            },
        });
    }

    /**
     * Takes over the response to connect().
     *
     * @param {import('../index.js').ConnectReply} data
     * @returns {?string} the previous connection id
     */
    _takeId(data) {
        const previousId = this.connectionId;
        const before = listOf(this.channels);
        const hasChannels = Array.isArray(data.channels);
        this.connectionId = data.conn_id;
        this._hasId = true;
        this.channels = data.channels && hasChannels ? data.channels : before;
        this._subscriptions.renew();
        this._subscriptions.take(data.channels_info);
        if (hasChannels) {
            this._invoke('channelsChangedCallback', this.channels);
            this._emitChannels(before);
        }
        return previousId;
    }

    /**
     * Takes over the channels of a connection that the server has made from a token.
     *
     * @param {?string[]} all null if the server has not named all of them
     * @param {string[]} added
     */
    _takeChannels(all, added) {
        const before = listOf(this.channels);
        const now = [...new Set([...(all ?? before), ...added])];
        const isFirst = all !== null && !this._subscriptions.isKnown;
        if (isFirst) {
            // The other ones are requested from the application.
            this.channels = before.filter((name) => now.includes(name));
        }
        if (isFirst || now.join() !== before.join()) {
            this._setChannels(now);
        }
        if (isFirst) {
            this._subscriptions.isKnown = true;
            this._subscriptions.flush();
            this._subscriptions.refresh();
        }
    }

    /** @param {any} channels the value from a response */
    _setChannels(channels) {
        if (!Array.isArray(channels)) {
            return;
        }
        const before = listOf(this.channels);
        this.channels = channels;
        this._subscriptions.confirm(before, channels);
        this._invoke('channelsChangedCallback', channels);
        this._emitChannels(before);
    }

    /** @param {string[]} before */
    _emitChannels(before) {
        const { channels } = this;
        const added = channels.filter((name) => !before.includes(name));
        const removed = before.filter((name) => !channels.includes(name));
        if (added.length + removed.length > 0) {
            this._emit('channels', { channels, added, removed });
        }
    }
}
