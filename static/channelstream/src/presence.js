import { objectsOf } from './untrusted.js';

/**
 * @typedef {import('../index.js').User} User
 * @typedef {import('../index.js').UserState} UserState
 *
 * @typedef {object} PresenceChange
 * @property {User[]} joined
 * @property {User[]} left
 * @property {boolean} changed whether the list or a state has changed
 */

/** The members of a channel, as the server reports them. */
export class Presence {
    constructor() {
        /** @type {Map<string, UserState>} */
        this.states = new Map();
    }

    /** @returns {User[]} sorted by name */
    get members() {
        const names = [...this.states.keys()].sort();
        return names.map((user) => ({ user, state: this.states.get(user) ?? {} }));
    }

    /**
     * Replaces the whole list.
     *
     * @param {User[]} users
     * @returns {PresenceChange}
     */
    replace(users) {
        const before = this.states;
        this.states = new Map(users.map(({ user, state }) => [user, state ?? {}]));
        const joined = users.filter(({ user }) => !before.has(user));
        const left = [...before].filter(([user]) => !this.states.has(user)).map(([user, state]) => ({ user, state }));
        const restated = users.some(({ user, state }) => before.has(user) && !sameState(before.get(user), state));
        return { joined, left, changed: joined.length + left.length > 0 || restated };
    }

    /**
     * @param {any} frame
     * @returns {?PresenceChange} null if the frame is not about members
     */
    apply(frame) {
        if (frame.type === 'presence') {
            return this.applyPresence(frame);
        }
        if (frame.type === 'user_state_change' && this.states.has(frame.user)) {
            const state = frame.message?.state ?? {};
            const changed = !sameState(this.states.get(frame.user), state);
            this.states.set(frame.user, state);
            return { joined: [], left: [], changed };
        }
        return null;
    }

    /** @param {import('../index.js').PresenceFrame} frame */
    applyPresence({ user, users, state, message }) {
        const listed = objectsOf(users);
        if (listed.length > 0) {
            return this.replace(listed);
        }
        const others = this.members.filter((member) => member.user !== user);
        return this.replace(message?.action === 'parted' ? others : [...others, { user, state: state ?? {} }]);
    }
}

/**
 * @param {UserState | null | undefined} one
 * @param {UserState | null | undefined} other
 */
function sameState(one, other) {
    const [before, now] = [one ?? {}, other ?? {}];
    const keys = Object.keys(before);
    return keys.length === Object.keys(now).length && keys.every((key) => before[key] === now[key]);
}
