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

/** Types of frames that are also events; others are told as `frame` only. */
export const FRAME_TYPES = ['message', 'message:edit', 'message:delete', 'presence', 'user_state_change'];

const EVENTS = ['state', 'frame', ...FRAME_TYPES, 'join', 'leave', 'members', 'history', 'error'];

const MESSAGE_LIMIT = 100;

/**
 * One channel of a connection: whether it is joined, who is there, what was said.
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
        /** Whether a list of members was ever told: the first one is no coming of anybody. */
        this._introduced = false;
        /** @type {Set<string>} ids of messages told as missed whose frame may yet come */
        this._missed = new Set();
        /** @type {Set<any[]>} frames since requests went out whose answers tell the past */
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

    /** Joins the channel, and again whenever the connection gets a new id. */
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

    /** Members and messages as the application's `infoUrl` tells them. */
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

    /** Nothing is known of who is there until the server tells. */
    _forgetMembers() {
        this._presence.replace([]);
        this._introduced = false;
    }

    /**
     * Keeps the frames that come until `_take` is called with the record: an answer that is on its way tells of the
     * time before them.
     */
    _record() {
        /** @type {any[]} */
        const record = [];
        this._records.add(record);
        return record;
    }

    /**
     * What the server tells of the channel.
     *
     * @param {ChannelInfo | undefined} info undefined if it tells nothing
     * @param {User[]} users of this and other channels
     * @param {any[]} [since] the record made when it was asked
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
        const told = new Presence();
        told.replace(users);
        since.forEach((frame) => told.apply(frame));
        const change = this._presence.replace(told.members);
        this._emitMembers(this._introduced ? change : { ...change, joined: [], left: [] });
        this._introduced = true;
    }

    /** @param {any} frame */
    _receive(frame) {
        this._records.forEach((record) => record.push(frame));
        this._history.apply(frame);
        this._emit('frame', frame);
        const isTold = frame.type === 'message' && this._missed.delete(frame.uuid);
        if (FRAME_TYPES.includes(frame.type) && !isTold) {
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
