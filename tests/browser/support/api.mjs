/** Signed calls to the server, as a web application sends them. */
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
