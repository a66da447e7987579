import { ChannelStreamCallbacks } from './callbacks.js';
import { ChannelStreamRequest } from './request.js';

/** The half of a connection that talks to the web application: one request per call, answered by a callback. */
export class ChannelStreamBackend extends ChannelStreamCallbacks {
    /** @type {string[]} channels asked for in connect(); afterwards those the server has confirmed */
    channels = [];
    /** @type {string} sent with connect() */
    username = 'Anonymous';
    /** @type {?string} given by the server */
    connectionId = null;
    /** @type {string} address that connect() asks for a connection id */
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
    /** Functions that may change requests before they are sent; see addMutator(). */
    mutators = {
        connect: [],
        message: [],
        messageEdit: [],
        messageDelete: [],
        subscribe: [],
        unsubscribe: [],
        disconnect: [],
        userState: [],
    };

    /**
     * Adds a function that gets each request of a kind before it is sent and may change its `url`, `body` and
     * `headers`; called in the order of adding.
     *
     * @param {string} type a key of `mutators`
     * @param {function(ChannelStreamRequest): void} func
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
        this._send({
            kind: 'userState',
            url: this.userStateUrl,
            body: { username: this.username, conn_id: this.connectionId, update_state: stateObj },
            done: (request, data) => this.setUserStateCallback(request, data),
            failed: (request, data) => this.setUserStateErrorCallback(request, data),
        });
    }

    /**
     * Joins channels, by POST to `subscribeUrl`; without channels nothing is sent.
     *
     * @param {string[]} channels
     */
    subscribe(channels) {
        this._send({
            kind: 'subscribe',
            url: this.subscribeUrl,
            body: { channels, conn_id: this.connectionId },
            unless: (request) => !request.body.channels?.length,
            done: (request, data) => {
                this._setChannels(data);
                this.subscribeCallback(request, data);
            },
            failed: (request, data) => this.subscribeErrorCallback(request, data),
        });
    }

    /**
     * Leaves channels, by POST to `unsubscribeUrl`.
     *
     * @param {string[]} channels
     */
    unsubscribe(channels) {
        this._send({
            kind: 'unsubscribe',
            url: this.unsubscribeUrl,
            body: { channels, conn_id: this.connectionId },
            done: (request, data) => {
                this._setChannels(data);
                this.unsubscribeCallback(request, data);
            },
            failed: (request, data) => this.unsubscribeErrorCallback(request, data),
        });
    }

    /**
     * @param {string[]} channels
     * @returns {string[]} those not joined yet
     */
    calculateSubscribe(channels) {
        return channels.filter((channel) => !this.channels.includes(channel));
    }

    /**
     * @param {string[]} [channels]
     * @returns {string[]} those joined
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
        this._send({
            kind: 'message',
            url: this.messageUrl,
            body: message,
            done: (request, data) => this.messageCallback(request, data),
            failed: (request, data) => this.messageErrorCallback(request, data),
        });
    }

    /**
     * Changes a message that was sent, by PATCH to `messageEditUrl`.
     *
     * @param {object|object[]} message with its `uuid`
     */
    edit(message) {
        this._send({
            kind: 'messageEdit',
            url: this.messageEditUrl,
            verb: 'PATCH',
            body: message,
            done: (request, data) => this.messageEditCallback(request, data),
            failed: (request, data) => this.messageEditErrorCallback(request, data),
        });
    }

    /**
     * Takes a message back, by DELETE to `messageDeleteUrl`.
     *
     * @param {object|object[]} message with its `uuid`
     */
    delete(message) {
        this._send({
            kind: 'messageDelete',
            url: this.messageDeleteUrl,
            verb: 'DELETE',
            body: message,
            done: (request, data) => this.messageDeleteCallback(request, data),
            failed: (request, data) => this.messageDeleteErrorCallback(request, data),
        });
    }

    _send({ kind, url, verb = 'POST', body, timeoutMs, unless, done, failed }) {
        const request = new ChannelStreamRequest();
        request.url = url;
        request.body = body;
        request.timeoutMs = timeoutMs ?? request.timeoutMs;
        for (const mutate of this.mutators[kind]) {
            mutate(request);
        }
        request.handleResponse = done;
        request.handleError = failed;
        if (!unless?.(request)) {
            request.execute(verb);
        }
        return request;
    }

    _setChannels(data) {
        if (Array.isArray(data?.channels)) {
            this.channels = data.channels;
            this.channelsChangedCallback(this.channels);
        }
    }
}
