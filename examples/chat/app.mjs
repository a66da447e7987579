/**
 * The backend of a chat. It needs Node 18 or newer and nothing else. `app.py` is the same program in Python.
 *
 *     channelstream                     # in one terminal
 *     node examples/chat/app.mjs        # in another; then open http://127.0.0.1:8101
 *
 * The page sends requests to this program. This program decides what is allowed and calls channelstream.
 * channelstream sends the messages to the pages of all users.
 */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const SERVER = process.env.CHANNELSTREAM_URL ?? 'http://127.0.0.1:8000';
const SECRET = process.env.CHANNELSTREAM_SECRET ?? 'secret';
const PORT = Number(process.env.PORT ?? 8101);
const FILES = {
    '/': ['index.html', 'text/html'],
    '/chat.js': ['chat.js', 'text/javascript'],
    '/chat.css': ['chat.css', 'text/css'],
};

const ROOMS = ['general', 'random', 'help'];
const STATUSES = ['here', 'busy', 'away'];
const ROOM_SETTINGS = {
    notify_presence: true,
    broadcast_presence_with_user_lists: true,
    notify_state: true,
    store_history: true,
    history_size: 50,
};
const MAX_TEXT = 2000;
const MAX_REMEMBERED = 10_000;

/** A request that is not allowed, and the status of the answer. */
class Refused extends Error {
    constructor(status, reason) {
        super(reason);
        this.status = status;
    }
}

/** A map that drops its oldest entries, so that clients cannot fill the memory. */
class Remembered extends Map {
    set(key, value) {
        super.set(key, value);
        if (this.size > MAX_REMEMBERED) {
            this.delete(this.keys().next().value);
        }
        return this;
    }
}

const sessions = new Remembered(); // cookie -> name
const connections = new Remembered(); // conn_id -> name
const authors = new Remembered(); // uuid of a message -> { name, channel, pm_users }

function signature() {
    const seconds = Buffer.alloc(4);
    seconds.writeUInt32BE(Math.floor(Date.now() / 1000));
    const signed = `channelstream.${seconds.toString('base64url')}`;
    const key = createHash('sha1').update(`itsdangerous.Signersigner${SECRET}`).digest();
    return `${signed}.${createHmac('sha1', key).update(signed).digest('base64url')}`;
}

/** One signed call of channelstream's API. */
async function call(method, path, body) {
    const headers = { 'x-channelstream-secret': signature(), 'content-type': 'application/json' };
    let reply;
    try {
        reply = await fetch(SERVER + path, { method, headers, body: JSON.stringify(body) });
    } catch (error) {
        throw new Refused(502, `channelstream does not answer at ${SERVER}: ${error.message}`);
    }
    if (!reply.ok) {
        throw new Refused(502, `channelstream refused the call: ${await reply.text()}`);
    }
    return reply.json();
}

function channel(room) {
    if (!ROOMS.includes(room)) {
        throw new Refused(422, 'There is no such room.');
    }
    return `chat:${room}`;
}

function checkedText(text) {
    if (typeof text !== 'string' || !text.trim() || text.length > MAX_TEXT) {
        throw new Refused(422, `A message has 1 to ${MAX_TEXT} characters.`);
    }
    return text.trim();
}

const settingsOf = (names) => Object.fromEntries(names.map((name) => [name, ROOM_SETTINGS]));

function ownConnection(name, { conn_id }) {
    if (connections.get(conn_id) !== name) {
        throw new Refused(403, 'This connection is not yours.');
    }
    return conn_id;
}

function ownMessage(name, { uuid }) {
    const written = authors.get(uuid);
    if (written?.name !== name) {
        throw new Refused(403, 'Only its author may change a message.');
    }
    return written.channel ? { uuid, channel: written.channel } : { uuid, pm_users: written.pm_users };
}

