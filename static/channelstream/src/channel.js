import { Emitter } from './emitter.js';
import { quiet } from './errors.js';
import { History } from './history.js';
import { Presence } from './presence.js';
import { objectsOf } from './untrusted.js';

/**
 * @typedef {import('../index.js').ChannelEvents} ChannelEvents
 * @typedef {import('../index.js').ChannelInfo} ChannelInfo
 * @typedef {import('../index.js').SubscriptionState} SubscriptionState
 * @typedef {import('../index.js').User} User
 */

/** Types of frames that are also events. All other types are reported only as `frame`. */
export const FRAME_TYPES = ['message', 'message:edit', 'message:delete', 'presence', 'user_state_change'];

const EVENTS = ['state', 'frame', ...FRAME_TYPES, 'join', 'leave', 'members', 'history', 'gap', 'error'];

const MESSAGE_LIMIT = 100;

/**
 * One channel of a connection: its subscription, members and messages.
 *
 * @extends {Emitter<ChannelEvents>}
 */
export class ChannelStreamChannel extends Emitter {
    /**
     * @param {string} name
     * @param {import('./connection.js').ChannelStreamConnection} connection
     * @param {import('./subscriptions.js').Subscriptions} subscriptions
     */
    constructor(name, connection, subscriptions) {
        super(EVENTS);
        /** @readonly */
        this.name = name;
        /** @readonly */
        this.connection = connection;
        /** @type {SubscriptionState} */
        this.state = 'unsubscribed';
        /** @type {?ChannelInfo} */
        this.info = null;
        this._subscriptions = subscriptions;
        this._presence = new Presence();
        this._history = new History(MESSAGE_LIMIT);
        /** Whether a list of members has arrived. The first list causes no `join` events. */
        this._introduced = false;
        /** @type {Set<string>} ids of messages reported as missed whose frames may still arrive */
        this._missed = new Set();
        /** @type {Set<any[]>} frames received since requests were sent whose responses may be older */
        this._records = new Set();
    }

    get members() {
        return this._presence.members;
    }

    get messages() {
        return this._history.messages;
    }

    get messageLimit() {
        return this._history.limit;
    }

    set messageLimit(limit) {
        this._history.limit = limit;
        this._history.cut();
    }

    /** Joins the channel, and joins it again whenever the connection receives a new id. */
    subscribe() {
        return quiet(this._subscriptions.subscribe(this.name));
    }

    unsubscribe() {
        return quiet(this._subscriptions.unsubscribe(this.name));
    }

    /**
     * @param {any} message
     * @param {Record<string, any>} [more]
     */
    publish(message, more = {}) {
        return this.connection.message({ channel: this.name, user: this.connection.username, message, ...more });
    }

    /**
     * @param {string} uuid
     * @param {any} message
     * @param {Record<string, any>} [more]
     */
    edit(uuid, message, more = {}) {
        return this.connection.edit({ channel: this.name, uuid, message, ...more });
    }

    /**
     * @param {string} uuid
     * @param {Record<string, any>} [more]
     */
    delete(uuid, more = {}) {
        return this.connection.delete({ channel: this.name, uuid, ...more });
    }

    /** Loads members and messages from the application's `infoUrl`. */
    refresh() {
        return quiet(this.connection.info([this.name]).then(() => {}));
    }

    /** @param {SubscriptionState} state */
    _setState(state) {
        const previous = this.state;
        if (state === previous) {
            return;
        }
        this.state = state;
        if (state === 'unsubscribed') {
            this._forgetMembers();
        }
        this._emit('state', { state, previous });
    }

    /** Drops the members. They are unknown until the server reports them again. */
    _forgetMembers() {
        this._presence.replace([]);
        this._introduced = false;
    }

    /**
     * Records the frames that arrive until `_take` is called with the record. The response to a request in flight may
     * be older than these frames.
     */
    _record() {
        /** @type {any[]} */
        const record = [];
        this._records.add(record);
        return record;
    }

    /**
     * Takes over the server's information about the channel.
     *
     * @param {ChannelInfo | undefined} info undefined if the response contains none
     * @param {User[]} users of this and other channels
     * @param {any[]} [since] the record made when the request was sent
     */
    _take(info, users, since = []) {
        this._records.delete(since);
        if (info === null || typeof info !== 'object') {
            return;
        }
        this.info = info;
        if (Array.isArray(info.users) && info.users.length > 0) {
            const present = new Set(info.users);
            this._takeMembers(users.filter(({ user }) => present.has(user)), since);
        }
        if (Array.isArray(info.history)) {
            const missed = this._history.load(objectsOf(info.history));
            since.forEach((frame) => this._history.apply(frame));
            this._missed = new Set(missed.map(({ uuid }) => uuid));
            this._emit('history', { messages: this.messages, missed });
        }
    }

    /**
     * @param {User[]} users
     * @param {any[]} since
     */
    _takeMembers(users, since) {
        const reported = new Presence();
        reported.replace(users);
        since.forEach((frame) => reported.apply(frame));
        const change = this._presence.replace(reported.members);
        this._emitMembers(this._introduced ? change : { ...change, joined: [], left: [] });
        this._introduced = true;
    }

    /** @param {any} frame */
    _receive(frame) {
        this._records.forEach((record) => record.push(frame));
        this._history.apply(frame);
        this._emit('frame', frame);
        const isReported = frame.type === 'message' && this._missed.delete(frame.uuid);
        if (FRAME_TYPES.includes(frame.type) && !isReported) {
            this._emit(frame.type, frame);
        }
        const change = this._presence.apply(frame);
        if (change) {
            this._emitMembers(change);
        }
    }

    /** @param {import('./presence.js').PresenceChange} change */
    _emitMembers({ joined, left, changed }) {
        left.forEach((user) => this._emit('leave', user));
        joined.forEach((user) => this._emit('join', user));
        if (changed) {
            this._emit('members', this.members);
        }
    }
}
