import { Emitter, callPage } from './emitter.js';

/**
 * The callbacks of a connection. A page assigns its own functions to those it wants; with `debug` on, the others
 * print what they would have told.
 *
 * `request` is the XMLHttpRequest of the call and `data` its parsed answer. On a websocket `request` is the event of
 * the socket and `data` is undefined.
 *
 * @extends {Emitter<import('../index.js').ConnectionEvents>}
 */
export class ChannelStreamCallbacks extends Emitter {
    /** @type {boolean} print what happens to the console */
    debug = false;
    /** @type {?import('../index.js').Logger} gets what happens inside */
    logger = null;

    /** connect() succeeded; listening starts after this. */
    connectCallback(request, data) {
        this._trace('connectCallback', request, data);
    }

    /** connect() failed; it is tried again by itself. */
    connectErrorCallback(request, data) {
        this._trace('connectErrorCallback', request, data);
    }

    /** The answer to disconnect() is there. */
    disconnectCallback(request, data) {
        this._trace('disconnectCallback', request, data);
    }

    /** disconnect() failed; the server will notice by itself that this client is gone. */
    disconnectErrorCallback(request, data) {
        this._trace('disconnectErrorCallback', request, data);
    }

    /** subscribe() succeeded. */
    subscribeCallback(request, data) {
        this._trace('subscribeCallback', request, data);
    }

    /** subscribe() failed. */
    subscribeErrorCallback(request, data) {
        this._trace('subscribeErrorCallback', request, data);
    }

    /** unsubscribe() succeeded. */
    unsubscribeCallback(request, data) {
        this._trace('unsubscribeCallback', request, data);
    }

    /** unsubscribe() failed. */
    unsubscribeErrorCallback(request, data) {
        this._trace('unsubscribeErrorCallback', request, data);
    }

    /** message() succeeded. */
    messageCallback(request, data) {
        this._trace('messageCallback', request, data);
    }

    /** message() failed. */
    messageErrorCallback(request, data) {
        this._trace('messageErrorCallback', request, data);
    }

    /** edit() succeeded. */
    messageEditCallback(request, data) {
        this._trace('messageEditCallback', request, data);
    }

    /** edit() failed. */
    messageEditErrorCallback(request, data) {
        this._trace('messageEditErrorCallback', request, data);
    }

    /** delete() succeeded. */
    messageDeleteCallback(request, data) {
        this._trace('messageDeleteCallback', request, data);
    }

    /** delete() failed. */
    messageDeleteErrorCallback(request, data) {
        this._trace('messageDeleteErrorCallback', request, data);
    }

    /** updateUserState() succeeded. */
    setUserStateCallback(request, data) {
        this._trace('setUserStateCallback', request, data);
    }

    /** updateUserState() failed. */
    setUserStateErrorCallback(request, data) {
        this._trace('setUserStateErrorCallback', request, data);
    }

    /** `channels` has changed. */
    channelsChangedCallback(channels) {
        this._trace('channelsChangedCallback', channels);
    }

    /** Just before listening starts, with the answer of connect(). */
    beforeListeningCallback(request, data) {
        this._trace('beforeListeningCallback', request, data);
    }

    /** Listening has started; also after each reconnect. */
    listenOpenedCallback(request, data) {
        this._trace('listenOpenedCallback', request, data);
    }

    /**
     * Messages have come.
     *
     * @param {object[]} messages at least one; heartbeats are not reported
     */
    listenMessageCallback(messages) {
        this._trace('listenMessageCallback', messages);
    }

    /** A websocket or a poll failed; listening is resumed by itself. */
    listenErrorCallback(request, data) {
        this._trace('listenErrorCallback', request, data);
    }

    /** The websocket has closed; unless another socket took over its connection id, it is opened again by itself. */
    listenCloseCallback(request, data) {
        this._trace('listenCloseCallback', request, data);
    }

    /** closeConnection() or disconnect() has ended the listening. */
    connectionClosedCallback() {
        this._trace('connectionClosedCallback');
    }

    /**
     * Calls a callback: what it throws ends nothing but itself.
     *
     * @param {keyof import('../index.js').ConnectionCallbacks} name
     * @param {...any} args
     */
    _tell(name, ...args) {
        callPage(() => /** @type {any} */ (this)[name](...args));
    }

    /**
     * @param {string} name
     * @param {...any} details
     */
    _trace(name, ...details) {
        if (this.debug) {
            console.log(name, ...details);
        }
    }

    /**
     * @param {string} event
     * @param {Record<string, unknown>} details
     */
    _log(event, details) {
        if (this.logger) {
            this.logger(event, details);
        } else if (this.debug) {
            console.log('channelstream', event, details);
        }
    }
}
