/** Simulated activity: users who connect, listen and leave, and an application that publishes in waves. */
import { setTimeout as pause } from 'node:timers/promises';

import { call, signedToken } from './api.mjs';
import { open } from './crowd.mjs';

export const CHANNELS = ['news', 'support', 'orders/eu', 'orders/us', 'team chat', 'alerts', 'dashboard', 'stock ticker'];
const CONNECTIONS = 240;
const USERS = 180;
const TURN_MS = 100;

const settings = (index) => ({ store_history: index % 2 === 0, history_size: 20, notify_presence: index % 3 === 0 });

async function join(server, index) {
    const username = `user-${index % USERS}`;
    const { conn_id: connId } = await call(server, '/connect', {
        username,
        channels: CHANNELS.filter((_, channel) => (index + channel) % 3 === 0),
        user_state: { color: ['red', 'green', 'blue'][index % 3], status: 'available' },
        state_public_keys: ['color'],
        info: { include_history: false, include_users: false },
    });
    return open(server, connId, index % 3 === 1 ? { token: signedToken(username, 3_000) } : {});
}

/** Publishes messages. Every fifth one excludes `user-1`, so that a recording shows different outcomes. */
function talk(server, turn) {
    const count = 1 + Math.round(3 + 3 * Math.sin(turn / 40)) + (turn % 97 === 0 ? 12 : 0);
    return call(server, '/message', Array.from({ length: count }, (_, index) => ({
        channel: CHANNELS[(turn * 3 + index) % CHANNELS.length],
        user: 'publisher',
        message: { text: `message ${turn}.${index}` },
        ...(index % 5 === 4 && { exclude_users: ['user-1'] }),
    })));
}

/** Simulates an application with an error: it sometimes sends a channel name that is too long. */
function sendInvalid(server, turn) {
    const count = turn % 70 === 0 ? 3 : turn % 25 === 0 ? 1 : 0;
    const message = { channel: 'x'.repeat(300), user: 'publisher', message: { text: 'lost' } };
    return Promise.allSettled(Array.from({ length: count }, () => call(server, '/message', [message])));
}

/** Starts the activity. The returned function ends it. */
export async function live(server) {
    await call(server, '/channel_config', Object.fromEntries(CHANNELS.map((name, index) => [name, settings(index)])));
    const sockets = [];
    let going = true;
    const lived = (async () => {
        for (let turn = 0; going; turn += 1) {
            const wanted = CONNECTIONS * (0.8 + 0.2 * Math.sin(turn / 60));
            if (sockets.length < wanted) {
                sockets.push(await join(server, sockets.length), await join(server, sockets.length + 1));
            } else {
                sockets.pop().destroy();
            }
            await talk(server, turn);
            await sendInvalid(server, turn);
            await pause(TURN_MS);
        }
        sockets.forEach((socket) => socket.destroy());
    })();
    return () => {
        going = false;
        return lived;
    };
}
