/** Many channels and many connections at low cost: the sockets send nothing after their handshake. */
import { once } from 'node:events';
import { connect } from 'node:net';

import { call } from './api.mjs';

const CHANNELS_AT_ONCE = 1_000;
const CONNECTIONS_AT_ONCE = 50;

const channel = (index) => `channel ${String(index).padStart(5, '0')}`;

export async function makeChannels(server, count) {
    for (let from = 0; from < count; from += CHANNELS_AT_ONCE) {
        const indexes = Array.from({ length: Math.min(CHANNELS_AT_ONCE, count - from) }, (_, index) => from + index);
        const configs = indexes.map((index) => [channel(index), { store_history: index % 2 === 0 }]);
        await call(server, '/channel_config', Object.fromEntries(configs));
    }
}

/** Opens the websocket of a connection, with further parameters of the query. */
export async function open(server, connId, parameters = {}) {
    const query = new URLSearchParams({ conn_id: connId, ...parameters });
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(`GET /ws?${query} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
        + 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
    const [answer] = await once(socket, 'data');
    if (!answer.toString().startsWith('HTTP/1.1 101')) {
        throw new Error(`no websocket: ${answer}`);
    }
    // Reads and drops all data, so that no socket is a slow consumer.
    socket.resume();
    return socket;
}

/** Connects users with one connection each. Each is in one of the channels, and in one that all share. */
export async function fill(server, channels, connections) {
    const sockets = [];
    for (let from = 0; from < connections; from += CONNECTIONS_AT_ONCE) {
        const indexes = Array.from({ length: Math.min(CONNECTIONS_AT_ONCE, connections - from) }, (_, index) => from + index);
        sockets.push(...await Promise.all(indexes.map(async (index) => {
            const body = {
                username: `user ${String(index).padStart(5, '0')}`,
                channels: [channel(index % channels), 'all'],
                user_state: { index },
                info: { include_history: false, include_users: false },
            };
            const { conn_id: connId } = await call(server, '/connect', body);
            return open(server, connId);
        })));
    }
    return { leave: () => sockets.forEach((socket) => socket.destroy()) };
}
