/** The page of the notifications: it listens, and sends through its backend. */
const server = document.body.dataset.server;
const { ChannelStreamConnection } = await import(`${server}/static/channelstream/index.js`);

const byId = (id) => document.getElementById(id);
const connection = new ChannelStreamConnection();
const shown = new Set();
let user = '';

async function tell(path, body) {
    const reply = await fetch(path, {
        method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    });
    const answer = await reply.json();
    byId('problem').textContent = reply.ok ? '' : answer.error;
    return reply.ok;
}

function countUnread() {
    byId('unread').textContent = document.querySelectorAll('#list .unread').length;
}

function show({ uuid, channel, message }, unread) {
    if (shown.has(uuid)) {
        return;
    }
    shown.add(uuid);
    const item = document.createElement('li');
    item.dataset.level = message.level;
    item.classList.toggle('unread', unread);
    item.append(message.text);
    if (!channel) {
        item.append(Object.assign(document.createElement('span'), { className: 'private', textContent: ' for you alone' }));
    }
    byId('list').append(item);
    countUnread();
}

function state(name, text) {
    byId('state').dataset.state = name;
    byId('state').textContent = text;
}

connection.connectUrl = 'connect';
connection.websocketUrl = `${server.replace(/^http/, 'ws')}/ws`;
connection.longPollUrl = `${server}/listen`;
connection.addMutator('connect', (request) => {
    request.body = { user };
});
connection.connectCallback = (_, { channels_info: { channels } }) => {
    if (!byId('sign-in').hidden) {
        byId('sign-in').hidden = true;
        byId('who').textContent = `Signed in as ${user}`;
        byId('text').focus();
    }
    channels.notifications.history.forEach((old) => show(old, false));
};
connection.connectErrorCallback = () => state('lost', 'The server cannot be reached, trying again…');
connection.listenOpenedCallback = () => state('open', 'Listening');
connection.listenCloseCallback = () => state('lost', 'Connection lost, trying again…');
connection.listenErrorCallback = () => state('lost', 'Connection lost, trying again…');
connection.listenMessageCallback = (frames) => frames
    .filter(({ type }) => type === 'message')
    .forEach((frame) => show(frame, true));

byId('sign-in').addEventListener('submit', (event) => {
    event.preventDefault();
    user = byId('name').value;
    byId('name').readOnly = true;
    event.submitter.disabled = true;
    connection.connect();
});
byId('sender').addEventListener('submit', async (event) => {
    event.preventDefault();
    const [text, level, to] = ['text', 'level', 'to'].map((id) => byId(id).value);
    // The field is cleared immediately, so that the user can type the next one while the server answers.
    byId('text').value = '';
    if (!await tell('notify', { text, level, to }) && !byId('text').value) {
        byId('text').value = text;
    }
});
byId('read').addEventListener('click', () => {
    document.querySelectorAll('#list .unread').forEach((item) => item.classList.remove('unread'));
    countUnread();
});
document.body.dataset.ready = 'true';
