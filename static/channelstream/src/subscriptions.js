import { Backoff } from './backoff.js';
import { ChannelStreamChannel } from './channel.js';
import { ChannelStreamError, isFinal } from './errors.js';
import { listOf, objectsOf, ownValue } from './untrusted.js';

/** The longest wait before history is loaded that all clients of a server have lost. */
const SPREAD_MS = 5_000;

/**
 * Tracks which channels the page has requested and which channels the server has confirmed. Requests the missing ones
 * through connect(), and the rest through subscribe().
 */
export class Subscriptions {
    /** @param {import('./connection.js').ChannelStreamConnection} connection */
    constructor(connection) {
        this.connection = connection;
        /** @type {Map<string, ChannelStreamChannel>} */
        this.channels = new Map();
        /** @type {Set<string>} to be joined again with each new connection id */
        this.wanted = new Set();
        /** @type {Set<string>} left by the page, although the server may not have processed that yet */
        this.left = new Set();
        /** @type {Set<string>} named in a request in flight */
        this.requested = new Set();
        /** @type {Map<string, {promise: Promise<void>, resolve: () => void, reject: (error: Error) => void}>} */
        this.waiting = new Map();
        this.backoff = new Backoff();
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.timer = undefined;
        /** Whether the channels are known of a connection that the server has made from a token. */
        this.isKnown = true;
        /** @type {Set<string>} channels whose history is to be loaded again */
        this.stale = new Set();
        /** @type {ReturnType<typeof setTimeout> | undefined} */
        this.reloading = undefined;
    }

    /** @param {string} name */
    channel(name) {
        let channel = this.channels.get(name);
        if (!channel) {
            channel = new ChannelStreamChannel(name, this.connection, this);
            this.channels.set(name, channel);
            this.update();
        }
        return channel;
    }

    /**
     * @param {string} name
     * @returns {boolean}
     */
    isJoined(name) {
        const { connection } = this;
        return connection._hasId && listOf(connection.channels).includes(name) && !this.left.has(name);
    }

    /** @returns {string[]} the channels to request with a new connection id */
    forConnect() {
        const all = new Set([...listOf(this.connection.channels), ...this.wanted]);
        this.left.forEach((name) => all.delete(name));
        return [...all];
    }

    /**
     * @param {string} name
     * @returns {Promise<void>}
     */
    subscribe(name) {
        this.wanted.add(name);
        this.left.delete(name);
        this.update();
        if (this.isJoined(name)) {
            return Promise.resolve();
        }
        const { promise } = this.waiting.get(name) ?? this.wait(name);
        // Runs later in this turn of the event loop, so that several channels need one request.
        queueMicrotask(() => this.flush());
        return promise;
    }

    /** @param {string} name */
    wait(name) {
        /** @type {any} */
        const waiter = {};
        waiter.promise = new Promise((resolve, reject) => Object.assign(waiter, { resolve, reject }));
        this.waiting.set(name, waiter);
        return waiter;
    }

    /**
     * @param {string} name
     * @returns {Promise<void>}
     */
    unsubscribe(name) {
        const joined = this.isJoined(name);
        this.leave([name]);
        return joined ? this.connection.unsubscribe([name]).then(() => {}) : Promise.resolve();
    }

    /**
     * Records that the page has left these channels.
     *
     * @param {string[]} names
     */
    leave(names) {
        names.forEach((name) => {
            this.wanted.delete(name);
            this.left.add(name);
            this.settle(name, new ChannelStreamError('closed', 'subscribe', 'left before it was joined'));
        });
        this.update();
    }

    /** Requests the wanted channels that are not joined. Without a connection id, connect() requests them. */
    flush() {
        clearTimeout(this.timer);
        const names = [...this.wanted].filter((name) => !this.isJoined(name) && !this.requested.has(name));
        if (!this.connection._hasId || !this.isKnown || names.length === 0) {
            return;
        }
        if (this.connection.subscribeUrl) {
            this.request(names);
            return;
        }
        const error = () => new ChannelStreamError('closed', 'subscribe', 'there is no subscribeUrl');
        names.forEach((name) => this.refuse(name, error()));
    }

    /**
     * Records that a request to join these channels is sent.
     *
     * @param {string[]} names
     * @returns {(joined: string[]) => void} to be called with the channels that the server then reports
     */
    begin(names) {
        names.forEach((name) => {
            this.requested.add(name);
            this.left.delete(name);
        });
        return (joined) => {
            names.forEach((name) => this.requested.delete(name));
            names.filter((name) => joined.includes(name) && !this.left.has(name)).forEach((name) => this.wanted.add(name));
            this.update();
        };
    }

    /** @param {string[]} names */
    request(names) {
        const id = this.connection.connectionId;
        const isOld = () => !this.connection._hasId || this.connection.connectionId !== id;
        this.connection.subscribe(names).then(() => {
            if (!isOld()) {
                this.onAnswer(names);
            }
        }, (error) => {
            if (!isOld()) {
                this.onFailure(names, error);
            }
        });
    }

