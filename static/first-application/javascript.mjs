// == setup ==
// Node 18 or newer, nothing to install
import { createHash, createHmac } from 'node:crypto';

const SERVER = process.env.CHANNELSTREAM_URL ?? 'http://127.0.0.1:8000';
const SECRET = process.env.CHANNELSTREAM_SECRET ?? 'secret';

function signature() {
    const seconds = Buffer.alloc(4);
    seconds.writeUInt32BE(Math.floor(Date.now() / 1000));
    const signed = `channelstream.${seconds.toString('base64url')}`;
    const key = createHash('sha1').update(`itsdangerous.Signersigner${SECRET}`).digest();
    return `${signed}.${createHmac('sha1', key).update(signed).digest('base64url')}`;
}

async function call(method, path, body) {
    const headers = { 'x-channelstream-secret': signature(), 'content-type': 'application/json' };
    const reply = await fetch(SERVER + path, { method, headers, body: JSON.stringify(body) });
    if (!reply.ok) throw new Error(`${reply.status} ${await reply.text()}`);
    return reply.json();
}

// == connect ==
const alice = await call('POST', '/connect', { username: 'alice', channels: ['/tutorial-1'] });
const bob = await call('POST', '/connect', { username: 'bob', channels: ['/tutorial-1'] });
console.log('alice listens with', alice.conn_id);

// == subscribe ==
const joined = await call('POST', '/subscribe', { conn_id: alice.conn_id, channels: ['/tutorial-2'] });
console.log('alice is now in', joined.channels);

// == message ==
const [message] = await call('POST', '/message', [{
    user: 'system',
    channel: '/tutorial-1',
    message: { text: 'This can serve as notification', level: 'warning' },
}]);
console.log('sent', message.uuid);

// == edit ==
await call('PATCH', '/message', [{
    uuid: message.uuid,
    channel: '/tutorial-1',
    message: { text: 'It has been taken care of', level: 'info' },
}]);

// == delete ==
await call('DELETE', '/message', [{ uuid: message.uuid, channel: '/tutorial-1' }]);

// == private ==
await call('POST', '/message', [{
    user: 'alice',
    pm_users: ['bob'],
    message: { text: 'Only bob gets this' },
}]);

// == state ==
const state = await call('POST', '/user_state', {
    user: 'alice',
    user_state: { status: 'away', age: 36 },
    state_public_keys: ['status'],
});
console.log('alice is', state.user_state);

// == info ==
const info = await call('POST', '/info', { info: { channels: ['/tutorial-1'] } });
console.log('in /tutorial-1:', info.channels['/tutorial-1'].users);
