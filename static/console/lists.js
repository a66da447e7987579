/** The columns of the lists of channels, users and connections. */
import { html } from '../vendor/lit-html/lit-html.js';
import { localTime } from '../dom.js';
import { ago, bytes, moment, number, rate } from './format.js';
import { List } from './list.js';
import { href, note } from './router.js';

const SETTING_NAMES = {
    notify_presence: 'presence',
    broadcast_presence_with_user_lists: 'user lists',
    notify_state: 'user state',
    store_history: 'history',
    store_frames: 'catch-up',
};

const PHASES = {
    attached: 'good', waiting: 'warn', lingering: 'warn', releasing: 'warn', away: '',
};

const seconds = (timestamp) => (localTime(timestamp)?.getTime() ?? 0) / 1_000;

/** How long ago, with the exact time as the tooltip. */
export const since = (unix) => (unix ? html`<time title=${moment(unix * 1_000)}>${ago(unix)}</time>` : '–');

export const settingTags = (settings) => Object.entries(SETTING_NAMES)
    .filter(([key]) => settings[key])
    .map(([key, label]) => (key === 'store_history' ? `${label} of ${number(settings.history_size)}` : label))
    .map((text) => html`<span class="tag">${text}</span>`);

export const phaseBadge = ({ phase, transport }) => html`
    <span class="badge ${PHASES[phase] ?? ''}">${transport === 'longpoll' ? 'long-poll' : transport ?? phase}</span>`;

const link = (name, text) => html`<a class="clip" href=${href(name, text)}>${text}</a>`;

const CHANNELS = {
    path: '/admin/channels.json',
    name: 'channels',
    sort: 'name',
    key: (row) => row.name,
    columns: [
        { label: 'Channel', sort: 'name', head: true, show: (row) => link('channel', row.name) },
        { label: 'Connections', sort: 'connections', number: true, show: (row) => number(row.connections) },
        { label: 'Users', sort: 'users', number: true, show: (row) => number(row.users) },
        { label: 'History', sort: 'history', number: true, show: (row) => number(row.history) },
        { label: 'Frames/s', sort: 'rate', number: true, show: (row) => (row.frames_per_s === null ? '–' : rate(row.frames_per_s)) },
        { label: 'Last active', sort: 'last_active', number: true, show: (row) => since(seconds(row.last_active)) },
        { label: 'Settings', show: (row) => html`<span class="tags">${settingTags(row.settings)}</span>` },
    ],
};

const stateText = ({ state, state_bytes: size }) => {
    if (state === null) {
        return html`<span class="quiet">${bytes(size)}</span>`;
    }
    const pairs = Object.entries(state).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
    return pairs.length ? html`<code class="clip">${pairs.join(', ')}</code>` : html`<span class="quiet">none</span>`;
};

const USERS = {
    path: '/admin/users.json',
    name: 'users',
    sort: 'name',
    key: (row) => row.uuid,
    columns: [
        { label: 'User', sort: 'name', head: true, show: (row) => link('user', row.name) },
        { label: 'Connections', sort: 'connections', number: true, show: (row) => number(row.connections) },
        { label: 'State', show: stateText },
    ],
};

const CONNECTIONS = {
    path: '/admin/connections.json',
    name: 'connections',
    sort: 'user',
    key: (row) => row.conn_id,
    columns: [
        { label: 'User', sort: 'user', head: true, show: (row) => link('user', row.user) },
        {
            label: 'Connection',
            show: (row) => html`<a class="mono small nowrap" href=${href('connection', row.conn_id)}
                aria-label="Connection ${row.conn_id}">${row.conn_id.slice(0, 13)}…</a>`,
        },
        { label: 'Transport', show: phaseBadge },
        { label: 'Node', show: (row) => row.node, when: (rows) => rows.some((row) => row.node) },
        { label: 'Address', show: (row) => html`<span class="mono small">${row.address ?? '–'}</span>` },
        { label: 'Since', sort: 'since', number: true, show: (row) => since(row.since) },
        { label: 'Last active', sort: 'last_activity', number: true, show: (row) => since(row.last_activity) },
        { label: 'Channels', sort: 'channels', number: true, show: (row) => number(row.channels) },
        { label: 'Queued', sort: 'queued_bytes', number: true, show: (row) => bytes(row.queued_bytes) },
    ],
};

/** The connections of a channel or user, for its page. */
export const connectionsOf = (fixed, changed) => new List({ ...CONNECTIONS, fixed, changed });

class ListPage {
    constructor({ params, changed }, options, title) {
        this.title = title;
        this.list = new List({ ...options, params, changed, note: (shown) => note(options.name, shown) });
    }

    load(signal) {
        return this.list.load(signal);
    }

    template() {
        return html`<h1 class="visually-hidden page-title" tabindex="-1">${this.title}</h1>${this.list.template()}`;
    }
}

export class Channels extends ListPage {
    constructor(place) {
        super(place, CHANNELS, 'Channels');
    }
}

export class Users extends ListPage {
    constructor(place) {
        super(place, USERS, 'Users');
    }
}

export class Connections extends ListPage {
    constructor(place) {
        super(place, CONNECTIONS, 'Connections');
    }
}
