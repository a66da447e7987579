import { Emitter, callPage } from './emitter.js';

/**
 * The callbacks of a connection. A page assigns its own functions to the callbacks that it needs. With `debug` on, the
 * other callbacks print their arguments.
 *
 * `request` is the XMLHttpRequest of the call and `data` is its parsed response. On a websocket, `request` is the event
 * of the socket and `data` is undefined.
 *
 * @extends {Emitter<import('../index.js').ConnectionEvents>}
 */
export class ChannelStreamCallbacks extends Emitter {
    /** @type {boolean} whether to print all events to the console */
    debug = false;
    /** @type {?import('../index.js').Logger} receives internal events */
    logger = null;

    /** connect() succeeded; listening starts after this. */
    connectCallback(request, data) {
        this._trace('connectCallback', request, data);
    }

    /** connect() failed. The library tries it again. */
    connectErrorCallback(request, data) {
        this._trace('connectErrorCallback', request, data);
    }

    /** The response to disconnect() has arrived. */
    disconnectCallback(request, data) {
        this._trace('disconnectCallback', request, data);
    }

    /** disconnect() failed. The server removes the connection after its grace time. */
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

    /** Called just before listening starts, with the response to connect(). */
    beforeListeningCallback(request, data) {
        this._trace('beforeListeningCallback', request, data);
    }

    /** Listening has started. Also called after each reconnect. */
    listenOpenedCallback(request, data) {
        this._trace('listenOpenedCallback', request, data);
    }

    /**
     * Messages have arrived.
     *
     * @param {object[]} messages at least one; heartbeats are not reported
     */
    listenMessageCallback(messages) {
        this._trace('listenMessageCallback', messages);
    }

    /** A websocket or a poll failed. The library resumes listening. */
    listenErrorCallback(request, data) {
        this._trace('listenErrorCallback', request, data);
    }

    /** The websocket has closed. The library opens it again, unless another socket took over its connection id. */
    listenCloseCallback(request, data) {
        this._trace('listenCloseCallback', request, data);
    }

    /** closeConnection() or disconnect() has ended listening. */
    connectionClosedCallback() {
        this._trace('connectionClosedCallback');
    }

    /**
     * Calls a callback. An exception that it throws does not affect the caller.
     *
     * @param {keyof import('../index.js').ConnectionCallbacks} name
     * @param {...any} args
     */
    _invoke(name, ...args) {
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
