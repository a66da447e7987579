import { byId, localTime, make } from './dom.js';

const COUNTERS = [
    ['total_connections', 'Connections'],
    ['unique_user_count', 'Users connected'],
    ['remembered_user_count', 'Users remembered'],
    ['total_channels', 'Channels'],
    ['total_unique_messages', 'Messages'],
    ['total_messages', 'Deliveries'],
    ['uptime', 'Up for'],
    ['version', 'Version'],
];

/** A table of everything on a large server would stall the browser; the filter finds the rest. */
const MAX_ROWS = 200;
const MAX_NAMES = 20;

const SETTING_NAMES = {
    notify_presence: 'presence',
    broadcast_presence_with_user_lists: 'user lists',
    notify_state: 'user state',
    store_history: 'history',
    store_frames: 'catch-up',
};

const shown = (value) => (typeof value === 'number' ? value.toLocaleString() : String(value ?? '–'));

function counters(state) {
    return COUNTERS.map(([key, label]) => make('div', {},
        make('dt', {}, label), make('dd', { 'data-counter': key }, shown(state[key]))));
}

function shortList(names) {
    const rest = names.length - MAX_NAMES;
    return names.slice(0, MAX_NAMES).join(', ') + (rest > 0 ? ` and ${rest.toLocaleString()} more` : '');
}

function settingTags(settings = {}) {
    const tags = Object.entries(SETTING_NAMES)
        .filter(([key]) => settings[key])
        .map(([key, label]) => (key === 'store_history' ? `${label} of ${settings.history_size}` : label));
    return tags.map((text) => make('span', { class: 'tag' }, text));
}

function channelRow([name, channel]) {
    const active = localTime(channel.last_active);
    return make('tr', { 'data-channel': name },
        make('th', { scope: 'row' }, name),
        make('td', { class: 'number' }, shown(channel.total_connections)),
        make('td', {}, shortList(channel.users ?? []) || shown(channel.total_users)),
        make('td', { class: 'number' }, shown(channel.history?.length ?? 0)),
        make('td', {}, ...settingTags(channel.settings)),
        make('td', {}, active ? active.toLocaleString() : '–'));
}

function userRow({ user, state, connections }) {
    const pairs = Object.entries(state ?? {}).map(([key, value]) => make('li', {}, `${key}: ${JSON.stringify(value)}`));
    const ids = connections.slice(0, MAX_NAMES).map((id) => make('li', {}, make('code', {}, id)));
    return make('tr', { 'data-user': user },
        make('th', { scope: 'row' }, user),
        make('td', {}, pairs.length ? make('ul', {}, ...pairs) : '–'),
        make('td', {}, ids.length ? make('ul', {}, ...ids) : 'none'));
}

function fill(name, all, matching, row) {
    byId(name).replaceChildren(...matching.slice(0, MAX_ROWS).map(row));
    const count = Math.min(matching.length, MAX_ROWS);
    const empty = all.length === 0 ? `No ${name} yet.` : `No ${name} of that name.`;
    byId(`${name}-note`).textContent = count === 0 ? empty : `${shown(count)} of ${shown(all.length)} ${name}`;
}

const byName = ([a], [b]) => a.localeCompare(b);
const holds = (name, part) => name.toLowerCase().includes(part.trim().toLowerCase());

/**
 * @param {object} state the answer of admin.json
 * @param {{channel: string, user: string}} filter parts of names
 */
export function showState(state, filter) {
    byId('counters').replaceChildren(...counters(state));
    const channels = Object.entries(state.channels).sort(byName);
    fill('channels', channels, channels.filter(([name]) => holds(name, filter.channel)), channelRow);
    const users = [...state.users].sort((a, b) => a.user.localeCompare(b.user));
    fill('users', users, users.filter(({ user }) => holds(user, filter.user)), userRow);
}
