/** Signed calls to the server and tokens, as a web application makes them. */
import { createHmac } from 'node:crypto';

import { ChannelStreamSigner } from '../../../static/channelstream/index.js';
import { SECRET } from './server.mjs';

const signer = new ChannelStreamSigner(SECRET);

export async function call(server, path, body, method = 'POST') {
    const headers = { 'Content-Type': 'application/json', 'x-channelstream-secret': await signer.sign(path) };
    const reply = await fetch(`${server.url}${path}`, { method, headers, body: JSON.stringify(body) });
    if (!reply.ok) {
        throw new Error(`${path} answered ${reply.status}: ${await reply.text()}`);
    }
    return reply.json();
}

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A connection token of this user that expires in so many seconds. */
export function signedToken(user, seconds, claims = {}) {
    const now = Math.floor(Date.now() / 1_000);
    const payload = { sub: user, iat: now, exp: now + seconds, ...claims };
    const text = `${encoded({ alg: 'HS256', typ: 'JWT' })}.${encoded(payload)}`;
    return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}