    /** @param {string[]} names */
    onAnswer(names) {
        this.backoff.reset();
        for (const name of names.filter((each) => this.wanted.has(each) && !this.isJoined(each))) {
            this.refuse(name, new ChannelStreamError('answer', 'subscribe', `${name} was not joined`));
        }
        const late = names.filter((name) => this.left.has(name) && this.connection.channels.includes(name));
        if (late.length > 0) {
            this.connection.unsubscribe(late);
        }
    }

    /**
     * @param {string[]} names
     * @param {ChannelStreamError} error
     */
    onFailure(names, error) {
        if (!isFinal(error.status)) {
            const { increaseBounceIv, maxReconnectDelayMs } = this.connection;
            this.timer = setTimeout(() => this.flush(), this.backoff.next(increaseBounceIv, maxReconnectDelayMs));
        } else if (names.length > 1) {
            // The server refused at least one of them. Separate requests let the others succeed.
            names.filter((name) => this.wanted.has(name)).forEach((name) => this.request([name]));
        } else {
            this.refuse(names[0], error);
        }
    }

    /**
     * @param {string} name
     * @param {ChannelStreamError} error
     */
    refuse(name, error) {
        this.wanted.delete(name);
        this.settle(name, error);
        this.update();
        this.channels.get(name)?._emit('error', error);
    }

    /**
     * @param {string} name
     * @param {ChannelStreamError} [error]
     */
    settle(name, error) {
        const waiter = this.waiting.get(name);
        this.waiting.delete(name);
        if (error) {
            waiter?.reject(error);
        } else {
            waiter?.resolve();
        }
    }

    /** Updates the states after the server's list has changed, or the connection has received or lost its id. */
    update() {
        for (const [name, channel] of this.channels) {
            const pending = this.wanted.has(name) ? 'subscribing' : 'unsubscribed';
            channel._setState(this.isJoined(name) ? 'subscribed' : pending);
        }
        [...this.waiting.keys()].filter((name) => this.isJoined(name)).forEach((name) => this.settle(name));
    }

    /**
     * Takes over the server's list of the channels that the connection is in.
     *
     * @param {string[]} before
     * @param {string[]} now
     */
    confirm(before, now) {
        const is = new Set(now);
        // The application has removed the connection from these channels, so the library does not request them again.
        before.filter((name) => !is.has(name) && !this.requested.has(name)).forEach((name) => this.wanted.delete(name));
        [...this.left].filter((name) => !is.has(name)).forEach((name) => this.left.delete(name));
        this.update();
    }

    /** Handles a new connection id: members are loaded again, and channels missing from connect() are requested. */
    renew() {
        this.channels.forEach((channel) => channel._forgetMembers());
        this.requested.clear();
        this.left.clear();
        this.update();
        // Runs after the page's own callback, which may request the same channels.
        queueMicrotask(() => this.flush());
    }

    /** Rejects what is pending, because the page has ended the connection. */
    close() {
        clearTimeout(this.timer);
        clearTimeout(this.reloading);
        this.stale.clear();
        this.requested.clear();
        const error = () => new ChannelStreamError('closed', 'subscribe', 'the connection was closed');
        [...this.waiting.keys()].forEach((name) => this.settle(name, error()));
        this.update();
    }

    /**
     * Passes the information in a response to the channels.
     *
     * @param {any} info a `channels_info`
     * @param {Map<string, any[]>} [records] frames that arrived since the request
     */
    take(info, records) {
        const users = objectsOf(info?.users);
        for (const [name, channel] of this.channels) {
            channel._take(ownValue(info?.channels, name), users, records?.get(name));
        }
    }

    /**
     * Reports that messages of a channel were lost, and loads its history.
     *
     * @param {import('../index.js').RecoveredEvent & {channel: string}} loss
     * @param {boolean} reload whether no other answer contains the history
     */
    lose({ channel: name, reason, gap }, reload) {
        this.channels.get(name)?._emit('gap', { reason, gap });
        if (!reload) {
            return;
        }
        this.stale.add(name);
        clearTimeout(this.reloading);
        // After a crash of the server all its clients have lost something.
        this.reloading = setTimeout(() => {
            this.refresh([...this.stale]);
            this.stale.clear();
        }, reason === 'restart' ? Math.random() * SPREAD_MS : 0);
    }

    /**
     * Requests members and history of channels from the application, if there is an `infoUrl`.
     *
     * @param {Iterable<string>} [among] by default all channels
     */
    refresh(among = this.channels.keys()) {
        const names = [...among].filter((name) => this.channels.has(name) && this.isJoined(name));
        if (this.connection.infoUrl && names.length > 0) {
            this.connection.info(names);
        }
    }

    /** Must be called when a request is sent whose response goes to `take`. */
    record() {
        return new Map([...this.channels].map(([name, channel]) => [name, channel._record()]));
    }

    /** @param {any} frame */
    receive(frame) {
        if (!this.left.has(frame?.channel)) {
            this.channels.get(frame?.channel)?._receive(frame);
        }
    }
}