const ACTIONS = {
    /** Connects the page to its first room. */
    async 'POST /connect'(name) {
        const channels = [channel(ROOMS[0])];
        const answer = await call('POST', '/connect', {
            username: name,
            channels,
            channel_configs: settingsOf(channels),
            fresh_user_state: { status: 'here', color: '#0b6b63' },
            state_public_keys: ['status', 'color'],
        });
        connections.set(answer.conn_id, name);
        return answer;
    },
    'POST /subscribe'(name, body) {
        const channels = (body.channels ?? []).map(channel);
        const conn_id = ownConnection(name, body);
        return call('POST', '/subscribe', { conn_id, channels, channel_configs: settingsOf(channels) });
    },
    'POST /unsubscribe'(name, body) {
        const channels = (body.channels ?? []).map(channel);
        return call('POST', '/unsubscribe', { conn_id: ownConnection(name, body), channels });
    },
    /** Sends to a room, or to one user in private; a private message also goes to its sender's own pages. */
    async 'POST /message'(name, { room, to, text }) {
        const message = { text: checkedText(text), ...(to ? { to: String(to) } : {}) };
        const address = to ? { pm_users: [String(to), name] } : { channel: channel(room) };
        const [{ uuid }] = await call('POST', '/message', [{ user: name, ...address, message }]);
        authors.set(uuid, { name, ...address });
        return { uuid };
    },
    async 'PATCH /message'(name, body) {
        const address = ownMessage(name, body);
        const message = { text: checkedText(body.text), ...(address.pm_users ? { to: address.pm_users[0] } : {}) };
        await call('PATCH', '/message', [{ ...address, user: name, message }]);
        return {};
    },
    async 'DELETE /message'(name, body) {
        await call('DELETE', '/message', [ownMessage(name, body)]);
        return {};
    },
    async 'POST /state'(name, { status, color }) {
        if (!STATUSES.includes(status) || !/^#[0-9a-f]{6}$/i.test(color)) {
            throw new Refused(422, 'A status is here, busy or away; a colour is #rrggbb.');
        }
        await call('POST', '/user_state', { user: name, user_state: { status, color } });
        return {};
    },
};

function sessionOf(request) {
    const [, cookie] = /(?:^|;\s*)chat=([^;]+)/.exec(request.headers.cookie ?? '') ?? [];
    return sessions.get(cookie);
}

/** A real application would require a password. Here a name that is not in use is enough. */
function signIn(request, response, body) {
    const name = String(body.name ?? '').trim();
    if (!name || name.length > 32) {
        throw new Refused(422, 'A name has 1 to 32 characters.');
    }
    if ([...sessions.values()].includes(name) && sessionOf(request) !== name) {
        throw new Refused(409, 'Another user has this name.');
    }
    const cookie = randomBytes(24).toString('base64url');
    sessions.set(cookie, name);
    response.setHeader('set-cookie', `chat=${cookie}; HttpOnly; SameSite=Strict; Path=/`);
    return { name };
}

async function bodyOf(request) {
    // A form on another site cannot send this type without a CORS preflight.
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) {
        throw new Refused(415, 'The body must be JSON.');
    }
    const parts = [];
    let length = 0;
    for await (const part of request) {
        length += part.length;
        if (length > 64_000) {
            throw new Refused(413, 'The body is too large.');
        }
        parts.push(part);
    }
    let body;
    try {
        body = JSON.parse(Buffer.concat(parts).toString());
    } catch {
        throw new Refused(422, 'The body must be JSON.');
    }
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
        throw new Refused(422, 'The body must be an object.');
    }
    return body;
}

async function act(request, response) {
    const body = await bodyOf(request);
    const wanted = `${request.method} ${request.url}`;
    if (wanted === 'POST /sign_in') {
        return signIn(request, response, body);
    }
    if (!Object.hasOwn(ACTIONS, wanted)) {
        throw new Refused(404, 'Not found.');
    }
    const name = sessionOf(request);
    if (!name) {
        throw new Refused(401, 'Sign in first.');
    }
    return ACTIONS[wanted](name, body);
}

function page(response, [name, kind]) {
    const text = readFileSync(new URL(`page/${name}`, import.meta.url), 'utf8').replaceAll('{{server}}', SERVER);
    response.setHeader('content-type', `${kind}; charset=utf-8`).end(text);
}

const web = createServer(async (request, response) => {
    if (request.method === 'GET' && Object.hasOwn(FILES, request.url)) {
        return page(response, FILES[request.url]);
    }
    response.setHeader('content-type', 'application/json');
    try {
        response.end(JSON.stringify(await act(request, response)));
    } catch (error) {
        response.statusCode = error.status ?? 500;
        response.end(JSON.stringify({ error: error.status ? error.message : 'The chat has failed.' }));
    }
});
web.listen(PORT, '127.0.0.1', () => console.log(`The chat is at http://127.0.0.1:${web.address().port}`));
