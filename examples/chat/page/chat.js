/** The chat's page: the browser library listens, and the page sends each message to the chat's backend. */
const server = document.body.dataset.server;
const { ChannelStreamConnection } = await import(`${server}/static/channelstream/index.js`);

const ROOMS = ['general', 'random', 'help'];
const byId = (id) => document.getElementById(id);
const roomOf = (channel) => channel?.replace(/^chat:/, '');
const connection = new ChannelStreamConnection();
/** For each room: messages by uuid in their order, and users with their state. */
const rooms = new Map();
let me = '';
let room = ROOMS[0];

function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
}

async function tell(method, path, body) {
    const reply = await fetch(path, {
        method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    });
    const answer = await reply.json();
    byId('problem').textContent = reply.ok ? '' : answer.error;
    return reply.ok ? answer : null;
}

function show(state, text) {
    byId('state').dataset.state = state;
    byId('state').textContent = text;
}

/** Stores the rooms in the answer to connect or subscribe. */
function learn({ channels, users }) {
    const states = new Map(users.map(({ user, state }) => [user, state]));
    for (const [name, info] of Object.entries(channels)) {
        const people = new Map(info.users.map((user) => [user, states.get(user) ?? {}]));
        const messages = new Map(info.history.map((message) => [message.uuid, message]));
        rooms.set(roomOf(name), { people, messages });
    }
}

const KINDS = {
    message(frame) {
        // A private message belongs to no room, so it is shown in the open one.
        rooms.get(roomOf(frame.channel) ?? room)?.messages.set(frame.uuid, frame);
    },
    'message:edit'(frame) {
        for (const { messages } of rooms.values()) {
            const known = messages.get(frame.uuid);
            if (known) {
                messages.set(frame.uuid, { ...known, message: frame.message, edited: frame.edited });
            }
        }
    },
    'message:delete'(frame) {
        rooms.forEach(({ messages }) => messages.delete(frame.uuid));
    },
    presence(frame) {
        const known = rooms.get(roomOf(frame.channel));
        if (!known) {
            return;
        }
        if (frame.users?.length) {
            known.people = new Map(frame.users.map(({ user, state }) => [user, state]));
        } else if (frame.message.action === 'joined') {
            known.people.set(frame.user, frame.state ?? {});
        } else {
            known.people.delete(frame.user);
        }
        known.messages.set(frame.uuid, { ...frame, event: frame.message.action === 'joined' ? 'joined' : 'left' });
    },
    user_state_change(frame) {
        for (const { people } of rooms.values()) {
            if (people.has(frame.user)) {
                people.set(frame.user, frame.message.state);
            }
        }
    },
};

function nameTag(user) {
    const tag = make('span', { className: 'who' }, user);
    tag.style.setProperty('--swatch', rooms.get(room)?.people.get(user)?.color ?? 'gray');
    return tag;
}

function row(message) {
    if (message.event) {
        return make('li', { className: 'event' }, `${message.user} ${message.event}`);
    }
    const { uuid, user, edited } = message;
    const { text, to } = message.message;
    const item = make('li', {}, nameTag(user), to ? ` to ${to}` : '', `: ${text}`, edited ? make('span', { className: 'event' }, ' (edited)') : '');
    if (user === me) {
        const change = () => {
            const changed = prompt('Change your message', text);
            if (changed !== null) {
                tell('PATCH', 'message', { uuid, text: changed });
            }
        };
        item.append(make('button', { type: 'button', onclick: change }, 'Edit'),
            make('button', { type: 'button', onclick: () => tell('DELETE', 'message', { uuid }) }, 'Delete'));
    }
    return item;
}

function render() {
    const { messages, people } = rooms.get(room) ?? { messages: new Map(), people: new Map() };
    byId('messages').replaceChildren(...[...messages.values()].map(row));
    byId('log').scrollTop = byId('log').scrollHeight;
    byId('people').replaceChildren(...[...people].map(([user, { status }]) => make('li', {}, nameTag(user), ` ${status ?? ''}`)));
    const chosen = byId('to').value;
    byId('to').replaceChildren(new Option('the room', ''), ...[...people.keys()].filter((user) => user !== me).map((user) => new Option(user)));
    byId('to').value = people.has(chosen) ? chosen : '';
    byId('rooms').replaceChildren(...ROOMS.map((name) => {
        const button = make('button', { type: 'button', onclick: () => enter(name) }, name);
        button.setAttribute('aria-pressed', String(name === room));
        return button;
    }));
}

/** Opens a room and leaves the old one, since a user is in one room at a time. */
async function enter(name) {
    if (name !== room) {
        const conn_id = connection.connectionId;
        const joined = await tell('POST', 'subscribe', { conn_id, channels: [name] });
        if (!joined) {
            return;
        }
        learn(joined.channels_info);
        const left = room;
        room = name;
        render();
        rooms.delete(left);
        await tell('POST', 'unsubscribe', { conn_id, channels: [left] });
    }
    render();
}

function listen() {
    connection.connectUrl = 'connect';
    connection.websocketUrl = `${server.replace(/^http/, 'ws')}/ws`;
    connection.longPollUrl = `${server}/listen`;
    connection.connectCallback = (_, answer) => {
        // After a restart of the server all users are in the first room again.
        rooms.clear();
        [room] = ROOMS;
        learn(answer.channels_info);
        render();
    };
    connection.connectErrorCallback = () => show('lost', 'The server cannot be reached, trying again…');
    connection.listenOpenedCallback = () => show('open', `Signed in as ${me}`);
    connection.listenCloseCallback = () => show('lost', 'Connection lost, trying again…');
    connection.listenErrorCallback = () => show('lost', 'Connection lost, trying again…');
    connection.listenMessageCallback = (frames) => {
        frames.forEach((frame) => KINDS[frame.type]?.(frame));
        render();
    };
    connection.connect();
}

byId('sign-in').addEventListener('submit', async (event) => {
    event.preventDefault();
    const answer = await tell('POST', 'sign_in', { name: byId('name').value });
    if (answer) {
        me = answer.name;
        byId('sign-in').hidden = true;
        byId('chat').hidden = false;
        listen();
    }
});
byId('composer').addEventListener('submit', async (event) => {
    event.preventDefault();
    // The field is cleared immediately, so that the user can type the next message while the server answers.
    const text = byId('text').value;
    byId('text').value = '';
    if (!await tell('POST', 'message', { room, to: byId('to').value, text }) && !byId('text').value) {
        byId('text').value = text;
    }
});
byId('me').addEventListener('change', () => tell('POST', 'state', { status: byId('status').value, color: byId('color').value }));
byId('me').addEventListener('submit', (event) => event.preventDefault());
document.body.dataset.ready = 'true';
